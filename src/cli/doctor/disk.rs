//! The store and the disk that it is on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use super::check::{Check, Remedy};
use crate::cli::size::bytes;
use crate::store::Store;

/// Where the store is, or would be.
pub struct Place {
    store: PathBuf,
    /// The store, or the nearest directory above it that is there.
    nearest: PathBuf,
    writable: bool,
}

/// A directory to try things in, removed when dropped.
pub struct Room(PathBuf);

impl Room {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place {
    pub fn new(store: PathBuf) -> Self {
        let nearest = store.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned();
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        let writable = rustix::fs::accessat(CWD, &nearest, wanted, AtFlags::EACCESS).is_ok();
        Self { store, nearest, writable }
    }

    /// A new directory on the file system of the store.
    pub fn room(&self) -> Option<Room> {
        let path = self.nearest.join(format!(".brik-doctor-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Room(path))
    }

    pub fn checks(&self) -> Vec<Check> {
        // What cannot be written to needs no space.
        [Some(self.store()), self.writable.then(|| self.disk())].into_iter().flatten().collect()
    }

    fn store(&self) -> Check {
        const NAME: &str = "store";
        let shown = self.store.display();
        let elsewhere = "export BRIK_STORE=/var/tmp/brik-$USER";
        // A directory that is none yet is left as it is, until a build or `--fix` makes it one.
        if self.store.join("version").exists() {
            return match Store::open(&self.store) {
                Ok(_) if is_open(&self.store) => {
                    Check::warning(NAME, format!("{shown} can be written to by other users")).fix(format!("chmod go-w {shown}"))
                }
                Ok(_) => Check::ok(NAME, shown.to_string()),
                Err(error) => Check::failed(NAME, error.to_string()).fix(elsewhere),
            };
        }
        if self.store.symlink_metadata().is_ok() && !self.store.is_dir() {
            return Check::failed(NAME, format!("{shown} is no directory")).fix(elsewhere);
        }
        match self.writable {
            true => Check::ok(NAME, format!("{shown}, which the first build makes")).remedy(Remedy::MakeStore(self.store.clone())),
            false => {
                Check::failed(NAME, format!("{shown} is not there, and {} cannot be written to", self.nearest.display())).fix(elsewhere)
            }
        }
    }

    fn disk(&self) -> Check {
        const NAME: &str = "disk";
        let numbers = rustix::fs::statvfs(&self.nearest).and_then(|space| Ok((space, rustix::fs::statfs(&self.nearest)?)));
        let (space, kind) = match numbers {
            Ok(numbers) => numbers,
            Err(error) => return Check::warning(NAME, format!("{}: {error}", self.nearest.display())),
        };
        #[allow(clippy::unnecessary_cast, reason = "of another width on other machines")]
        let kind = file_system(kind.f_type as u64);
        judge(kind, space.f_bavail.saturating_mul(space.f_frsize), (space.f_files > 0).then_some(space.f_favail))
    }
}

/// Whether others may put something else in the place of what lies in a directory.
fn is_open(directory: &Path) -> bool {
    directory.metadata().is_ok_and(|metadata| metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0)
}

/// `inodes`: `None` where the file system makes them as they are needed.
fn judge(kind: &str, free: u64, inodes: Option<u64>) -> Check {
    const NAME: &str = "disk";
    let count = inodes.map(|inodes| format!(", {inodes} inodes")).unwrap_or_default();
    let found = format!("{}{count} free on {kind}", bytes(free));
    let prune = "brik cache prune --keep-storage 5GiB";
    match (free, inodes.unwrap_or(u64::MAX)) {
        (..0x4000_0000, _) | (_, ..20_000) => Check::failed(NAME, format!("{found}: too little for a build")).fix(prune),
        (..0x1_4000_0000, _) | (_, ..200_000) => Check::warning(NAME, format!("{found}: little for the layers of a build")).fix(prune),
        _ if NETWORK.contains(&kind) => {
            let why = "a network file system, on which locks and attributes may not work";
            Check::warning(NAME, format!("{found}: {why}")).fix("export BRIK_STORE=/var/tmp/brik-$USER")
        }
        _ => Check::ok(NAME, found),
    }
}

const NETWORK: [&str; 4] = ["nfs", "cifs", "smb2", "9p"];

/// The names of statfs(2)'s magic numbers.
fn file_system(magic: u64) -> &'static str {
    match magic & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6573_5546 => "fuse",
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x0102_1997 => "9p",
        0x4d44 => "vfat",
        _ => "a file system of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Status;

    #[test]
    fn little_space_or_few_inodes_are_told() {
        const GIB: u64 = 1 << 30;
        for (kind, free, inodes, status) in [
            ("ext4", 50 * GIB, Some(1_000_000), Status::Ok),
            ("btrfs", 50 * GIB, None, Status::Ok),
            ("ext4", 4 * GIB, Some(1_000_000), Status::Warning),
            ("ext4", GIB / 2, Some(1_000_000), Status::Failed),
            ("ext4", 50 * GIB, Some(150_000), Status::Warning),
            ("ext4", 50 * GIB, Some(10), Status::Failed),
            ("nfs", 50 * GIB, None, Status::Warning),
        ] {
            let check = judge(kind, free, inodes);
            assert_eq!((check.status, check.fix.is_some()), (status, status != Status::Ok), "{kind} {free} {inodes:?}");
        }
    }

    #[test]
    fn a_store_that_is_not_there_is_judged_by_the_directory_above() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path().join("a/b"));
        let check = place.store();
        assert_eq!((check.status, check.remedy), (Status::Ok, Some(Remedy::MakeStore(directory.path().join("a/b")))));
        let room = place.room().unwrap().path().to_owned();
        assert!(room.starts_with(directory.path()) && !room.exists());
        fs::write(directory.path().join("version"), "99").unwrap();
        assert_eq!(Place::new(directory.path().to_owned()).store().status, Status::Failed);
    }
}
