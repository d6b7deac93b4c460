//! What a crash may leave. The model is what POSIX promises, and nothing of what file systems do beyond that:
//!
//! - What was written to a file is there once the file was synced (`fdatasync`: "all operations … as defined for synchronized I/O data
//!   integrity completion"). Until then it may be there, be missing, be cut, or be zeros from somewhere on to its full length: the
//!   length may become durable before the data (ext4 with data=writeback; "All File Systems Are Not Created Equal", OSDI 2014, §3).
//! - A name in a directory means what it ever meant since the directory was synced (`fsync` of the directory; fsync(2): "Calling fsync()
//!   does not necessarily ensure that the entry in the directory containing the file has also reached disk"). Every name by itself: a
//!   rename may be half done, and a later change may last where an earlier one does not. ext4 and xfs promise more, since they keep the order
//!   of changes in their journals; the store is not to need that.
//! - The mode of a file is one that it ever had: `fdatasync` need not write it. No file is seen without the mode that it was made with.
//! - A directory that no name leads to is lost with all that is in it.
//!
//! A process that is killed loses nothing: that is one of the states.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::simulated::{Change, Node, Operation};

/// Chooses one of so many possibilities. The first is always that nothing is lost.
pub trait Choose {
    fn one_of(&mut self, possibilities: usize) -> usize;
}

/// All states that a crash may leave.
#[derive(Debug, Default)]
pub struct Crash {
    /// By directory and name: what it may mean, the latest last.
    names: HashMap<Node, BTreeMap<OsString, Vec<Option<Node>>>>,
    files: HashMap<Node, Content>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
    /// That it may have, the latest last.
    modes: Vec<u32>,
}

impl Crash {
    /// After these operations, of which the first `durable` are.
    pub fn after(operations: &[Operation], durable: usize) -> Self {
        let mut crash = Self::default();
        for (n, operation) in operations.iter().enumerate() {
            operation.iter().for_each(|change| crash.change(change));
            if n + 1 == durable {
                crash.sync_all();
            }
        }
        crash
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::File { node, mode } => {
                self.files.insert(*node, Content { modes: vec![*mode], ..Content::default() });
            }
            Change::Directory { node } => drop(self.names.insert(*node, BTreeMap::new())),
            Change::Name { directory, name, node } => {
                let meanings = self.names.entry(*directory).or_default().entry(name.clone()).or_insert_with(|| vec![None]);
                meanings.retain(|known| known != node);
                meanings.push(*node);
            }
            Change::Write { file, bytes } => self.content(*file).bytes.extend(bytes),
            Change::Mode { file, mode } => self.content(*file).modes.push(*mode),
            Change::Sync { file } => {
                let content = self.content(*file);
                content.synced = content.bytes.len();
            }
            Change::SyncNames { directory } => {
                self.names.entry(*directory).or_default().values_mut().for_each(only_last);
            }
        }
    }

    fn content(&mut self, file: Node) -> &mut Content {
        self.files.entry(file).or_default()
    }

    fn sync_all(&mut self) {
        self.names.values_mut().flat_map(BTreeMap::values_mut).for_each(only_last);
        for content in self.files.values_mut() {
            content.synced = content.bytes.len();
            only_last(&mut content.modes);
        }
    }

    /// Makes one of the states below the empty directory `root`.
    pub fn make(&self, root: &Path, choose: &mut dyn Choose) {
        self.make_directory(0, root, choose, &mut HashMap::new());
    }

    fn make_directory(&self, directory: Node, path: &Path, choose: &mut dyn Choose, made: &mut HashMap<Node, (Vec<u8>, u32)>) {
        let Some(names) = self.names.get(&directory) else { return };
        for (name, meanings) in names {
            let Some(node) = meanings[meanings.len() - 1 - choose.one_of(meanings.len())] else { continue };
            let path = path.join(name);
            match self.files.get(&node) {
                // With two names it is the same file.
                Some(content) => {
                    let (bytes, mode) = made.entry(node).or_insert_with(|| content.after_crash(choose));
                    fs::write(&path, bytes).unwrap();
                    fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
                }
                None => {
                    fs::create_dir(&path).unwrap();
                    self.make_directory(node, &path, choose, made);
                }
            }
        }
    }
}

impl Content {
    fn after_crash(&self, choose: &mut dyn Choose) -> (Vec<u8>, u32) {
        let mode = self.modes[self.modes.len() - 1 - choose.one_of(self.modes.len())];
        let (whole, kept) = (self.bytes.len(), self.synced);
        if kept == whole {
            return (self.bytes.clone(), mode);
        }
        let half = kept.midpoint(whole);
        // How much of it is data, and how long it is.
        let (data, length) = [(whole, whole), (kept, kept), (half, half), (kept, whole), (half, whole)][choose.one_of(5)];
        let mut bytes = self.bytes[..data].to_owned();
        bytes.resize(length, 0);
        (bytes, mode)
    }
}

fn only_last<T>(possible: &mut Vec<T>) {
    possible.drain(..possible.len().saturating_sub(1));
}

/// Makes all choices, one sequence after another.
#[derive(Default)]
pub struct Exhaustive {
    /// What was chosen of how many.
    chosen: Vec<(usize, usize)>,
    at: usize,
}

impl Exhaustive {
    /// Whether there is another sequence.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.chosen.pop() {
            if chosen + 1 < of {
                self.chosen.push((chosen + 1, of));
                return true;
            }
        }
        false
    }

    /// How many sequences there are at most, as far as the last one tells.
    pub fn extent(&self) -> usize {
        self.chosen.iter().fold(1, |product, (_, of)| product.saturating_mul(*of))
    }
}

impl Choose for Exhaustive {
    fn one_of(&mut self, possibilities: usize) -> usize {
        if self.at == self.chosen.len() {
            self.chosen.push((0, possibilities));
        }
        self.at += 1;
        self.chosen[self.at - 1].0
    }
}

/// Loses things at random, each time more or fewer of them.
pub struct Random<'r> {
    pub random: &'r mut fastrand::Rng,
    pub lost: f64,
}

impl Choose for Random<'_> {
    fn one_of(&mut self, possibilities: usize) -> usize {
        if self.random.f64() < self.lost { self.random.usize(..possibilities) } else { 0 }
    }
}
