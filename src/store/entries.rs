//! What lies in the store, told one by one: records with what they name, and what takes space on the disk.

use std::collections::HashSet;
use std::fs::{self, DirEntry, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;

use super::{RecordKind, Store, records};
use crate::oci::Digest;

/// A larger blob is a layer, and no document that names others.
const MAX_DOCUMENT: u64 = 4 << 20;

/// A record as it lies there.
pub struct Entry {
    pub kind: RecordKind,
    pub key: Digest,
    pub used: SystemTime,
    /// The document; empty if it cannot be read.
    pub json: Vec<u8>,
    pub(super) path: PathBuf,
}

/// Something that takes space under the name of a digest: a blob, or a directory.
pub(super) struct Holding {
    pub path: PathBuf,
    /// In hex; whatever else a file is called.
    pub name: String,
    /// On disk.
    pub bytes: u64,
    pub used: SystemTime,
    /// It holds something. The place of a snapshot may be empty.
    pub filled: bool,
}

impl Store {
    /// Every record, in no order. Looking at it is no use of it.
    pub fn entries(&self) -> Vec<Entry> {
        let files = RecordKind::ALL.into_iter().flat_map(|kind| read_dir(&self.record_dir(kind)).map(move |file| (kind, file)));
        let entry = |(kind, file): (RecordKind, DirEntry)| {
            let metadata = file.metadata().ok()?;
            let key: Digest = format!("sha256:{}", file.file_name().to_str()?).parse().ok()?;
            let json = records::read(&file.path(), kind, &key).unwrap_or_default();
            Some(Entry { kind, key, used: used(&metadata), json, path: file.path() })
        };
        files.filter_map(entry).collect()
    }

    /// Whatever a record needs, as far as it is named: by itself, and by the manifest that it names.
    pub(super) fn named_by(&self, entry: &Entry) -> Vec<Digest> {
        let mut names = digests_in(&entry.json);
        for digest in names.clone() {
            if self.blob_size(&digest).is_some_and(|size| size < MAX_DOCUMENT) {
                let text = fs::read(self.blob_path(&digest)).unwrap_or_default();
                if text.first() == Some(&b'{') {
                    names.extend(digests_in(&text));
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn blobs_held(&self) -> Vec<Holding> {
        held(&self.root.join("blobs/sha256"))
    }

    pub(super) fn snapshots_held(&self) -> Vec<Holding> {
        read_dir(&self.root.join("snapshots")).flat_map(|ids| held(&ids.path())).collect()
    }

    pub(super) fn mounts_held(&self) -> Vec<Holding> {
        read_dir(&self.root.join("mounts")).flat_map(|ids| held(&ids.path())).collect()
    }

    /// The files of `records`, `stat` or `tmp`, of which nobody wants to know more than what they take.
    pub(super) fn others_held(&self, directory: &str) -> Vec<Holding> {
        held(&self.root.join(directory))
    }
}

/// What lies directly in a directory, each with all that is below it.
fn held(directory: &Path) -> Vec<Holding> {
    let entries: Vec<DirEntry> = read_dir(directory).collect();
    let holding = |entry: &DirEntry| {
        let metadata = entry.metadata().ok()?;
        let path = entry.path();
        let filled = !metadata.is_dir() || read_dir(&path).next().is_some();
        let bytes = if filled { disk_bytes(&path, &mut HashSet::new()) } else { 0 };
        Some(Holding { name: entry.file_name().to_string_lossy().into_owned(), bytes, used: used(&metadata), filled, path })
    };
    entries.par_iter().filter_map(holding).collect()
}

pub(super) fn read_dir(directory: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// When something was last used: its mtime, which every use renews.
pub(super) fn used(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Every `sha256:<hex>` that a document names.
pub(super) fn digests_in(text: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(text);
    text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71)?.parse().ok()).collect()
}

/// Allocated bytes; a file with several names counts once. Without recursion: how deep it goes was decided by others.
fn disk_bytes(path: &Path, linked: &mut HashSet<(u64, u64)>) -> u64 {
    let (mut bytes, mut pending) = (0, vec![path.to_owned()]);
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            pending.extend(read_dir(&path).map(|entry| entry.path()));
        }
        if metadata.is_dir() || metadata.nlink() == 1 || linked.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}
