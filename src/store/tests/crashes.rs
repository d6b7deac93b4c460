//! Whatever is done to a store, and whenever that is cut short, by SIGKILL or by the loss of power: the store that is found is used with no
//! repair. Nothing that it says is wrong, what was left over is gone, and who does the same again has the same.
//!
//! `BRIK_TRIALS` is the number of states that are tried after every operation, unless all of them are; `BRIK_SEED` chooses them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::crash::{Choose, Crash, Exhaustive, Random};
use super::simulated::{Change, Operation, Simulated};
use crate::oci::Digest;
use crate::store::{Error, Flight, IdMapping, PruneBudget, RecordKind, Store};

/// States at each point, and how many times as many are all tried.
const TRIALS: usize = 6;
const FEW: usize = 16;
/// One state in so many is made a second time unfortunate.
const SECOND_CRASH: usize = 4;

/// Something that a store is used for. Names stand for what is in a blob or a snapshot, and for keys.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// A blob.
    Make(&'static str),
    /// A blob, and the record of a Step that names it; who waits for the key waits for both.
    Record { key: &'static str, blob: &'static str },
    /// The layer of a base image, and the record of the image.
    Pull { key: &'static str, blob: &'static str },
    /// A layer unpacked.
    Snapshot(&'static str),
    /// Whatever is not in use goes.
    Prune,
}

use Deed::{Make, Prune, Pull, Record, Snapshot};

/// A store with some history, and what is done to it when it happens.
struct Scenario {
    name: &'static str,
    before: &'static [Deed],
    deeds: &'static [Deed],
    /// What the disk says to have done, and has not.
    ignored: fn(&Change) -> bool,
}

const PULLS: Scenario = Scenario {
    name: "pulls",
    before: &[Pull { key: "other", blob: "old" }],
    deeds: &[
        Pull { key: "base", blob: "a" },
        Record { key: "k", blob: "a" },
        Pull { key: "base", blob: "a" },
        Record { key: "l", blob: "b" },
        Pull { key: "other", blob: "b" },
    ],
    ignored: |_| false,
};

fn bytes(name: &str) -> Vec<u8> {
    name.repeat(50).into_bytes()
}

fn digest(name: &str) -> Digest {
    Digest::of(&bytes(name))
}

/// What a record holds: a blob and its length, as a descriptor does.
fn named(blob: &str) -> (Digest, u64) {
    (digest(blob), bytes(blob).len() as u64)
}

impl Deed {
    fn record(self) -> Option<(RecordKind, &'static str, &'static str)> {
        match self {
            Record { key, blob } => Some((RecordKind::Step, key, blob)),
            Pull { key, blob } => Some((RecordKind::Base, key, blob)),
            Make(_) | Snapshot(_) | Prune => None,
        }
    }

    fn pulled(self) -> Option<&'static str> {
        if let Pull { blob, .. } = self { Some(blob) } else { None }
    }

    fn run(self, store: &Store) {
        match self {
            Make(blob) => assert_eq!(store.put_blob(&bytes(blob)).unwrap(), named(blob)),
            Record { key, blob } => {
                let flight = store.single_flight(Flight::Step, &digest(key)).unwrap();
                Make(blob).run(store);
                store.put_record_soon(RecordKind::Step, &digest(key), &named(blob)).unwrap();
                store.hold_until_durable(flight).unwrap();
            }
            Pull { key, blob } => {
                // As `build::layers` does: what is damaged is pulled again.
                let (digest_of_blob, size) = named(blob);
                if !store.take_up(&digest_of_blob, size) || store.verify_blob(&digest_of_blob).is_err() {
                    let mut incoming = store.incoming_blob().unwrap();
                    std::io::Write::write_all(&mut incoming, &bytes(blob)).unwrap();
                    incoming.publish(&digest_of_blob).unwrap();
                }
                store.put_record(RecordKind::Base, &digest(key), &named(blob)).unwrap();
            }
            Snapshot(id) => {
                let work = store.temp_dir().unwrap();
                let tree = work.path().join("fs");
                fs::create_dir_all(tree.join("sub")).unwrap();
                fs::write(tree.join("file"), bytes(id)).unwrap();
                fs::write(tree.join("sub/file"), bytes(id)).unwrap();
                store.commit_snapshot(IdMapping::Root, &digest(id), &tree).unwrap();
            }
            Prune => drop(store.prune(&PruneBudget::default(), false).unwrap()),
        }
    }
}

impl Scenario {
    fn all(&self) -> impl Iterator<Item = Deed> {
        self.before.iter().chain(self.deeds).copied()
    }

    /// What a store says is true, however little that is.
    fn says_nothing_wrong(&self, store: &Store, same_boot: bool) {
        for (kind, key, _) in self.all().filter_map(Deed::record) {
            let Some(found) = store.record::<(Digest, u64)>(kind, &digest(key)) else { continue };
            let blob = self.all().filter_map(Deed::record).find(|(k, other, blob)| (*k, *other) == (kind, key) && named(blob) == found);
            let (_, _, blob) = blob.unwrap_or_else(|| panic!("{kind:?} {key} is none of its values: {found:?}"));
            // As `cache::recorded` does.
            if store.blob_size(&found.0) == Some(found.1) {
                match store.read_blob(&found.0) {
                    Ok(read) => assert_eq!(read, bytes(blob)),
                    Err(Error::Damaged { .. }) if kind == RecordKind::Base => assert_eq!(store.blob_size(&found.0), None),
                    Err(error) => panic!("{kind:?} {key} names a blob that is not what it says: {error}"),
                }
            }
        }
        let pulled: Vec<Digest> = self.all().filter_map(Deed::pulled).map(digest).collect();
        let damaged = store.verify().unwrap().damaged;
        assert!(damaged.iter().all(|blob| pulled.contains(blob)), "{damaged:?}");
        self.snapshots_are_right(store, same_boot);
    }

    fn snapshots_are_right(&self, store: &Store, may_be_here: bool) {
        for deed in self.all() {
            if let Snapshot(id) = deed
                && let Some(tree) = store.snapshot(IdMapping::Root, &digest(id))
            {
                assert!(may_be_here, "nobody has synced it");
                for file in ["file", "sub/file"] {
                    assert_eq!(fs::read(tree.join(file)).unwrap(), bytes(id));
                }
            }
        }
    }

    /// Everything is here that has been done now.
    fn is_done(&self, store: &Store) {
        let pruned = self.deeds.iter().any(|deed| matches!(deed, Prune));
        for deed in self.deeds.iter().filter(|_| !pruned) {
            if let Some((kind, key, _)) = deed.record() {
                let last = self.deeds.iter().rev().filter_map(|deed| deed.record()).find(|(k, other, _)| (*k, *other) == (kind, key));
                let (_, _, blob) = last.unwrap();
                assert_eq!(store.record(kind, &digest(key)), Some(named(blob)));
                assert_eq!(store.read_blob(&digest(blob)).unwrap(), bytes(blob));
            }
            if let Snapshot(id) = deed {
                assert!(store.snapshot(IdMapping::Root, &digest(id)).is_some());
            }
            if let Make(blob) = deed {
                assert_eq!(store.read_blob(&digest(blob)).unwrap(), bytes(blob));
            }
        }
        self.snapshots_are_right(store, true);
        assert_eq!(left_over(store), [""; 0]);
    }

    /// Uses the store that was found below `root`, and tells what was done to the disk by that.
    fn go_on(&self, root: &Path, boot: &str, same_boot: bool) -> (Vec<Operation>, usize) {
        let disk = Arc::new(Simulated::over(root));
        let store = open(disk.clone(), root, boot);
        store.reclaim();
        assert_eq!(left_over(&store), [""; 0]);
        self.says_nothing_wrong(&store, same_boot);
        self.deeds.iter().for_each(|deed| deed.run(&store));
        store.settle().unwrap();
        drop(store);
        self.is_done(&open(disk.clone(), root, boot));
        disk.log_of_operations()
    }

    fn run(&self) {
        let number = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().expect("BRIK_TRIALS and BRIK_SEED are numbers"));
        self.crash(
            number("BRIK_TRIALS").map_or(TRIALS, |trials| trials as usize),
            number("BRIK_SEED").unwrap_or_else(|| fastrand::u64(..)),
        );
    }

    /// For a disk that lies. The threads of the store give the operations another order each time, and few states betray it.
    fn crash_until_found_out(&self) {
        (0..100).for_each(|seed| self.crash(30, seed));
    }

    /// After each operation.
    fn crash(&self, trials: usize, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (operations, durable) = self.log();
        let (mut states, mut again, mut exhausted) = (0, 0, 0);
        for point in durable..=operations.len() {
            let crash = Crash::after(&operations[..point], durable);
            let mut every = Exhaustive::default();
            let mut state = 0;
            loop {
                let directory = room();
                let _told = Told {
                    what: format!("{}: BRIK_SEED={seed}, state {state}", self.name),
                    root: directory.path(),
                    log: &operations[..point],
                };
                let all = state == 0 || every.extent() <= FEW * trials;
                let mut some = Random { lost: [0.1, 0.3, 0.6, 1.0][state % 4], random: &mut random };
                crash.make(directory.path(), if all { &mut every as &mut dyn Choose } else { &mut some });
                let same_boot = state == 0;
                let (next, found) = self.go_on(directory.path(), if same_boot { "second" } else { "third" }, same_boot);
                if random.usize(..SECOND_CRASH) == 0 {
                    let point = random.usize(found..=next.len());
                    let other = room();
                    let _told = Told { what: "and again".to_owned(), root: other.path(), log: &next[..point] };
                    Crash::after(&next[..point], found).make(other.path(), &mut Random { lost: 0.3, random: &mut random });
                    self.go_on(other.path(), "fourth", false);
                    again += 1;
                }
                state += 1;
                exhausted += usize::from(all && state > 1);
                let more = if all { every.advance() } else { state < trials };
                if !more {
                    break;
                }
            }
            states += state;
        }
        let points = operations.len() + 1 - durable;
        println!(
            "{}: {points} crash points, {states} states ({exhausted} of them all that there are), {again} of them crashed again; BRIK_SEED={seed}",
            self.name
        );
    }

    /// What is done to the disk.
    fn log(&self) -> (Vec<Operation>, usize) {
        let directory = room();
        if !self.before.is_empty() {
            let store = open(Arc::new(Simulated::over(directory.path())), directory.path(), "first");
            self.before.iter().for_each(|deed| deed.run(&store));
        }
        let disk = Arc::new(Simulated::over(directory.path()));
        let store = open(disk.clone(), directory.path(), "second");
        self.deeds.iter().for_each(|deed| deed.run(&store));
        drop(store);
        let (mut operations, durable) = disk.log_of_operations();
        operations.iter_mut().skip(durable).for_each(|operation| operation.retain(|change| !(self.ignored)(change)));
        (operations, durable)
    }
}

/// In memory where that can be: what is slow of a disk is of no interest.
fn room() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(disk: Arc<Simulated>, root: &Path, boot: &str) -> Store {
    let mut store = Store::open_on(disk, root).unwrap();
    store.place = boot.to_owned();
    store
}

/// In `tmp/`, but for the lease of the store.
fn left_over(store: &Store) -> Vec<String> {
    let names = fs::read_dir(store.work_area()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    let lease = names.iter().position(|name| name.ends_with(".lease"));
    if let Some(lease) = lease {
        names.remove(lease);
    }
    names
}

/// Tells what was tried if it fails.
struct Told<'a> {
    what: String,
    root: &'a Path,
    log: &'a [Operation],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = &self.log[self.log.len().saturating_sub(12)..];
            println!("{}, after {} operations, of which the last are {last:#?}", self.what, self.log.len());
            let listing = std::process::Command::new("ls").arg("-lR").arg(self.root).output();
            println!("{}", listing.map_or_else(|error| error.to_string(), |listing| String::from_utf8_lossy(&listing.stdout).into_owned()));
        }
    }
}

fn crash(name: &'static str, before: &'static [Deed], deeds: &'static [Deed]) {
    Scenario { name, before, deeds, ignored: |_| false }.run();
}

#[test]
fn a_new_store_is_made() {
    crash("a new store", &[], &[Record { key: "k", blob: "a" }]);
}

#[test]
fn blobs_are_put() {
    crash("blobs", &[Make("old")], &[Make("a"), Make("b"), Make("a"), Make("old")]);
}

#[test]
fn records_are_put() {
    let deeds = &[
        Record { key: "k", blob: "a" },
        Record { key: "l", blob: "a" },
        Record { key: "known", blob: "b" },
        Record { key: "m", blob: "old" },
    ];
    crash("records", &[Record { key: "known", blob: "old" }], deeds);
}

#[test]
fn layers_are_pulled_that_are_made_as_well() {
    PULLS.run();
}

#[test]
#[should_panic(expected = "names a blob that is not what it says")]
fn a_disk_that_does_not_sync_files_is_found_out() {
    Scenario { ignored: |change| matches!(change, Change::Sync { .. }), ..PULLS }.crash_until_found_out();
}

#[test]
#[should_panic(expected = "names a blob that is not what it says")]
fn a_disk_that_does_not_sync_names_is_found_out() {
    Scenario { ignored: |change| matches!(change, Change::SyncNames { .. }), ..PULLS }.crash_until_found_out();
}

#[test]
fn snapshots_are_committed_in_place_of_those_of_an_earlier_boot() {
    crash("snapshots", &[Snapshot("a")], &[Snapshot("a"), Snapshot("b")]);
}

#[test]
fn what_is_old_is_pruned() {
    let before = &[Record { key: "k", blob: "a" }, Record { key: "l", blob: "b" }, Pull { key: "base", blob: "c" }, Snapshot("a")];
    crash("pruning", before, &[Prune]);
}

#[test]
fn what_is_pruned_is_made_again() {
    let again = &[Prune, Record { key: "k", blob: "a" }, Snapshot("a")];
    crash("pruning and making", &[Record { key: "k", blob: "a" }, Snapshot("a")], again);
}

/// The model itself: what was not synced is lost in some state, and what was synced in none.
#[test]
fn only_what_was_synced_is_in_every_state() {
    use crate::store::disk::Disk;
    let contents = |sync: bool, sync_names: bool| {
        let directory = room();
        let disk = Simulated::over(directory.path());
        let (temporary, target) = (directory.path().join("temporary"), directory.path().join("target"));
        let file = disk.create(&temporary, 0o644).unwrap();
        disk.write_all(&file, b"whole").unwrap();
        sync.then(|| disk.sync(&file).unwrap());
        disk.rename(&temporary, &target).unwrap();
        sync_names.then(|| disk.sync_names(directory.path()).unwrap());
        let (operations, durable) = disk.log_of_operations();
        let (crash, mut every, mut found) = (Crash::after(&operations, durable), Exhaustive::default(), Vec::new());
        loop {
            let state = room();
            crash.make(state.path(), &mut every);
            found.push(fs::read_to_string(state.path().join("target")).ok());
            if !every.advance() {
                found.sort();
                found.dedup();
                return found;
            }
        }
    };
    let text = |text: &str| Some(text.to_owned());
    let torn = [text(""), text("\0\0\0\0\0"), text("wh"), text("wh\0\0\0"), text("whole")];
    assert_eq!(contents(true, true), [text("whole")]);
    assert_eq!(contents(true, false), [None, text("whole")]);
    assert_eq!(contents(false, true), torn);
    assert_eq!(contents(false, false)[1..], torn);
}
