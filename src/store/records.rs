//! Records: what a CacheKey led to. JSON, so that a person can read them; unreadable ones count as absent.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Store, at};
use crate::oci::Digest;

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
}

impl RecordKind {
    pub const ALL: [Self; 4] = [Self::Step, Self::Image, Self::Base, Self::Download];

    fn dir(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Image => "image",
            Self::Base => "base",
            Self::Download => "download",
        }
    }
}

impl Store {
    pub(super) fn record_dir(&self, kind: RecordKind) -> PathBuf {
        self.root.join("records").join(kind.dir())
    }

    /// The record of a key, or `None` where there is none that can be read. Its file's mtime notes the use.
    pub fn record<T: DeserializeOwned>(&self, kind: RecordKind, key: &Digest) -> Option<T> {
        let path = self.record_dir(kind).join(key.hex());
        let bytes = fs::read(&path).ok()?;
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes a record. The blobs that it names must have been committed before.
    pub fn put_record<T: Serialize>(&self, kind: RecordKind, key: &Digest, record: &T) -> Result<(), Error> {
        let bytes = serde_json::to_vec_pretty(record).map_err(|source| Error::Record { key: *key, source })?;
        let dir = self.record_dir(kind);
        fs::create_dir_all(&dir).map_err(at("create", &dir))?;
        let (path, mut file) = self.temp.file()?;
        let target = dir.join(key.hex());
        let written = file.write_all(&bytes).and_then(|()| file.sync_data()).and_then(|()| fs::rename(&path, &target));
        written.map_err(|e| {
            let _ = fs::remove_file(&path);
            at("write", &target)(e)
        })
    }
}

#[cfg(test)]
mod tests {
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
}
