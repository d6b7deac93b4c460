//! Files that come from no directory: heredocs and downloads.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

use super::job::split;
use crate::source::tree::{Match, Node, NodeKind, Tree};

/// A tree of files side by side; the path of each is its place in the order in which they were added.
#[derive(Debug, Default)]
pub struct LooseFiles(Vec<LooseFile>);

#[derive(Debug)]
struct LooseFile {
    name: Vec<u8>,
    content: Content,
    node: Node,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl LooseFiles {
    pub fn new() -> Self {
        Self::default()
    }

    /// A heredoc: root's, mode 0644. `mtime` is in seconds since 1970.
    pub fn add_heredoc(&mut self, name: &str, content: Vec<u8>, mtime: i64) {
        let size = content.len() as u64;
        self.add(name, Content::Bytes(content), 0o644, size, mtime);
    }

    /// A download that lies in the file `path`: root's, mode 0600. `mtime` is its Last-Modified, in seconds since 1970.
    ///
    /// # Errors
    /// Where the file cannot be looked up.
    pub fn add_download(&mut self, name: &str, path: PathBuf, mtime: i64) -> io::Result<()> {
        let size = std::fs::metadata(&path)?.len();
        self.add(name, Content::File(path), 0o600, size, mtime);
        Ok(())
    }

    fn add(&mut self, name: &str, content: Content, mode: u32, size: u64, mtime: i64) {
        let node = Node { kind: NodeKind::File, mode, uid: 0, gid: 0, size, mtime: (mtime, 0), hardlink: None };
        let name = split(name.as_bytes()).1.to_vec();
        self.0.push(LooseFile { name, content, node });
    }

    /// All files, as `CopyJob` takes them.
    pub fn matches(&self) -> Vec<Match> {
        let file = |(index, file): (usize, &LooseFile)| Match {
            path: index.to_string().into_bytes(),
            name: file.name.clone(),
            node: file.node.clone(),
            parents: None,
            below: Vec::new(),
        };
        self.0.iter().enumerate().map(file).collect()
    }

    fn find(&self, path: &[u8]) -> io::Result<&LooseFile> {
        let index = std::str::from_utf8(path).ok().and_then(|path| path.parse::<usize>().ok());
        index.and_then(|index| self.0.get(index)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Tree for LooseFiles {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        Ok(self.find(path).ok().map(|file| file.node.clone()))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        if !path.is_empty() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut names: Vec<_> = (0..self.0.len()).map(|index| index.to_string().into_bytes()).collect();
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        match &self.find(path)?.content {
            Content::Bytes(bytes) => {
                let mut file = File::from(memfd_create("heredoc", MemfdFlags::CLOEXEC)?);
                file.write_all(bytes)?;
                io::Seek::rewind(&mut file)?;
                Ok(file)
            }
            Content::File(path) => File::open(path),
        }
    }

    fn xattrs(&self, _: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn heredocs_of_one_name_keep_their_content() {
        let mut files = LooseFiles::new();
        files.add_heredoc("EOF", b"one".to_vec(), 0);
        files.add_heredoc("EOF", b"two".to_vec(), 0);
        let contents = files.matches().into_iter().map(|found| {
            let mut text = String::new();
            files.open(&found.path).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(contents.collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn a_download_is_read_from_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, "content").unwrap();
        let mut files = LooseFiles::new();
        files.add_download("tool", path, 7).unwrap();
        let found = files.matches().remove(0);
        assert_eq!((found.node.mode, found.node.size, found.node.mtime), (0o600, 7, (7, 0)));
    }
}
