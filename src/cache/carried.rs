//! Short blobs inside of the entries that name them: each saves the requests that a blob of its own takes, to give it and to get it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, Digest};

/// Content by digest, in base64 (RFC 4648, section 4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried(BTreeMap<Digest, String>);

/// Bytes of a blob, and of all of an entry: registries take manifests of 4 MiB (distribution spec, "Pushing Manifests").
const LIMIT: u64 = 16 << 10;
const LIMIT_OF_ALL: usize = 1 << 20;

impl Carried {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a blob up, if there is room for it and `read` has it, as long as it is said to be. Whether it is carried.
    pub fn take_up(&mut self, blob: &Descriptor, read: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        if self.0.contains_key(&blob.digest) {
            return true;
        }
        let length: usize = self.0.values().map(String::len).sum();
        let bytes = (blob.size <= LIMIT && length < LIMIT_OF_ALL).then(read).flatten().filter(|bytes| bytes.len() as u64 == blob.size);
        bytes.map(|bytes| self.0.insert(blob.digest, STANDARD.encode(bytes))).is_some()
    }

    pub fn get(&self, blob: &Digest) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(self.0.get(blob)?).ok()?;
        (Digest::of(&bytes) == *blob).then_some(bytes)
    }

    /// All that is what it is called.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, Vec<u8>)> {
        self.0.keys().filter_map(|digest| Some((*digest, self.get(digest)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(bytes: &[u8]) -> Descriptor {
        Descriptor::new("x", Digest::of(bytes), bytes.len() as u64)
    }

    #[test]
    fn what_is_short_is_carried_and_what_is_long_is_not() {
        let (short, long) = (vec![1; LIMIT as usize], vec![2; LIMIT as usize + 1]);
        let mut carried = Carried::default();
        assert!(carried.take_up(&blob(&short), || Some(short.clone())));
        assert!(!carried.take_up(&blob(&long), || Some(long.clone())));
        assert!(!carried.take_up(&blob(b"gone"), || None));
        assert!(!carried.take_up(&Descriptor { size: 5, ..blob(&long) }, || Some(long.clone())));
        let text = serde_json::to_string(&carried).unwrap();
        let carried: Carried = serde_json::from_str(&text).unwrap();
        assert_eq!(carried.blobs().collect::<Vec<_>>(), [(Digest::of(&short), short)]);
    }

    #[test]
    fn many_do_not_make_an_entry_too_long() {
        let mut carried = Carried::default();
        let taken = (0..1000_u32).filter(|number| {
            let bytes: Vec<u8> = number.to_le_bytes().repeat(LIMIT as usize / 4);
            carried.take_up(&blob(&bytes), || Some(bytes.clone()))
        });
        assert!((40..60).contains(&taken.count()));
    }

    #[test]
    fn what_is_not_what_it_is_called_is_not_there() {
        let digest = Digest::of(b"right");
        for wrong in [STANDARD.encode("wrong"), "%".to_owned()] {
            let carried = Carried(BTreeMap::from([(digest, wrong)]));
            assert_eq!((carried.get(&digest), carried.blobs().count()), (None, 0));
        }
    }
}
