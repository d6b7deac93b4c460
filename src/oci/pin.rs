//! What a tag is held to.

use std::collections::BTreeMap;

use super::{Digest, Platform, Reference};

/// Where a tag led when it was asked for: never to be asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Of the index, or of the manifest where there is none.
    pub digest: Digest,
    /// Of the manifests for some platforms: those that were asked for.
    pub platforms: BTreeMap<Platform, Digest>,
}

impl Pin {
    /// What leads to the image for `platform`: its manifest where that is known, else the index.
    pub fn for_platform(&self, platform: &Platform) -> Digest {
        self.platforms.get(platform).copied().unwrap_or(self.digest)
    }
}

/// By names with their tags written out, as [`Reference::tagged`] makes them.
pub type Pins = BTreeMap<Reference, Pin>;
