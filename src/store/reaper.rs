//! Removes what is not needed any more, on a thread of its own: a file system may take milliseconds for a directory (`discard`).

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::disk::Disk;

/// The thread, from the first removal until this is dropped, which waits for the last one.
#[derive(Debug)]
pub(super) struct Reaper {
    disk: Arc<dyn Disk>,
    thread: Mutex<Option<(Sender<PathBuf>, JoinHandle<()>)>>,
}

impl Reaper {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, thread: Mutex::default() }
    }

    pub fn remove(&self, path: PathBuf) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (sender, paths) = channel::<PathBuf>();
            let disk = self.disk.clone();
            let reap = move || paths.iter().for_each(|path| disk.remove_tree(&path));
            *thread = std::thread::Builder::new().name("reaper".to_owned()).spawn(reap).ok().map(|thread| (sender, thread));
        }
        match &*thread {
            // The thread lives as long as the sender.
            Some((sender, _)) => drop(sender.send(path)),
            None => self.disk.remove_tree(&path),
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileSystem;
    use super::*;
    use std::fs;

    #[test]
    fn what_was_handed_in_is_gone_when_it_ends() {
        let room = tempfile::tempdir().unwrap();
        let trees: Vec<PathBuf> = (0..20).map(|n| room.path().join(n.to_string())).collect();
        trees.iter().for_each(|tree| fs::create_dir_all(tree.join("a/b/c")).unwrap());
        let reaper = Reaper::new(Arc::new(FileSystem));
        trees.iter().for_each(|tree| reaper.remove(tree.clone()));
        drop(reaper);
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }
}
