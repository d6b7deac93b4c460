//! Mount points that the image does not have: made for the time of one RUN, and taken away without a trace afterwards.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::error::SandboxError;
use super::rootfs;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// The mount points made in one root file system. Removed on drop, except what the RUN has filled.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    /// In the order of creation: parents first.
    made: Vec<PathBuf>,
    parents: Vec<Parent>,
}

/// A directory of the image that got a stub, with its times before and after that.
#[derive(Debug)]
struct Parent {
    path: PathBuf,
    before: Times,
    after: Times,
}

/// Of last access and modification, in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    accessed: (i64, i64),
    modified: (i64, i64),
}

impl Stubs {
    /// Makes the missing ones of `targets` in `root`.
    pub fn make<'a>(root: &Path, targets: impl Iterator<Item = (&'a Path, Kind)>) -> Result<Self, SandboxError> {
        let mut stubs = Self::default();
        for (target, kind) in targets {
            let path = root.join(rootfs::resolve(root, target)?);
            stubs.make_one(&path, kind).map_err(|source| SandboxError::Mount { action: "create mount point", path, source })?;
        }
        for parent in &mut stubs.parents {
            parent.after = Times::of(&parent.path).unwrap_or(parent.before);
        }
        Ok(stubs)
    }

    /// Whether `path`, inside of the root as the targets were, is a directory of the image that got a stub: overlayfs copies those up.
    pub fn touched(&self, path: &Path) -> bool {
        self.parents.iter().any(|parent| parent.path == path)
    }

    fn make_one(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        let mut missing: Vec<&Path> = path.ancestors().take_while(|path| fs::symlink_metadata(path).is_err()).collect();
        let Some(topmost) = missing.last() else { return Ok(()) };
        if let Some(parent) = topmost.parent().filter(|parent| !self.made.iter().any(|made| made == parent)) {
            let before = Times::of(parent)?;
            if !self.parents.iter().any(|known| known.path == parent) {
                self.parents.push(Parent { path: parent.to_owned(), before, after: before });
            }
        }
        while let Some(next) = missing.pop() {
            create(next, if missing.is_empty() { kind } else { Kind::Directory })?;
            self.made.push(next.to_owned());
        }
        Ok(())
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        // A parent that the RUN has changed keeps its own new times.
        let untouched: Vec<&Parent> =
            self.parents.iter().filter(|p| Times::of(&p.path).is_ok_and(|now| now.modified == p.after.modified)).collect();
        for stub in self.made.iter().rev() {
            let Ok(metadata) = fs::symlink_metadata(stub) else { continue };
            // What is not empty any more is the RUN's work: it stays.
            if metadata.is_dir() {
                let _ = fs::remove_dir(stub);
            } else if metadata.is_file() && metadata.len() == 0 {
                let _ = fs::remove_file(stub);
            }
        }
        for parent in untouched {
            let _ = parent.before.restore(&parent.path);
        }
    }
}

/// Makes an empty mount point whose parent exists, with the usual modes whatever the umask is.
pub(super) fn create(path: &Path, kind: Kind) -> io::Result<()> {
    let mode = match kind {
        Kind::Directory => DirBuilder::new().mode(0o755).create(path).map(|()| 0o755)?,
        Kind::File => File::create_new(path).map(|_| 0o644)?,
    };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

impl Times {
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { accessed: (metadata.atime(), metadata.atime_nsec()), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }

    pub fn restore(self, path: &Path) -> rustix::io::Result<()> {
        let [last_access, last_modification] = [self.accessed, self.modified].map(|(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec });
        rustix::fs::utimensat(CWD, path, &Timestamps { last_access, last_modification }, AtFlags::SYMLINK_NOFOLLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_vanish_with_their_traces_and_what_a_run_made_stays() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let root = room.path();
        fs::create_dir_all(root.join("etc"))?;
        fs::create_dir_all(root.join("opt"))?;
        let old = Times { accessed: (5, 6), modified: (7, 8) };
        for directory in ["etc", "opt"] {
            old.restore(&root.join(directory))?;
        }
        let targets = [
            (Path::new("/etc/hosts"), Kind::File),
            (Path::new("/etc/deep/er"), Kind::Directory),
            (Path::new("/opt/a/b/c"), Kind::Directory),
            (Path::new("/etc"), Kind::Directory),
        ];
        let stubs = Stubs::make(root, targets.into_iter())?;
        assert!(root.join("etc/hosts").is_file() && root.join("etc/deep/er").is_dir() && root.join("opt/a/b/c").is_dir());
        fs::write(root.join("opt/a/made"), "by the RUN")?;
        fs::write(root.join("opt/own"), "by the RUN")?;
        drop(stubs);
        assert_eq!(fs::read_dir(root.join("etc"))?.count(), 0);
        assert_eq!(Times::of(&root.join("etc"))?.modified, old.modified);
        assert!(root.join("opt/a/made").exists() && !root.join("opt/a/b").exists());
        assert_ne!(Times::of(&root.join("opt"))?.modified, old.modified, "the RUN changed it");
        Ok(())
    }
}
