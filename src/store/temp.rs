//! Work in progress: `tmp/<owner>.<n>`, kept alive by a flock on `tmp/<owner>.lease`. An owner is a process, named by its id and the time
//! at which it came: ids alone repeat where containers share a store, and a name that the dead had would keep what they left, once their
//! lease is lost.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;

use super::disk::Disk;
use super::entries::{read_dir, used};
use super::reaper::Reaper;
use super::{Error, NO_WAIT, at};

#[derive(Debug)]
pub(super) struct TempArea {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    reaper: Reaper,
    lease: OnceLock<Lease>,
    next: AtomicU64,
}

/// This process as an owner: its name, and the lock that says that it lives. The name goes before the lock does.
#[derive(Debug)]
struct Lease {
    owner: String,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    #[allow(dead_code, reason = "the lock lives as long as the file is open")]
    file: File,
}

/// A directory that is removed, with all that is in it, after it is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    area: Arc<TempArea>,
}

impl TempDir {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        self.area.reaper.remove(std::mem::take(&mut self.path));
    }
}

impl TempArea {
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn new(root: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { root: root.to_owned(), reaper: Reaper::new(disk.clone()), disk, lease: OnceLock::new(), next: AtomicU64::new(0) }
    }

    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Takes the lease: from now on, nobody reclaims what is made here, or prunes what is used.
    pub fn take_lease(&self) -> Result<(), Error> {
        if self.lease.get().is_none() {
            // Of two at once, the late one goes again.
            let _ = self.lease.set(Lease::take(&self.root, &self.disk)?);
        }
        Ok(())
    }

    /// When the oldest of the other owners that live took its lease.
    pub fn oldest_living(&self) -> Option<SystemTime> {
        let own = self.lease.get().map(|lease| lease.path.clone());
        let leases = read_dir(&self.root).map(|entry| entry.path());
        let others = leases.filter(|path| path.extension().is_some_and(|extension| extension == "lease") && Some(path) != own.as_ref());
        let living = |path: PathBuf| {
            let lease = File::open(path).ok()?;
            rustix::fs::flock(&lease, FlockOperation::NonBlockingLockExclusive).is_err().then_some(())?;
            Some(used(&lease.metadata().ok()?))
        };
        others.filter_map(living).min()
    }

    /// One that nobody else has, nor had.
    pub fn path(&self) -> Result<PathBuf, Error> {
        self.take_lease()?;
        let owner = self.lease.get().map_or("", |lease| &lease.owner);
        Ok(self.root.join(format!("{owner}.{}", self.next.fetch_add(1, Ordering::Relaxed))))
    }

    pub fn dir(self: &Arc<Self>) -> Result<TempDir, Error> {
        let path = self.path()?;
        self.disk.create_dir(&path).map_err(at("create", &path))?;
        Ok(TempDir { path, area: self.clone() })
    }

    pub fn file(&self, mode: u32) -> Result<(PathBuf, File), Error> {
        let path = self.path()?;
        let file = self.disk.create(&path, mode).map_err(at("create", &path))?;
        Ok((path, file))
    }

    /// Writes a small file, durable before it appears, so that at `target` there is never a part of it, whatever happens.
    pub fn publish(&self, bytes: &[u8], target: &Path) -> Result<(), Error> {
        self.place(bytes, target, |file| self.disk.sync(file))
    }

    /// The same for what may be torn by a crash.
    pub fn publish_unsynced(&self, bytes: &[u8], target: &Path) -> Result<(), Error> {
        self.place(bytes, target, |_| Ok(()))
    }

    fn place(&self, bytes: &[u8], target: &Path, sync: impl FnOnce(&File) -> io::Result<()>) -> Result<(), Error> {
        let (path, file) = self.file(0o600)?;
        let written = self.disk.write_all(&file, bytes).and_then(|()| sync(&file)).and_then(|()| self.disk.rename(&path, target));
        written.map_err(|e| {
            let _ = self.disk.remove_file(&path);
            at("write", target)(e)
        })
    }

    /// Removes what dead owners left, after `rescue` had a look at it.
    pub fn reclaim(&self, rescue: impl Fn(&Path)) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((owner, _)) = name.to_str().and_then(|n| n.split_once('.')) else { continue };
            // Held until the entry is gone: whoever waits for the lock finds its lease unlinked and takes another.
            let lease = File::options().read(true).custom_flags(NO_WAIT).open(self.root.join(format!("{owner}.lease")));
            if !lease.as_ref().is_ok_and(|lease| rustix::fs::flock(lease, FlockOperation::NonBlockingLockExclusive).is_err()) {
                rescue(&entry.path());
                self.disk.remove_tree(&entry.path());
            }
        }
    }
}

impl Lease {
    fn take(root: &Path, disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let pid = std::process::id();
        loop {
            let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let owner = format!("{pid}-{nanoseconds:x}");
            let path = root.join(format!("{owner}.lease"));
            match disk.create(&path, 0o666) {
                Ok(file) => {
                    rustix::fs::flock(&file, FlockOperation::LockShared).map_err(|e| at("lock", &path)(e.into()))?;
                    // Until it was locked, it looked like that of the dead and may have been removed.
                    if file.metadata().map_err(at("read", &path))?.nlink() > 0 {
                        return Ok(Self { owner, path, disk: disk.clone(), file });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at("create", &path)(error)),
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.disk.remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileSystem;
    use super::*;

    fn area(root: &Path) -> TempArea {
        TempArea::new(root, Arc::new(FileSystem))
    }

    #[test]
    fn two_owners_of_one_process_id_work_apart() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (Arc::new(area(root.path())), Arc::new(area(root.path())));
        let (one, other) = (one.dir().unwrap(), other.dir().unwrap());
        assert_ne!(one.path(), other.path());
    }

    #[test]
    fn the_work_of_the_living_is_kept_and_that_of_the_dead_reclaimed() {
        let root = tempfile::tempdir().unwrap();
        let (living, other) = (Arc::new(area(root.path())), area(root.path()));
        let kept = living.dir().unwrap();
        let dead = root.path().join("1-0.7");
        fs::create_dir(&dead).unwrap();
        fs::write(root.path().join("1-0.lease"), "").unwrap();
        other.reclaim(|_| {});
        assert!(kept.path().is_dir() && !dead.exists());
    }

    #[test]
    fn what_the_dead_left_goes_though_their_lease_is_lost_and_their_process_id_is_given_again() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(format!("{}-0.0", std::process::id()));
        fs::create_dir(&left).unwrap();
        let area = area(root.path());
        area.file(0o600).unwrap();
        area.reclaim(|_| {});
        assert!(!left.exists());
    }
}
