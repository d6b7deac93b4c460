//! A disk that does what it is asked for, but for syncs, and keeps a log of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::disk::{Disk, FileSystem};

/// A file or directory, whatever its names are. The first is the root.
pub type Node = usize;

#[derive(Debug, Clone)]
pub enum Change {
    File {
        node: Node,
        mode: u32,
    },
    Directory {
        node: Node,
    },
    /// What a name in a directory means from now on.
    Name {
        directory: Node,
        name: OsString,
        node: Option<Node>,
    },
    /// At the end of the file.
    Write {
        file: Node,
        bytes: Vec<u8>,
    },
    Mode {
        file: Node,
        mode: u32,
    },
    Sync {
        file: Node,
    },
    SyncNames {
        directory: Node,
    },
}

/// Changes that are asked for at once.
pub type Operation = Vec<Change>;

/// The disk below a directory.
#[derive(Debug)]
pub struct Simulated {
    root: PathBuf,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    /// By inode.
    nodes: HashMap<u64, Node>,
    count: usize,
    operations: Vec<Operation>,
    /// How many of them were there before.
    durable: usize,
}

impl Simulated {
    /// What lies below `root` is durable.
    pub fn over(root: &Path) -> Self {
        let log = Log { nodes: HashMap::new(), count: 1, operations: vec![vec![Change::Directory { node: 0 }]], durable: 0 };
        let disk = Self { root: root.canonicalize().unwrap(), log: Mutex::new(log) };
        let mut log = disk.log();
        disk.meet_below(&mut log, &disk.root);
        log.durable = log.operations.len();
        drop(log);
        disk
    }

    /// All operations, and how many of them were durable from the start.
    pub fn log_of_operations(&self) -> (Vec<Operation>, usize) {
        let log = self.log();
        (log.operations.clone(), log.durable)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node at a path; one that was made behind our back is met now.
    fn node(&self, log: &mut Log, path: &Path) -> Option<Node> {
        if path == self.root {
            return Some(0);
        }
        let metadata = fs::symlink_metadata(path).ok()?;
        if let Some(node) = log.nodes.get(&metadata.ino()) {
            return Some(*node);
        }
        let (directory, name) = self.place(log, path)?;
        let node = log.new_node(&metadata);
        let mut operation = match metadata.is_dir() {
            true => vec![Change::Directory { node }],
            false => vec![Change::File { node, mode: metadata.mode() & 0o7777 }],
        };
        operation.push(Change::Name { directory, name, node: Some(node) });
        log.operations.push(operation);
        if metadata.is_file() {
            log.operations.push(vec![Change::Write { file: node, bytes: fs::read(path).unwrap() }]);
        }
        Some(node)
    }

    fn meet_below(&self, log: &mut Log, path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let node = self.node(log, &entry.path());
            if node.is_some() && entry.path().is_dir() {
                self.meet_below(log, &entry.path());
            }
        }
    }

    fn place(&self, log: &mut Log, path: &Path) -> Option<(Node, OsString)> {
        Some((self.node(log, path.parent()?)?, path.file_name()?.to_owned()))
    }

    fn rename_with(&self, from: &Path, to: &Path, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut log = self.log();
        let node = self.node(&mut log, from);
        if from.is_dir() {
            self.meet_below(&mut log, from);
        }
        let (old, new) = (self.place(&mut log, from), self.place(&mut log, to));
        let replaced = fs::symlink_metadata(to).ok();
        rename()?;
        if let Some(replaced) = replaced {
            log.forget(&replaced);
        }
        let (Some(node), Some((from, old)), Some((to, new))) = (node, old, new) else { return Ok(()) };
        let [to, from] = [(to, new, Some(node)), (from, old, None)].map(|(directory, name, node)| Change::Name { directory, name, node });
        log.operations.push(vec![to, from]);
        Ok(())
    }

    /// Notes that a file or directory loses a name.
    fn unname(&self, log: &mut Log, path: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        if log.nodes.contains_key(&metadata.ino())
            && let Some((directory, name)) = self.place(log, path)
        {
            log.operations.push(vec![Change::Name { directory, name, node: None }]);
            log.forget(&metadata);
        }
    }

    fn unname_tree(&self, log: &mut Log, path: &Path) {
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| self.unname_tree(log, &entry.path()));
        }
        self.unname(log, path);
    }

    fn note(&self, log: &mut Log, file: &File, change: impl FnOnce(Node) -> Change) -> io::Result<()> {
        // One that has no name any more is of no interest.
        if let Some(node) = log.nodes.get(&file.metadata()?.ino()).copied() {
            log.operations.push(vec![change(node)]);
        }
        Ok(())
    }
}

impl Log {
    fn new_node(&mut self, metadata: &Metadata) -> Node {
        let node = self.count;
        self.count += 1;
        self.nodes.insert(metadata.ino(), node);
        node
    }

    /// Its inode is going to be another's.
    fn forget(&mut self, metadata: &Metadata) {
        if metadata.is_dir() || metadata.nlink() == 1 {
            self.nodes.remove(&metadata.ino());
        }
    }
}

impl Disk for Simulated {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut log = self.log();
        let place = self.place(&mut log, path);
        let file = FileSystem.create(path, mode)?;
        let metadata = file.metadata()?;
        let node = log.new_node(&metadata);
        if let Some((directory, name)) = place {
            let mode = metadata.permissions().mode() & 0o7777;
            log.operations.push(vec![Change::File { node, mode }, Change::Name { directory, name, node: Some(node) }]);
        }
        Ok(file)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.log();
        let written = FileSystem.write(file, bytes)?;
        self.note(&mut log, file, |file| Change::Write { file, bytes: bytes[..written].to_owned() })?;
        Ok(written)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.note(&mut self.log(), file, |file| Change::Sync { file })
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        let mut log = self.log();
        if let Some(directory) = self.node(&mut log, directory) {
            log.operations.push(vec![Change::SyncNames { directory }]);
        }
        Ok(())
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        let mut log = self.log();
        FileSystem.set_mode(file, mode)?;
        self.note(&mut log, file, |file| Change::Mode { file, mode })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        FileSystem.create_dir(path)?;
        let Some((directory, name)) = self.place(&mut log, path) else { return Ok(()) };
        let node = log.new_node(&fs::symlink_metadata(path)?);
        log.operations.push(vec![Change::Directory { node }, Change::Name { directory, name, node: Some(node) }]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_with(from, to, || FileSystem.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_with(from, to, || FileSystem.rename_new(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        self.unname(&mut log, path);
        FileSystem.remove_file(path)
    }

    fn remove_tree(&self, path: &Path) {
        let mut log = self.log();
        self.unname_tree(&mut log, path);
        FileSystem.remove_tree(path);
    }
}
