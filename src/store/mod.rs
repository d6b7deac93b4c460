//! The content-addressed store on the user's disk. What lies where, and who may touch it:
//!
//! ```text
//! version              "1": a store of another version is refused
//! lock                 flock: shared by every running brik, exclusive for a moment where pruning removes what has no other protection
//! blobs/sha256/<hex>   layers, configs, manifests, TOCs: immutable, named by what they hold; one that only its owner may read (mode
//!                      0600) is not durable yet, one that nobody may write (0444) was pulled, and never was synced
//! records/<kind>/<hex> small JSON documents: CacheKey -> result; written only after the blobs that they name are durable
//! here                 its inode and ctime tell whether `chown -R`, a copy or an archive has passed over the store
//! snapshots/<ids>/<hex>/<place>/  unpacked layers, ready as overlay lowers; <ids> says how ids are mapped (root, userns, single), or
//!                      that these are no layers but files that were fetched, as from git (fetched); <place> is that of one boot and one `here`
//! mounts/<ids>/<hex>   RUN --mount=type=cache directories
//! stat/                stat caches of build contexts and cache mounts
//! flight/<kind>-<hex>  flock: who makes what has this key now
//! tmp/<owner>.<n>/     work in progress; reclaimed once its owner is gone
//! tmp/<owner>.lease    flock: held by every running brik; its mtime says since when
//! ```
//!
//! # What holds at any moment
//!
//! Whatever appears, appears by rename from `tmp/`, complete: a process that is killed leaves only garbage, never a wrong result. For
//! when the power goes, too:
//!
//! - A *record* is synced before it appears, and so are, before that, the blobs that it names. Nobody inside this process has to wait for
//!   that: results are passed on in memory while `writeback` syncs. A record whose blob is not here counts as absent.
//! - A *blob* that was made here appears before it is synced, and proves nothing until then: its mode says so, and it is here only for the
//!   process that is syncing it. Others write it anew; the last one stays, and the bytes are the same.
//! - A *blob* that was pulled is not synced: it can be had again. One that was made takes its place, and never the other way round. So the
//!   name of a blob proves nothing, and all who use one check what they make of it: unpacking by the DiffId, a registry by the digest,
//!   everybody else by [`Store::read_blob`] or while copying. Where that fails, [`Store::verify_blob`] tells whether the blob is to blame,
//!   and removes it.
//! - A *flight* can be held until what was made in it is durable ([`Store::hold_until_durable`]): who waits for it finds the record.
//! - A *snapshot* is never synced, and is used in the boot that made it only, and as long as nothing else has passed over the store.
//!
//! Every use of a record, of a snapshot and of a blob that is found instead of made renews its mtime: `prune` takes what is old, and
//! nothing that a running brik has used.
//!
//! All that rests on `disk`, and `tests::crashes` loses what a crash may lose, at every moment.
//!
//! What is removed from `tmp/` is removed by `reaper` (`remove`: whatever strangers have made of it), whom nobody waits for either. The end of
//! a process waits for both.
//!
//! `snapshots/`, `mounts/` and `tmp/` hold what images say: programs that are set-user-id, and as real root device nodes. They are their
//! owner's alone (mode 0700), or everybody on the machine could run these. So are all other directories, and `lock`: whoever can open it
//! can hold it.

mod blobs;
mod caches;
mod disk;
mod entries;
mod flight;
mod incoming;
mod prune;
mod reaper;
mod records;
mod remove;
mod snapshots;
mod temp;
#[cfg(test)]
mod tests;
mod usage;
mod verify;
mod writeback;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, Timespec, Timestamps, UTIME_NOW, utimensat};
use rustix::process::geteuid;

pub use blobs::BlobWriter;
pub use caches::{COVERED, unmark_cache};
pub use entries::Entry;
pub use flight::{Flight, FlightGuard};
pub use incoming::{IncomingBlob, IncomingReader};
pub use prune::{PruneBudget, Pruned};
pub use records::RecordKind;
pub use remove::remove_tree;
pub use snapshots::IdMapping;
pub use temp::TempDir;
pub use usage::{Share, Usage};
pub use verify::Verified;

use disk::{Disk, FileSystem};

use crate::oci::Digest;

const VERSION: &str = "1";

/// For the flags of an open(2) that may find a FIFO in the place of a file: nobody waits for its other end.
const NO_WAIT: i32 = OFlags::NONBLOCK.bits() as i32;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store at {path} has version {found:?}, this brik reads version {VERSION}; remove it or choose another with --store")]
    Version { path: PathBuf, found: String },
    #[error("blob {digest} is not in the store")]
    Missing { digest: Digest },
    #[error("blob {digest} in the store is damaged (it hashes to {found}); it was removed, run again")]
    Damaged { digest: Digest, found: Digest },
    #[error("record {key} of the store cannot be written: {source}")]
    Record { key: Digest, source: serde_json::Error },
    #[error("the store is not written any more since an earlier failure: {reason}")]
    Unwritten { reason: String },
    #[error("no space left on the device of the store at {path}; free some, run `brik cache prune` or choose another with --store")]
    Full { path: PathBuf },
    #[error(
        "{action} {path}: permission denied: it is another user's, who may have run brik with this store; give all of it to one user (chown -R), \
         or choose another with --store"
    )]
    Strange { action: &'static str, path: PathBuf },
    #[error(
        "{path} is a link, and a store has none: what brik removes there would be elsewhere; remove it, or choose another store with --store"
    )]
    Link { path: PathBuf },
    #[error("the store at {path} was made by another user, where anybody may make one; choose another with --store")]
    Planted { path: PathBuf },
    #[error(
        "{path} was made by another user, who can change what is built of it; give all of the store to one user (chown -R), or choose another \
         with --store"
    )]
    Foreign { path: PathBuf },
    #[error("cannot {action} {path}: {reason}; choose another place for the store with --store or $XDG_CACHE_HOME")]
    Place { action: &'static str, path: PathBuf, reason: String },
}

/// An `io::Error` with what was done to which path. A full disk has a variant of its own, and what a run by another user has left.
fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path: path.to_owned() },
        io::ErrorKind::PermissionDenied if is_strange(path) => Error::Strange { action, path: path.to_owned() },
        _ => Error::Io { action, path: path.to_owned(), source },
    }
}

/// Whoever may make directories beside the store, as in /tmp, could have made it, with whatever in it.
fn refuse_planted(root: &Path) -> Result<(), Error> {
    let owner = |path: &Path| path.metadata().map(|metadata| (metadata.uid(), metadata.mode())).ok();
    let is_open = root.parent().and_then(owner).is_some_and(|(_, mode)| mode & 0o002 != 0);
    let is_another_s = owner(root).is_some_and(|(uid, _)| uid != geteuid().as_raw() && uid != 0);
    if is_open && is_another_s { Err(Error::Planted { path: root.to_owned() }) } else { Ok(()) }
}

/// Whether a directory of the store is somebody else's, who could write to it. Root in a container has what a user outside gives to it, if
/// that is all of the store.
fn is_foreign(path: &Path, root: &Path) -> io::Result<bool> {
    let (me, owner) = (geteuid(), fs::symlink_metadata(path)?.uid());
    Ok(owner != me.as_raw() && owner != 0 && !(me.is_root() && owner == fs::metadata(root)?.uid()))
}

/// The same for what makes a directory a store: where there is none yet, or none can be written, it has to be elsewhere.
fn making<'a>(action: &'static str, path: &'a Path, root: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| {
        let absent = |path: &Path| fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let denied = source.kind() == io::ErrorKind::PermissionDenied;
        match at(action, path)(source) {
            Error::Strange { .. } if absent(&root.join("version")) => {
                let above = path.ancestors().skip(1).find(|above| !absent(above)).unwrap_or(path);
                let reason = format!("permission denied ({} is owned by another user)", above.display());
                Error::Place { action, path: path.to_owned(), reason }
            }
            Error::Io { source, .. } if !denied || absent(&root.join("version")) => {
                Error::Place { action, path: path.to_owned(), reason: source.to_string() }
            }
            error => error,
        }
    }
}

/// Whether something is another user's, or the directory in which it would lie.
fn is_strange(path: &Path) -> bool {
    let there = path.ancestors().find_map(|path| fs::symlink_metadata(path).ok());
    there.is_some_and(|metadata| metadata.uid() != geteuid().as_raw())
}

/// Renews the mtime of something that is used. Whether it is there.
fn note_use(path: &Path) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let now = Timestamps { last_access: now, last_modification: now };
    utimensat(CWD, path, &now, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Leaves a directory or file to its owner alone. Whoever is not that cannot say so, and has to live with what its owner said.
fn close(path: &Path, mode: u32) -> io::Result<()> {
    match path.metadata()?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            done => done,
        },
    }
}

/// A store that this process uses. Holds the shared lock until it is dropped.
pub struct Store {
    root: PathBuf,
    temp: Arc<temp::TempArea>,
    writeback: writeback::Writeback,
    lock: File,
    /// The name of unpacked layers that can be trusted, see [`snapshots::place`].
    place: String,
}

impl Store {
    /// Opens the store, making it where there is none.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_on(Arc::new(FileSystem), root)
    }

    fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, Error> {
        // A directory that is there already may be meant for more than the store, and keeps its mode.
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(making("create the store at", root, root))?;
        let root = root.canonicalize().map_err(at("open the store at", root))?;
        refuse_planted(&root)?;
        for dir in ["blobs", "blobs/sha256", "records", "snapshots", "mounts", "stat", "flight", "tmp"] {
            let path = root.join(dir);
            disk.create_dir_all(&path).map_err(making("create", &path, &root))?;
            if path.is_symlink() {
                return Err(Error::Link { path });
            }
            if is_foreign(&path, &root).map_err(at("open", &path))? {
                return Err(Error::Foreign { path });
            }
            close(&path, 0o700).map_err(at("restrict", &path))?;
        }
        let lock_path = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).custom_flags(NO_WAIT).open(&lock_path);
        let lock = lock.map_err(making("open", &lock_path, &root))?;
        close(&lock_path, 0o600).map_err(at("restrict", &lock_path))?;
        rustix::fs::flock(&lock, FlockOperation::LockShared).map_err(|e| at("lock", &lock_path)(e.into()))?;
        let temp = Arc::new(temp::TempArea::new(&root.join("tmp"), disk));
        temp.take_lease()?;
        let version = root.join("version");
        match records::read_file(&version).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()) {
            Ok(found) if found == VERSION => {}
            Ok(found) => return Err(Error::Version { path: root, found }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => temp.publish(VERSION.as_bytes(), &version)?,
            Err(e) => return Err(at("read", &version)(e)),
        }
        close(&version, 0o600).map_err(at("restrict", &version))?;
        let place = snapshots::place(&root, &snapshots::id_ranges())?;
        let writeback = writeback::Writeback::new(temp.clone());
        Ok(Self { root, temp, writeback, lock, place })
    }

    fn disk(&self) -> &dyn Disk {
        self.temp.disk()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file for a stat cache.
    pub fn stat_cache(&self, name: &str) -> PathBuf {
        self.root.join("stat").join(name)
    }

    /// Waits until everything that this process has committed is durable: the first failure since this was last asked.
    pub fn settle(&self) -> Result<(), Error> {
        self.writeback.settle()
    }

    /// Keeps a flight until everything that this process has committed by now is durable: whoever waits for it finds the results.
    pub fn hold_until_durable(&self, flight: FlightGuard) -> Result<(), Error> {
        self.writeback.flight(flight)
    }

    /// A directory of this process's own, on the store's file system, removed after it is dropped.
    pub fn temp_dir(&self) -> Result<TempDir, Error> {
        self.temp.dir()
    }

    /// A path for a file of this process's own, on the store's file system, to be moved to where it belongs.
    pub fn temp_path(&self) -> Result<PathBuf, Error> {
        self.temp.path()
    }

    /// Where all work in progress lies.
    pub fn work_area(&self) -> &Path {
        self.temp.root()
    }

    /// Removes what killed processes left in `tmp/`, except for caches, which go back to `mounts/`. Needs the rights under which it was
    /// made.
    pub fn reclaim(&self) {
        self.temp.reclaim(|dead| caches::bring_home(self.disk(), dead, &self.root.join("mounts")));
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_another_user_has_left_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (own, mut other) = (dir.path().join("own"), PathBuf::from("/"));
        fs::write(&own, "").unwrap();
        if geteuid().is_root() {
            other = dir.path().join("other");
            fs::write(&other, "").unwrap();
            std::os::unix::fs::chown(&other, Some(1), None).unwrap();
        }
        let denied = |path: &Path| at("open", path)(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied(&own), Error::Io { .. }));
        assert!(matches!(denied(&other.join("in it")), Error::Strange { .. }));
    }

    #[test]
    fn where_no_store_can_be_made_another_place_is_advised() {
        let dir = tempfile::tempdir().unwrap();
        let (file, mut other) = (dir.path().join("file"), PathBuf::from("/"));
        fs::write(&file, "").unwrap();
        if geteuid().is_root() {
            other = dir.path().join("other");
            fs::create_dir(&other).unwrap();
            std::os::unix::fs::chown(&other, Some(1), None).unwrap();
        }
        let advice = "; choose another place for the store with --store or $XDG_CACHE_HOME";
        let told = |path: &Path, root: &Path, kind: io::ErrorKind| making("create", path, root)(kind.into()).to_string();
        let said = told(&other.join("a/b"), &other.join("a/b"), io::ErrorKind::PermissionDenied);
        let reason = format!("permission denied ({} is owned by another user)", other.display());
        assert_eq!(said, format!("cannot create {}: {reason}{advice}", other.join("a/b").display()));
        for kind in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
            assert!(told(&dir.path().join("store/blobs"), &dir.path().join("store"), kind).ends_with(advice), "{kind}");
        }
        let said = Store::open(&file).err().unwrap().to_string();
        assert!(said.contains("file: File exists") && said.ends_with(advice), "{said}");
        // A store that is there is another's.
        if geteuid().is_root() {
            fs::write(other.join("version"), VERSION).unwrap();
            assert!(told(&other.join("blobs"), &other, io::ErrorKind::PermissionDenied).contains("chown -R"));
        }
    }

    #[test]
    fn a_store_that_leads_elsewhere_or_that_anybody_may_have_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (dir.path().join("store"), dir.path().join("other"));
        fs::create_dir_all(other.join("kept")).unwrap();
        for name in ["mounts", "snapshots", "blobs", "flight"] {
            fs::create_dir_all(&store).unwrap();
            std::os::unix::fs::symlink(&other, store.join(name)).unwrap();
            let said = Store::open(&store).err().unwrap().to_string();
            assert!(said.contains(&format!("{name} is a link")), "{said}");
            fs::remove_dir_all(&store).unwrap();
        }
        assert!(other.join("kept").is_dir());
        if geteuid().is_root() {
            fs::create_dir(&store).unwrap();
            std::os::unix::fs::chown(&store, Some(1), None).unwrap();
            drop(Store::open(&store).unwrap());
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
            assert!(matches!(Store::open(&store), Err(Error::Planted { .. })));
        }
    }

    #[test]
    fn the_version_is_its_owner_s_alone_in_any_directory() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("version");
        let mode = || version.metadata().unwrap().permissions().mode() & 0o7777;
        drop(Store::open(dir.path()).unwrap());
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&version, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Store::open(dir.path()).unwrap());
        assert_eq!(mode(), 0o600);
    }
}
