//! One execution a key, over processes: a flock held while a CacheKey is being made.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::FlockOperation;

use super::{Error, NO_WAIT, Store, at};
use crate::oci::Digest;

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
    /// Waits until no other process is making `key`. Look for its record again afterwards.
    pub fn single_flight(&self, key: &Digest) -> Result<FlightGuard, Error> {
        let path = self.root.join("flight").join(key.hex());
        let file = File::options().create(true).truncate(false).write(true).custom_flags(NO_WAIT).open(&path).map_err(at("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive)).map_err(|e| at("lock", &path)(e.into()))?;
        Ok(FlightGuard(file))
    }
}
