//! Whether blobs are what their names say.

use std::os::unix::fs::PermissionsExt;

use rayon::prelude::*;

use super::entries::{Entry, read_dir};
use super::writeback::UNSYNCED;
use super::{Error, Store, at};
use crate::oci::Digest;

/// What reading all blobs has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub blobs: u64,
    /// That were read.
    pub bytes: u64,
    pub damaged: Vec<Digest>,
}

impl Store {
    /// Reads every blob through, several at a time, and checks it against its name. Those that do not count yet are passed over.
    pub fn verify(&self) -> Result<Verified, Error> {
        let counting = read_dir(&self.root.join("blobs/sha256")).filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(|metadata| metadata.permissions().mode() & 0o7777 != UNSYNCED)?;
            Some((format!("sha256:{}", entry.file_name().to_str()?).parse::<Digest>().ok()?, metadata.len()))
        });
        let mut blobs: Vec<(Digest, u64)> = counting.collect();
        // The longest first, so that no thread is left with it at the end.
        blobs.sort_unstable_by_key(|(digest, size)| (std::cmp::Reverse(*size), *digest));
        let damaged = |(digest, _): &(Digest, u64)| match self.hash_blob(digest) {
            Ok(found) => Ok((found != *digest).then_some(*digest)),
            // Another brik has removed it.
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let found = blobs.par_iter().with_max_len(1).map(damaged).collect::<Result<Vec<Option<Digest>>, Error>>()?;
        let bytes = blobs.iter().map(|(_, size)| size).sum();
        Ok(Verified { blobs: blobs.len() as u64, bytes, damaged: found.into_iter().flatten().collect() })
    }

    /// Removes a record that is of no use.
    pub fn remove_entry(&self, entry: &Entry) -> Result<(), Error> {
        match self.disk().remove_file(&entry.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at("remove", &entry.path)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RecordKind;

    #[test]
    fn only_what_differs_from_its_name_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [(good, _), (bad, _), (torn, _)] = [&b"good"[..], b"bad", b"torn"].map(|bytes| store.put_blob(bytes).unwrap());
        store.settle().unwrap();
        std::fs::write(store.blob_path(&bad), "bat").unwrap();
        std::fs::write(store.blob_path(&torn), "to").unwrap();
        std::fs::set_permissions(store.blob_path(&torn), std::fs::Permissions::from_mode(UNSYNCED)).unwrap();
        assert_eq!(store.verify().unwrap(), Verified { blobs: 2, bytes: 7, damaged: vec![bad] });
        assert!(store.blob_size(&good).is_some() && store.blob_size(&bad).is_some(), "nothing is removed by looking");
    }

    #[test]
    fn what_is_no_file_is_damaged_and_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [(verified, _), (made, _)] = [&b"verified"[..], b"made"].map(|bytes| store.put_blob(bytes).unwrap());
        let key = Digest::of(b"key");
        store.put_record(RecordKind::Step, &key, &1).unwrap();
        let record = store.record_dir(RecordKind::Step).join(key.hex());
        for file in [store.blob_path(&verified), store.blob_path(&made), record] {
            std::fs::remove_file(&file).unwrap();
            std::fs::create_dir_all(file.join("below")).unwrap();
        }
        assert_eq!(store.verify().unwrap().damaged.len(), 2);
        assert!(matches!(store.verify_blob(&verified), Err(Error::Damaged { .. })));
        assert!(!store.blob_path(&verified).exists());
        assert_eq!(store.blob_size(&made), None);
        store.put_blob(b"made").unwrap();
        assert_eq!(store.read_blob(&made).unwrap(), b"made");
        assert_eq!(store.record::<u32>(RecordKind::Step, &key), None);
        store.put_record(RecordKind::Step, &key, &2).unwrap();
        assert_eq!(store.record::<u32>(RecordKind::Step, &key), Some(2));
    }
}
