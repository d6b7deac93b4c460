//! What has been committed and is not durable yet. A thread of the store makes it so, in the order in which it was handed in, and nobody
//! waits for it but who asks to: a sync takes longer than most Steps.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::temp::TempArea;
use super::{Error, FlightGuard, at};
use crate::oci::Digest;

/// The mode of a blob that must not count before it is durable, of one that is durable, and of one that counts although it never may be:
/// the next process after a crash has to tell them apart.
pub(super) const UNSYNCED: u32 = 0o600;
pub(super) const DURABLE: u32 = 0o644;
pub(super) const PULLED: u32 = 0o444;

/// Files that are synced at the same time: the file system commits them together.
const AT_ONCE: usize = 8;

/// Files that wait open for the next sync. Whoever brings more waits, as many as a process may have open would be there otherwise.
const MOST_OPEN: usize = 32;

/// A blob that has got its name.
pub(super) struct Blob {
    pub digest: Digest,
    pub path: PathBuf,
    pub file: File,
    /// It took the place of one that was pulled, which may be torn, and must not come back after a crash.
    pub replaces: bool,
}

/// A record that is to appear at `target`.
pub(super) struct Record {
    pub target: PathBuf,
    pub bytes: Vec<u8>,
}

/// The thread, from the first thing that it has to do until the store is closed.
pub(super) struct Writeback {
    shared: Arc<Shared>,
    temp: Arc<TempArea>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    /// Blobs that this process has named, or found durable: whole until the machine stops, also while another process puts its copy of one
    /// in place of what was there, which has to become durable anew.
    whole: HashSet<Digest>,
    busy: bool,
    closed: bool,
    /// The first failure: what comes after it may name what was lost by it, and is not written.
    poisoned: Option<String>,
    failure: Option<Error>,
}

/// Blobs, then the records that may name them, then the flights of those who wait for them.
#[derive(Default)]
struct Batch {
    blobs: Vec<Blob>,
    records: Vec<Record>,
    flights: Vec<FlightGuard>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.records.is_empty() && self.flights.is_empty()
    }

    /// Of blobs, and of the locks of flights.
    fn open_files(&self) -> usize {
        self.blobs.len() + self.flights.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writeback {
    pub fn new(temp: Arc<TempArea>) -> Self {
        Self { shared: Arc::default(), temp, thread: Mutex::default() }
    }

    pub fn blob(&self, blob: Blob) -> Result<(), Error> {
        self.hand_in(|state| {
            state.whole.insert(blob.digest);
            state.waiting.blobs.push(blob);
        })
    }

    /// It appears after the blobs that were handed in before it are durable.
    pub fn record(&self, record: Record) -> Result<(), Error> {
        self.hand_in(|state| state.waiting.records.push(record))
    }

    /// It ends after the records that were handed in before it have appeared.
    pub fn flight(&self, flight: FlightGuard) -> Result<(), Error> {
        self.hand_in(|state| state.waiting.flights.push(flight))
    }

    /// Whether a blob under this name is known to be whole; `durable`: it is marked as one that counts.
    pub fn is_whole(&self, digest: &Digest, durable: bool) -> bool {
        let mut state = self.shared.lock();
        if durable {
            state.whole.insert(*digest);
        }
        state.whole.contains(digest)
    }

    /// Waits until everything that was handed in is durable, or fails as the first of it did.
    pub fn settle(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        while state.busy || !state.waiting.is_empty() {
            state = self.shared.wait(state);
        }
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => state.poisoned.clone().map_or(Ok(()), |reason| Err(Error::Unwritten { reason })),
        }
    }

    fn hand_in(&self, add: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (shared, temp) = (self.shared.clone(), self.temp.clone());
            let started = std::thread::Builder::new().name("writeback".to_owned()).spawn(move || write_back(&shared, &temp));
            *thread = Some(started.map_err(at("start a thread for", self.temp.root()))?);
        }
        drop(thread);
        let mut state = self.shared.lock();
        while state.waiting.open_files() >= MOST_OPEN {
            state = self.shared.wait(state);
        }
        add(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

/// The thread's life.
fn write_back(shared: &Shared, temp: &TempArea) {
    let mut state = shared.lock();
    loop {
        if state.waiting.is_empty() {
            if state.closed {
                return;
            }
            state = shared.wait(state);
            continue;
        }
        let batch = std::mem::take(&mut state.waiting);
        shared.changed.notify_all();
        let poisoned = state.poisoned.is_some();
        state.busy = true;
        drop(state);
        let written = if poisoned { Ok(()) } else { write(&batch, temp) };
        drop(batch);
        state = shared.lock();
        state.busy = false;
        if let Err(error) = written {
            state.poisoned.get_or_insert_with(|| error.to_string());
            state.failure = Some(error);
        }
        shared.changed.notify_all();
    }
}

fn write(batch: &Batch, temp: &TempArea) -> Result<(), Error> {
    let disk = temp.disk();
    at_once(&batch.blobs, |blob| {
        let synced = disk.sync(&blob.file).and_then(|()| disk.set_mode(&blob.file, DURABLE));
        synced.map_err(at("write", &blob.path))
    })?;
    if let Some(directory) = batch.blobs.iter().find(|blob| blob.replaces).and_then(|blob| blob.path.parent()) {
        disk.sync_names(directory).map_err(at("write", directory))?;
    }
    at_once(&batch.records, |record| temp.publish(&record.bytes, &record.target))
}

fn at_once<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let work = &work;
    let [first, rest @ ..] = items else { return Ok(()) };
    std::thread::scope(|scope| {
        let shares = rest.chunks(items.len().div_ceil(AT_ONCE));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || share.iter().try_for_each(work))).collect();
        let failed = |_| Err(Error::Unwritten { reason: "a thread died".to_owned() });
        threads.into_iter().fold(work(first), |written, thread| written.and(thread.join().unwrap_or_else(failed)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Flight, RecordKind, Store};
    use super::*;
    use std::fs::{self, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_record_appears_after_its_blob_and_the_flight_ends_after_the_record() {
        let (dir, store) = store();
        let key = Digest::of(b"key");
        let flight = store.single_flight(Flight::Step, &key).unwrap();
        let (blob, _) = store.put_blob(b"layer").unwrap();
        store.put_record_soon(RecordKind::Step, &key, &blob).unwrap();
        store.hold_until_durable(flight).unwrap();

        let other = Store::open(dir.path()).unwrap();
        let _flight = other.single_flight(Flight::Step, &key).unwrap();
        assert_eq!(other.record(RecordKind::Step, &key), Some(blob));
        assert_eq!(other.blob_size(&blob), Some(5));
    }

    #[test]
    fn a_blob_that_nobody_has_synced_is_not_here_and_is_written_anew() {
        let (_dir, store) = store();
        let torn = Digest::of(b"whole");
        fs::write(store.blob_path(&torn), b"torn!").unwrap();
        fs::set_permissions(store.blob_path(&torn), Permissions::from_mode(UNSYNCED)).unwrap();
        assert_eq!(store.blob_size(&torn), None);
        store.put_blob(b"whole").unwrap();
        assert_eq!(store.blob_size(&torn), Some(5), "it is here for the process that writes it");
        store.settle().unwrap();
        assert_eq!(store.read_blob(&torn).unwrap(), b"whole");
        assert_eq!(fs::metadata(store.blob_path(&torn)).unwrap().permissions().mode() & 0o777, DURABLE);
    }

    #[test]
    fn a_blob_is_here_while_others_write_it_too() {
        let (dir, store) = store();
        let digest = store.put_blob(b"blob").unwrap().0;
        store.settle().unwrap();
        assert_eq!(Store::open(dir.path()).unwrap().blob_size(&digest), Some(4));
        // Who had not found it there yet puts its own in its place.
        let other = dir.path().join("other");
        fs::write(&other, b"blob").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(UNSYNCED)).unwrap();
        let found = Store::open(dir.path()).unwrap();
        assert!(found.take_up(&digest, 4));
        fs::rename(&other, store.blob_path(&digest)).unwrap();
        assert_eq!((store.blob_size(&digest), found.blob_size(&digest)), (Some(4), Some(4)));
        assert_eq!(Store::open(dir.path()).unwrap().blob_size(&digest), None, "a crash may have been between");
    }

    #[test]
    fn threads_that_write_the_same_do_not_take_it_from_each_other() {
        let (_dir, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..200_u8 {
                        let (digest, size) = store.put_blob(&[n; 9]).unwrap();
                        for _ in 0..20 {
                            assert_eq!(store.blob_size(&digest), Some(size));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn closing_the_store_waits_for_what_was_handed_in() {
        let (dir, store) = store();
        let keys: Vec<Digest> = (0..50u8).map(|n| Digest::of(&[n])).collect();
        for key in &keys {
            store.blob_writer().unwrap().write_all(b"never committed").unwrap();
            store.put_blob(key.hex().as_bytes()).unwrap();
            store.put_record_soon(RecordKind::Step, key, &key).unwrap();
        }
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert!(keys.iter().all(|key| store.record(RecordKind::Step, key) == Some(*key)));
        assert_eq!(store.usage().blobs.count, 50);
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 1, "the lease");
    }

    #[test]
    fn after_a_failure_nothing_more_is_published_and_it_is_told() {
        let (dir, store) = store();
        let (lost, found) = (Digest::of(b"lost"), Digest::of(b"found"));
        store.put_record(RecordKind::Image, &found, &found).unwrap();
        // Another file system in its place: the record cannot appear.
        std::os::unix::fs::symlink("/proc/self", dir.path().join("records/step")).unwrap();
        store.put_record_soon(RecordKind::Step, &lost, &lost).unwrap();
        assert!(matches!(store.settle(), Err(Error::Io { .. })));
        assert!(
            matches!(store.put_record(RecordKind::Step, &found, &found), Err(Error::Unwritten { reason }) if reason.contains("records"))
        );
        assert_eq!(store.record::<Digest>(RecordKind::Step, &found), None);
    }
}
