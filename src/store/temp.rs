//! Work in progress: `tmp/<pid>.<n>`, kept alive by a flock on `tmp/<pid>.lease`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::{Error, at};

pub(super) struct TempArea {
    root: PathBuf,
    lease: OnceLock<(PathBuf, File)>,
    next: AtomicU64,
}

/// A directory that is removed, with all that is in it, when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        remove_tree(&self.0);
    }
}

impl TempArea {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), lease: OnceLock::new(), next: AtomicU64::new(0) }
    }

    /// Takes the lease before the first entry is made, so that another process never reclaims it.
    fn name(&self) -> Result<PathBuf, Error> {
        let pid = std::process::id();
        if self.lease.get().is_none() {
            let path = self.root.join(format!("{pid}.lease"));
            let file = File::create(&path).map_err(at("create", &path))?;
            rustix::fs::flock(&file, FlockOperation::LockShared).map_err(|e| at("lock", &path)(e.into()))?;
            let _ = self.lease.set((path, file));
        }
        Ok(self.root.join(format!("{pid}.{}", self.next.fetch_add(1, Ordering::Relaxed))))
    }

    pub fn dir(&self) -> Result<TempDir, Error> {
        let path = self.name()?;
        remove_tree(&path);
        fs::create_dir(&path).map_err(at("create", &path))?;
        Ok(TempDir(path))
    }

    pub fn file(&self) -> Result<(PathBuf, File), Error> {
        let path = self.name()?;
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(at("create", &path))?;
        Ok((path, file))
    }

    pub fn reclaim(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        let own = std::process::id().to_string();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((pid, _)) = name.to_str().and_then(|n| n.split_once('.')) else { continue };
            if pid == own {
                continue;
            }
            let lease = self.root.join(format!("{pid}.lease"));
            let alive = File::open(&lease).is_ok_and(|f| rustix::fs::flock(&f, FlockOperation::NonBlockingLockExclusive).is_err());
            if !alive {
                remove_tree(&entry.path());
            }
        }
    }
}

impl Drop for TempArea {
    fn drop(&mut self) {
        if let Some((path, _)) = self.lease.get() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a tree even where its directories lack write or search permission for their owner.
pub fn remove_tree(path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        let _ = fs::remove_file(path);
    } else if fs::remove_dir_all(path).is_err() {
        open_up(path);
        let _ = fs::remove_dir_all(path);
    }
}

fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&entry.path());
        }
    }
}
