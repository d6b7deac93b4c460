//! Blobs on their way in from a registry: whoever wants their bytes reads along.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::writeback::{PULLED, UNSYNCED};
use super::{Error, Store, at, note_use};
use crate::oci::Digest;

/// Takes the bytes of a blob whose digest the writer knows and verifies. Dropped without [`publish`](Self::publish) it leaves nothing.
pub struct IncomingBlob<'a> {
    store: &'a Store,
    path: PathBuf,
    file: File,
    arrival: Arc<Arrival>,
}

/// Reads an [`IncomingBlob`], waiting for what is still to come. The end is given when the blob is published: until then nothing that was
/// read has been verified. Fails where the blob is dropped.
pub struct IncomingReader {
    file: File,
    position: u64,
    arrival: Arc<Arrival>,
}

#[derive(Default)]
struct Arrival {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    written: u64,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Published,
    Dropped,
}

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for more than `read` bytes, or for the end.
    fn beyond(&self, read: u64) -> Progress {
        let waiting = |progress: &mut Progress| progress.written <= read && progress.outcome.is_none();
        *self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for IncomingBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.store.disk().write(&self.file, bytes)?;
        self.arrival.update(|progress| progress.written += n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IncomingBlob<'_> {
    /// A reader from the first byte on.
    pub fn reader(&self) -> Result<IncomingReader, Error> {
        let file = File::open(&self.path).map_err(at("open", &self.path))?;
        Ok(IncomingReader { file, position: 0, arrival: self.arrival.clone() })
    }

    /// Makes the blob visible. It is not synced: see the rules of the [store](super).
    pub fn publish(self, digest: &Digest) -> Result<(), Error> {
        let (disk, target) = (self.store.disk(), self.store.blob_path(digest));
        let size = self.arrival.lock().written;
        if self.store.is_made(digest, size) && note_use(&target) {
            // A record may count on it.
            disk.remove_file(&self.path).map_err(at("remove", &self.path))?;
        } else {
            disk.set_mode(&self.file, PULLED).map_err(at("publish", &target))?;
            disk.rename(&self.path, &target).map_err(at("write", &target))?;
        }
        self.arrival.update(|progress| progress.outcome = Some(Outcome::Published));
        Ok(())
    }
}

impl Drop for IncomingBlob<'_> {
    fn drop(&mut self) {
        if self.arrival.lock().outcome.is_none() {
            let _ = self.store.disk().remove_file(&self.path);
            self.arrival.update(|progress| progress.outcome = Some(Outcome::Dropped));
        }
    }
}

impl Read for IncomingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Progress { written, outcome } = self.arrival.beyond(self.position);
        if let Some(Outcome::Dropped) = outcome {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob did not arrive"));
        }
        let here = usize::try_from(written - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read(&mut buffer[..here])?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Store {
    pub fn incoming_blob(&self) -> Result<IncomingBlob<'_>, Error> {
        let (path, file) = self.temp.file(UNSYNCED)?;
        Ok(IncomingBlob { store: self, path, file, arrival: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc::channel;
    use std::thread;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_reader_sees_bytes_as_they_come_and_the_end_only_when_they_are_published() {
        let (_dir, store) = store();
        let mut blob = store.incoming_blob().unwrap();
        let mut reader = blob.reader().unwrap();
        let (sender, seen) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = [0; 100];
                loop {
                    let n = reader.read(&mut buffer).unwrap();
                    sender.send(buffer[..n].to_vec()).unwrap();
                    if n == 0 {
                        return;
                    }
                }
            });
            for part in [&b"one"[..], b"two"] {
                blob.write_all(part).unwrap();
                assert_eq!(seen.recv().unwrap(), part);
            }
            let digest = Digest::of(b"onetwo");
            assert_eq!(store.blob_size(&digest), None);
            blob.publish(&digest).unwrap();
            assert_eq!(seen.recv().unwrap(), b"");
            assert_eq!(store.read_blob(&digest).unwrap(), b"onetwo");
        });
    }

    #[test]
    fn a_blob_that_is_dropped_fails_its_readers_and_leaves_nothing() {
        let (_dir, store) = store();
        let mut blob = store.incoming_blob().unwrap();
        let mut reader = blob.reader().unwrap();
        blob.write_all(b"half").unwrap();
        drop(blob);
        assert!(reader.read(&mut [0; 4]).is_err());
        let left = fs::read_dir(store.root().join("tmp")).unwrap().count();
        assert_eq!(left, 1, "the lease");
    }

    #[test]
    fn one_that_a_crash_has_torn_does_not_stand_for_one_that_is_made_and_none_takes_its_place() {
        let (_dir, store) = store();
        let digest = Digest::of(b"layer");
        let pull = || {
            let mut blob = store.incoming_blob().unwrap();
            blob.write_all(b"layer").unwrap();
            blob.publish(&digest).unwrap();
        };
        let path = store.blob_path(&digest);
        pull();
        let permissions = fs::metadata(&path).unwrap().permissions();
        fs::remove_file(&path).unwrap();
        fs::write(&path, [0; 5]).unwrap();
        fs::set_permissions(&path, permissions).unwrap();
        store.put_blob(b"layer").unwrap();
        assert_eq!(store.read_blob(&digest).unwrap(), b"layer");
        let made = fs::metadata(&path).unwrap().ino();
        pull();
        assert_eq!(fs::metadata(&path).unwrap().ino(), made);
    }
}
