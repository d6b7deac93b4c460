//! One execution a key, over processes: a flock held while what has that key is being made.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::FlockOperation;

use super::{Error, NO_WAIT, Store, at};
use crate::oci::Digest;

/// What is being made. Keys of different kinds never wait for each other: cache entries name blobs by any digest that they like.
#[derive(Debug, Clone, Copy)]
pub enum Flight {
    /// The layer of a Step, by its CacheKey.
    Step,
    /// A blob that is pulled, by its digest.
    Blob,
    /// A snapshot that is unpacked, by its id.
    Snapshot,
    /// A cache mount that is had from a cache repository, by its id.
    Restore,
    /// A cache mount that is one RUN's at a time, by its id.
    CacheMount,
    /// The files of a commit, by what is wanted of it.
    Checkout,
}

impl Flight {
    fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Blob => "blob",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::CacheMount => "mount",
            Self::Checkout => "checkout",
        }
    }
}

/// Held by the one who makes the result of a key.
#[must_use = "the key is free again once the guard is dropped"]
pub struct FlightGuard(File);

impl Drop for FlightGuard {
    fn drop(&mut self) {
        // Closing would not do while a child that was forked meanwhile has not closed its copy yet.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Store {
    /// Waits until nobody else is making what has this key. Look for its record again afterwards.
    pub fn single_flight(&self, what: Flight, key: &Digest) -> Result<FlightGuard, Error> {
        let path = self.root.join("flight").join(format!("{}-{}", what.name(), key.hex()));
        let file = File::options().create(true).truncate(false).write(true).custom_flags(NO_WAIT).open(&path).map_err(at("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive)).map_err(|e| at("lock", &path)(e.into()))?;
        Ok(FlightGuard(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_himself_whatever_is_called_by_one_digest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let key = Digest::of(b"key");
        let kinds = [Flight::Step, Flight::Blob, Flight::Snapshot, Flight::Restore, Flight::CacheMount, Flight::Checkout];
        assert_eq!(kinds.map(|kind| store.single_flight(kind, &key).unwrap()).len(), kinds.len());
    }
}
