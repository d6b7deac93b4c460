//! Records: what a CacheKey led to. JSON, so that a person can read them, and a line that holds it to its place: a disk that changes a
//! letter of a DiffId would make another image. Those that cannot be read, or are not as they were written there, count as absent.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::writeback::Record;
use super::{Error, Store, at, note_use};
use crate::oci::Digest;

/// A larger record is none of brik's: it is listed, and not read.
const MAX_RECORD: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A Step's CacheKey -> its layer.
    Step,
    /// An image key -> the manifest.
    Image,
    /// A manifest digest of a base image -> its documents and its layers' DiffIds.
    Base,
    /// A URL -> what was fetched from it.
    Download,
    /// The name and platform of a base image -> the manifest digest that they last led to.
    Name,
    /// A layer's DiffId -> its table of contents.
    Toc,
    /// A commit, and what is wanted of it -> its files.
    Checkout,
    /// The name and platform of an image -> what it was built from last.
    Trail,
    /// A blob that cache repositories speak of -> who has given it.
    Origin,
}

impl RecordKind {
    pub const ALL: [Self; 9] =
        [Self::Step, Self::Image, Self::Base, Self::Download, Self::Name, Self::Toc, Self::Checkout, Self::Trail, Self::Origin];

    /// As in `records/<kind>`, and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Image => "image",
            Self::Base => "base",
            Self::Download => "download",
            Self::Name => "name",
            Self::Toc => "toc",
            Self::Checkout => "checkout",
            Self::Trail => "trail",
            Self::Origin => "origin",
        }
    }
}

impl Store {
    pub(super) fn record_dir(&self, kind: RecordKind) -> PathBuf {
        self.root.join("records").join(kind.name())
    }

    /// The record of a key, or `None` where there is none that can be read. Its file's mtime notes the use.
    pub fn record<T: DeserializeOwned>(&self, kind: RecordKind, key: &Digest) -> Option<T> {
        let bytes = read(&self.record_dir(kind).join(key.hex()), kind, key).ok()?;
        // One that was removed meanwhile is none: what it names may go, too.
        if !self.note_use(kind, key) {
            return None;
        }
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps a record from being the first that pruning takes. Whether there is one.
    pub fn note_use(&self, kind: RecordKind, key: &Digest) -> bool {
        note_use(&self.record_dir(kind).join(key.hex()))
    }

    /// Writes a record, which is there and durable then. The blobs that it names must have been committed before.
    pub fn put_record<T: Serialize>(&self, kind: RecordKind, key: &Digest, record: &T) -> Result<(), Error> {
        self.put_record_soon(kind, key, record)?;
        self.settle()
    }

    /// Writes a record that nobody in this process is going to look for: it appears when the blobs that it names are durable.
    /// They must have been committed before.
    pub fn put_record_soon<T: Serialize>(&self, kind: RecordKind, key: &Digest, record: &T) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(record).map_err(|source| Error::Record { key: *key, source })?;
        let seal = seal(kind, key, &bytes);
        bytes.extend_from_slice(seal.as_bytes());
        let dir = self.record_dir(kind);
        self.disk().create_dir_all(&dir).map_err(at("create", &dir))?;
        self.writeback.record(Record { target: dir.join(key.hex()), bytes })
    }
}

/// What ends the file of a record.
fn seal(kind: RecordKind, key: &Digest, json: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{} {} ", kind.name(), key.hex()).as_bytes()).update(json);
    format!("\nblake3 {}\n", hasher.finalize().to_hex())
}

/// The document of a record's file. What else may be in its place is neither waited for nor read without end.
pub(super) fn read(path: &Path, kind: RecordKind, key: &Digest) -> io::Result<Vec<u8>> {
    let mut bytes = read_file(path)?;
    let length = bytes.len().saturating_sub(seal(kind, key, b"").len());
    if seal(kind, key, &bytes[..length]).as_bytes() != &bytes[length..] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// A regular file of at most [`MAX_RECORD`] bytes.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_RECORD {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_record_reads_back_and_garbage_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let key = Digest::of(b"key");
        store.put_record(RecordKind::Step, &key, &vec![1, 2]).unwrap();
        assert_eq!(store.record::<Vec<u8>>(RecordKind::Step, &key), Some(vec![1, 2]));
        assert_eq!(store.record::<Vec<u8>>(RecordKind::Image, &key), None);
        fs::write(store.record_dir(RecordKind::Step).join(key.hex()), b"{\"tor").unwrap();
        assert_eq!(store.record::<Vec<u8>>(RecordKind::Step, &key), None);
    }

    #[test]
    fn a_record_that_was_changed_or_stands_elsewhere_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (key, other) = (Digest::of(b"key"), Digest::of(b"other"));
        store.put_record(RecordKind::Step, &key, &"one").unwrap();
        let path = |kind, key: &Digest| store.record_dir(kind).join(key.hex());
        let whole = fs::read(path(RecordKind::Step, &key)).unwrap();
        fs::create_dir_all(store.record_dir(RecordKind::Image)).unwrap();
        for (kind, key) in [(RecordKind::Step, other), (RecordKind::Image, key)] {
            fs::write(path(kind, &key), &whole).unwrap();
            assert_eq!(store.record::<String>(kind, &key), None);
        }
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            fs::write(path(RecordKind::Step, &key), &changed).unwrap();
            assert_eq!(store.record::<String>(RecordKind::Step, &key), None, "byte {index}");
        }
        let readable = store.entries().iter().filter(|entry| !entry.json.is_empty()).count();
        assert_eq!(readable, 0);
    }
}
