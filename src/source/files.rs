//! Where a project is read: the disk, or a commit in place of it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::ignore::IgnoreFile;
use super::stat_cache::StatCache;

/// Answers about absolute paths. Symbolic links are followed, and a path that cannot be looked at counts as missing.
pub trait Files: fmt::Debug + Send + Sync {
    /// The path without links, `.` and `..`; an error where nothing is there.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    fn is_file(&self, path: &Path) -> bool;
    fn is_dir(&self, path: &Path) -> bool;
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
    /// Names of the directories in a directory, sorted, and whether each is a link to one.
    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>>;
    /// Lists a directory as a build context; see [`Context::walk`].
    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error>;
}

/// The files as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }

    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let directory = |entry: fs::DirEntry| {
            let kind = entry.file_type().ok()?;
            (kind.is_dir() || (kind.is_symlink() && entry.path().is_dir())).then(|| (entry.file_name(), kind.is_symlink()))
        };
        let mut names: Vec<_> = fs::read_dir(path)?.flatten().filter_map(directory).collect();
        names.sort();
        Ok(names)
    }

    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error> {
        Context::walk(path, ignore, cache)
    }
}
