//! What the store asks of the file system so that something appears, lasts or goes. Behind a trait, so that tests can lose whatever a crash
//! may lose (`tests::crashes`).
//!
//! Reading is not on it, nor are locks and the times of use: a crash ends all locks, and takes nothing with a time but the order of pruning.
//! Directories are hardly ever synced, which costs as much as to sync a file: no name is promised to outlive a crash, and the store is
//! whole without any of them.

use std::fmt::Debug;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::remove::remove_tree;

pub(super) trait Disk: Debug + Send + Sync {
    /// A new file, to be read and written.
    fn create(&self, path: &Path, mode: u32) -> io::Result<File>;

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;

    /// What was written to the file lasts; its names and its mode may not.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// The names in a directory last, as they are now.
    fn sync_names(&self, directory: &Path) -> io::Result<()>;

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()>;

    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Replaces what is at `to`, be it a directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Fails where something is at `to`, or with `EINVAL` on a file system that cannot do that.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Also a directory that is in the place of a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a tree as far as that can be done, even where its directories lack write or search permission for their owner.
    fn remove_tree(&self, path: &Path);

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        match (self.create_dir(path), path.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                self.create_dir_all(parent)?;
                self.create_dir_all(path)
            }
            (Err(_), _) if path.is_dir() => Ok(()),
            (created, _) => created,
        }
    }

    fn write_all(&self, file: &File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(file, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The file system itself.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        File::options().create_new(true).read(true).write(true).mode(mode).open(path)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                remove_tree(to);
                fs::rename(from, to)
            }
            renamed => renamed,
        }
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                remove_tree(path);
                Ok(())
            }
            removed => removed,
        }
    }

    fn remove_tree(&self, path: &Path) {
        remove_tree(path);
    }
}
