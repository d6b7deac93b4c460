//! Mount points that the image does not have: made for the time of one RUN, and taken away without a trace afterwards.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, unlinkat};

use super::directory::{Directory, Times, identify};
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
    made: Vec<Stub>,
    parents: Vec<Parent>,
}

#[derive(Debug)]
struct Stub {
    path: PathBuf,
    parent: Directory,
    name: OsString,
    /// What was made.
    file: OwnedFd,
    kind: Kind,
}

/// A directory of the image that got a stub, with its times before and after that.
#[derive(Debug)]
struct Parent {
    path: PathBuf,
    directory: Directory,
    before: Times,
    after: Times,
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
            parent.after = parent.directory.times().unwrap_or(parent.before);
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
        if let Some(parent) = topmost.parent().filter(|parent| !self.made.iter().any(|made| made.path == *parent))
            && !self.parents.iter().any(|known| known.path == parent)
        {
            let directory = Directory::open(parent)?;
            let before = directory.times()?;
            self.parents.push(Parent { path: parent.to_owned(), directory, before, after: before });
        }
        while let Some(next) = missing.pop() {
            let kind = if missing.is_empty() { kind } else { Kind::Directory };
            create(next, kind)?;
            let (Some(parent), Some(name)) = (next.parent(), next.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
            let (parent, name, file) = (Directory::open(parent)?, name.to_owned(), identify(next)?);
            self.made.push(Stub { path: next.to_owned(), parent, name, file, kind });
        }
        Ok(())
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        // A parent that the RUN has changed keeps its own new times.
        let unchanged = |parent: &&Parent| parent.directory.times().is_ok_and(|now| now.modified == parent.after.modified);
        let untouched: Vec<&Parent> = self.parents.iter().filter(unchanged).collect();
        self.made.iter().rev().for_each(Stub::remove);
        for parent in untouched {
            let _ = parent.directory.set_times(parent.before);
        }
    }
}

impl Stub {
    /// What is something else by now, or not empty any more, is the RUN's work: it stays.
    fn remove(&self) {
        if !self.parent.holds(&self.name, &self.file) {
            return;
        }
        let _ = match self.kind {
            Kind::Directory => unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR),
            Kind::File if self.parent.lookup(&self.name).is_some_and(|stat| stat.st_size == 0) => {
                unlinkat(&self.parent, &self.name, AtFlags::empty())
            }
            Kind::File => return,
        };
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
            Directory::open(&root.join(directory))?.set_times(old)?;
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
        assert_eq!(Directory::open(&root.join("etc"))?.times()?.modified, old.modified);
        assert!(root.join("opt/a/made").exists() && !root.join("opt/a/b").exists());
        assert_ne!(Directory::open(&root.join("opt"))?.times()?.modified, old.modified, "the RUN changed it");
        Ok(())
    }

    #[test]
    fn what_a_run_puts_in_the_place_of_a_directory_is_not_followed() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let (root, outside) = (room.path().join("root"), room.path().join("outside"));
        fs::create_dir_all(root.join("a/sub"))?;
        fs::create_dir_all(outside.join("sub/empty"))?;
        fs::write(outside.join("sub/lock"), "")?;
        let targets = [(Path::new("/a/sub/empty"), Kind::Directory), (Path::new("/a/sub/lock"), Kind::File)];
        let stubs = Stubs::make(&root, targets.into_iter())?;
        fs::rename(root.join("a"), root.join("moved"))?;
        std::os::unix::fs::symlink(&outside, root.join("a"))?;
        drop(stubs);
        assert!(outside.join("sub/empty").exists() && outside.join("sub/lock").exists());
        assert_eq!(fs::read_dir(root.join("moved/sub"))?.count(), 0, "the stubs are found where they were moved to");
        Ok(())
    }

    #[test]
    fn an_empty_file_that_a_run_made_in_the_place_of_a_stub_stays() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let stubs = Stubs::make(room.path(), [(Path::new("/file"), Kind::File)].into_iter())?;
        fs::remove_file(room.path().join("file"))?;
        fs::write(room.path().join("file"), "")?;
        drop(stubs);
        assert!(room.path().join("file").exists());
        Ok(())
    }
}
