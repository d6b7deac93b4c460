//! Files of a layer that lie elsewhere: in a build context, in another image. They are read when the layer is written, and need no copy in
//! the upper directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Where borrowed files lie.
pub trait Lender: Send + Sync {
    /// Opens a regular file for reading.
    fn open(&self, path: &[u8]) -> io::Result<File>;
    /// An error where a file that was opened at `path`, and has been read, was changed meanwhile.
    fn unchanged(&self, path: &[u8], file: &File) -> io::Result<()>;
    /// Whether extended attributes of its files belong in a layer.
    fn lends_xattrs(&self) -> bool;
}

/// A regular file.
pub struct BorrowedFile<'a> {
    pub lender: Arc<dyn Lender + 'a>,
    /// Its path there.
    pub source: Vec<u8>,
    /// 07777.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Files of one number are hard links of one another.
    pub link: Option<u64>,
}

/// By directory and name. A directory that they lie in is in the upper directory; what the upper directory has under their names (it can
/// only be whiteouts) is hidden by them.
#[derive(Default)]
pub struct BorrowedFiles<'a> {
    directories: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, BorrowedFile<'a>>>,
    links: u64,
}

impl<'a> BorrowedFiles<'a> {
    /// A number for [`BorrowedFile::link`] that no other file has.
    pub fn next_link(&mut self) -> u64 {
        self.links += 1;
        self.links
    }

    /// `directory` is relative to the root, without leading or trailing slash. An earlier file of the name is forgotten.
    pub fn insert(&mut self, directory: &[u8], name: &[u8], file: BorrowedFile<'a>) {
        if let Some(files) = self.directories.get_mut(directory) {
            files.insert(name.to_vec(), file);
        } else {
            self.directories.insert(directory.to_vec(), BTreeMap::from([(name.to_vec(), file)]));
        }
    }

    pub fn remove(&mut self, directory: &[u8], name: &[u8]) {
        if let Some(files) = self.directories.get_mut(directory) {
            files.remove(name);
        }
    }

    pub fn contains(&self, directory: &[u8], name: &[u8]) -> bool {
        self.directories.get(directory).is_some_and(|files| files.contains_key(name))
    }

    /// Whether files were ever borrowed into this directory.
    pub fn knows(&self, directory: &[u8]) -> bool {
        self.directories.contains_key(directory)
    }

    pub fn is_empty(&self) -> bool {
        self.directories.values().all(BTreeMap::is_empty)
    }

    pub(super) fn get(&self, directory: &[u8], name: &[u8]) -> Option<&BorrowedFile<'a>> {
        self.directories.get(directory)?.get(name)
    }

    /// The names in a directory, sorted by bytes.
    pub(super) fn names(&self, directory: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        self.directories.get(directory).into_iter().flat_map(BTreeMap::keys)
    }
}
