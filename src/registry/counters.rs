//! Exact counts of what went over the wire.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    mounted: AtomicU64,
    retries: AtomicU64,
}

/// What a client has done since it was made, and what was done before that it goes on from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// HTTP requests begun, each redirect, token request and repeated attempt included.
    pub requests: u64,
    /// Bytes of request bodies handed to the network, those of failed attempts included.
    pub bytes_up: u64,
    /// Bytes of response bodies read.
    pub bytes_down: u64,
    /// Blobs that the registry took over from another repository of its own.
    pub mounted: u64,
    /// Attempts beyond the first.
    pub retries: u64,
}

impl From<Counts> for Counters {
    fn from(before: Counts) -> Self {
        let Counts { requests, bytes_up, bytes_down, mounted, retries } = before;
        Self {
            requests: requests.into(),
            bytes_up: bytes_up.into(),
            bytes_down: bytes_down.into(),
            mounted: mounted.into(),
            retries: retries.into(),
        }
    }
}

impl Counters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn up(&self, bytes: usize) {
        self.bytes_up.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn down(&self, bytes: usize) {
        self.bytes_down.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn mount(&self) {
        self.mounted.fetch_add(1, Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Relaxed),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
            mounted: self.mounted.load(Relaxed),
            retries: self.retries.load(Relaxed),
        }
    }
}
