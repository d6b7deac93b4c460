//! The directories of RUN cache mounts.
//!
//! Where nothing can be mounted, a cache is moved into the root of the RUN that uses it, and back. It carries a mark then, by which it is
//! found wherever a process that was killed has left it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr, removexattr};
use rustix::io::Errno;

use super::disk::Disk;
use super::{Error, IdMapping, Store, at, records};
use crate::oci::Digest;

/// Beside a root into which caches are moved: where no RUN can make anything that is kept apart by more than its root.
pub const COVERED: &str = "covered";

/// `<ids>/<hex>`, the path below `mounts`. No layer keeps attributes of this prefix.
const MARK: &str = "user.brik.cache";

impl Store {
    /// The directory behind a RUN cache mount. `id` is a digest over namespace, id and owner.
    pub fn cache_mount(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.root.join("mounts").join(ids.dir()).join(id.hex())
    }

    /// Whether that directory is there. What else has its place is none: a link would lead out of the store.
    pub fn has_cache(&self, ids: IdMapping, id: &Digest) -> bool {
        is_cache(&self.cache_mount(ids, id))
    }

    /// Makes `fresh` the directory behind a cache mount, unless it has one by now: that may be mounted already, and is never replaced.
    /// What has its place and is no directory goes.
    pub fn commit_cache(&self, ids: IdMapping, id: &Digest, fresh: &Path) -> Result<(), Error> {
        let home = self.cache_mount(ids, id);
        home.parent().map_or(Ok(()), |parent| self.disk().create_dir_all(parent)).map_err(at("create", &home))?;
        if fs::symlink_metadata(&home).is_ok_and(|there| !there.is_dir()) {
            let _ = self.disk().remove_file(&home);
        }
        match self.disk().rename_new(fresh, &home).map_err(|error| (Errno::from_io_error(&error), error)) {
            Ok(()) => Ok(()),
            Err((Some(Errno::EXIST | Errno::INVAL), _)) if is_cache(&home) => Ok(()),
            // A file system that does not know the flag.
            Err((Some(Errno::INVAL), _)) => self.disk().rename(fresh, &home).map_err(at("create", &home)),
            Err((_, error)) => Err(at("create", &home)(error)),
        }
    }

    /// What was noted with [`Store::note_cache`] of the directory behind a cache mount.
    pub fn cache_note(&self, ids: IdMapping, id: &Digest) -> Option<Vec<u8>> {
        records::read_file(&self.cache_note_path(ids, id)).ok()
    }

    /// Keeps a small document with a cache. Not synced: after a crash it may be empty.
    pub fn note_cache(&self, ids: IdMapping, id: &Digest, note: &[u8]) -> Result<(), Error> {
        self.temp.publish_unsynced(note, &self.cache_note_path(ids, id))
    }

    fn cache_note_path(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.stat_cache(&format!("mount-{}-{}", ids.dir(), id.hex()))
    }

    /// Marks the directory of a cache that is going to be moved. Without the mark, which a file system may refuse, it is lost with the
    /// process that moves it.
    pub fn mark_cache(&self, ids: IdMapping, id: &Digest) {
        let mark = format!("{}/{}", ids.dir(), id.hex());
        let _ = lsetxattr(self.cache_mount(ids, id), MARK, mark.as_bytes(), XattrFlags::empty());
    }
}

/// Takes the mark off the directory of a cache, so that it is lost with the process that moves it: for what must not stay is placed in it.
pub fn unmark_cache(directory: &Path) -> io::Result<()> {
    match removexattr(directory, MARK) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn is_cache(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_dir())
}

/// Moves every marked directory below `dead` to its place below `mounts`, unless there is another by now. Where a RUN was kept apart by
/// mounts, no cache was moved, and a mark is its own work.
pub(super) fn bring_home(disk: &dyn Disk, dead: &Path, mounts: &Path) {
    if !dead.join(COVERED).is_dir() {
        return;
    }
    let mut directories = vec![dead.to_owned()];
    while let Some(directory) = directories.pop() {
        if let Some(place) = mark(&directory) {
            let home = mounts.join(place);
            let _ = home.parent().map(|parent| disk.create_dir_all(parent));
            if disk.rename_new(&directory, &home).is_ok() {
                continue;
            }
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        directories.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
}

/// The place that a directory is marked with: a RUN could write anything there.
fn mark(directory: &Path) -> Option<PathBuf> {
    let mut value = [0; 128];
    let length = lgetxattr(directory, MARK, &mut value[..]).ok()?;
    let (ids, hex) = std::str::from_utf8(value.get(..length)?).ok()?.split_once('/')?;
    let ids = IdMapping::ALL.into_iter().find(|known| known.dir() == ids)?;
    let is_id = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| Path::new(ids.dir()).join(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_is_there_is_not_replaced_even_if_it_is_empty() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = Digest::of(b"cache");
        let mut inodes = Vec::new();
        for _ in 0..2 {
            let work = store.temp_dir().unwrap();
            let fresh = work.path().join("fresh");
            fs::create_dir(&fresh).unwrap();
            store.commit_cache(IdMapping::Root, &id, &fresh).unwrap();
            inodes.push(fs::metadata(store.cache_mount(IdMapping::Root, &id)).unwrap().ino());
        }
        assert_eq!(inodes[0], inodes[1]);
    }

    #[test]
    fn a_link_in_the_place_of_a_cache_is_none_and_makes_room_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (id, outside) = (Digest::of(b"cache"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let home = store.cache_mount(IdMapping::Root, &id);
        fs::create_dir_all(home.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&outside, &home).unwrap();
        assert!(!store.has_cache(IdMapping::Root, &id));
        let work = store.temp_dir().unwrap();
        let fresh = work.path().join("fresh");
        fs::create_dir(&fresh).unwrap();
        store.commit_cache(IdMapping::Root, &id, &fresh).unwrap();
        assert!(store.has_cache(IdMapping::Root, &id) && outside.is_dir());
    }

    #[test]
    fn a_cache_without_its_mark_does_not_come_home() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (id, dead) = (Digest::of(b"cache"), dir.path().join("tmp/1-0.7"));
        let home = store.cache_mount(IdMapping::Root, &id);
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(dead.join("root")).unwrap();
        fs::create_dir_all(dead.join(COVERED)).unwrap();
        store.mark_cache(IdMapping::Root, &id);
        unmark_cache(&home).unwrap();
        unmark_cache(&home).unwrap();
        fs::rename(&home, dead.join("root/c")).unwrap();
        store.reclaim();
        assert!(!home.exists() && !dead.exists());
    }

    #[test]
    fn a_cache_comes_home_from_wherever_the_dead_left_it_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let dead = dir.path().join("tmp/1-0.7");
        let id = |name: &str| Digest::of(name.as_bytes());
        for name in ["lost", "replaced"] {
            let home = store.cache_mount(IdMapping::Root, &id(name));
            fs::create_dir_all(&home).unwrap();
            fs::write(home.join("file"), name).unwrap();
            store.mark_cache(IdMapping::Root, &id(name));
            if mark(&home).is_none() {
                return println!("skipped: no extended attributes here");
            }
            fs::create_dir_all(dead.join("root/deep")).unwrap();
            fs::create_dir_all(dead.join(COVERED)).unwrap();
            fs::rename(home, dead.join("root/deep").join(name)).unwrap();
        }
        let newer = store.cache_mount(IdMapping::Root, &id("replaced"));
        fs::create_dir_all(&newer).unwrap();
        let forged = dead.join("root/forged");
        fs::create_dir(&forged).unwrap();
        lsetxattr(&forged, MARK, b"root/../../../../etc", XattrFlags::empty()).unwrap();

        store.reclaim();
        let read = |name: &str| fs::read_to_string(store.cache_mount(IdMapping::Root, &id(name)).join("file")).ok();
        assert_eq!((read("lost"), read("replaced")), (Some("lost".to_owned()), None));
        assert!(!dead.exists());
    }

    #[test]
    fn a_run_that_is_kept_apart_by_mounts_makes_no_cache_by_a_mark() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = Digest::of(b"of others");
        let planted = dir.path().join("tmp/1-0.7/upper/planted");
        fs::create_dir_all(&planted).unwrap();
        let mark = format!("root/{}", id.hex());
        if lsetxattr(&planted, MARK, mark.as_bytes(), XattrFlags::empty()).is_err() {
            return println!("skipped: no extended attributes here");
        }
        store.reclaim();
        assert!(!planted.exists() && !store.cache_mount(IdMapping::Root, &id).exists());
    }
}
