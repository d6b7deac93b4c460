//! The directory behind a cache mount as a cache repository has it: chunks of one tar, and what the tar does not say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::artifact::Entry;
use crate::oci::{Descriptor, Digest, Reference};

/// Bytes of a chunk's content.
pub const LARGEST_CHUNK: u32 = 16 << 20;
/// Chunks of one directory: registries take manifests of at most 4 MiB (distribution spec, "Pushing Manifests"), and one with so many has 3.
pub const MOST_CHUNKS: usize = 8192;
/// zstd adds a few bytes to what does not compress.
const LARGEST_BLOB: u64 = LARGEST_CHUNK as u64 + (1 << 20);

const CHUNK_TYPE: &str = "application/vnd.brik.mount.chunk.v1+zstd";

/// What stands under `m-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountEntry {
    /// In the order of the tar.
    pub chunks: Vec<Chunk>,
    /// Of the directory itself.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// What it holds: files of any kind, and bytes of content.
    pub files: u64,
    pub bytes: u64,
    /// When it was written, in seconds since 1970.
    pub saved: u64,
    #[serde(skip)]
    places: Vec<Reference>,
}

/// A piece of the tar, compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The blake3 of its content, in hexadecimal.
    pub content: String,
    /// Bytes of its content.
    pub size: u32,
    pub blob: Digest,
    /// Bytes of the blob.
    pub packed: u64,
}

impl MountEntry {
    pub fn new(chunks: Vec<Chunk>, (mode, uid, gid): (u32, u32, u32), files: u64, bytes: u64, saved: u64) -> Self {
        Self { chunks, mode, uid, gid, files, bytes, saved, places: Vec::new() }
    }

    /// The repository that it was read from.
    pub fn place(&self) -> Option<&Reference> {
        self.places.first()
    }

    /// Bytes of the tar.
    pub fn tar_size(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.size)).sum()
    }

    /// Bytes of the blobs.
    pub fn packed_size(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.packed).sum()
    }

    /// Whether both stand for the same directory.
    pub fn is_same(&self, other: &Self) -> bool {
        let contents = self.chunks.iter().map(|chunk| &chunk.content);
        (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
            && contents.eq(other.chunks.iter().map(|chunk| &chunk.content))
    }

    /// Its blobs, each once.
    pub(super) fn descriptors(&self) -> Vec<Descriptor> {
        let mut met = BTreeSet::new();
        self.chunks.iter().filter(|chunk| met.insert(chunk.blob)).map(Chunk::descriptor).collect()
    }
}

impl Chunk {
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(CHUNK_TYPE, self.blob, self.packed)
    }
}

impl Entry for MountEntry {
    const ARTIFACT_TYPE: &'static str = "application/vnd.brik.mount.v1";

    fn places(&self) -> &[Reference] {
        &self.places
    }

    fn places_mut(&mut self) -> &mut Vec<Reference> {
        &mut self.places
    }

    fn blobs(&self) -> Vec<&Descriptor> {
        // A chunk that cannot be had ends a restore, not a run: none is ever noted as lost.
        Vec::new()
    }

    fn is_sound(&self) -> bool {
        let fits = |chunk: &Chunk| chunk.size <= LARGEST_CHUNK && chunk.packed <= LARGEST_BLOB;
        (1..=MOST_CHUNKS).contains(&self.chunks.len())
            && self.chunks.iter().all(fits)
            && self.mode <= 0o7777
            && [self.uid, self.gid].iter().all(|id| *id != u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::artifact::{read, write};
    use super::*;

    fn entry(chunks: usize) -> MountEntry {
        let chunk = |n: usize| {
            let blob = Digest::of(&n.to_le_bytes());
            Chunk { content: blob.hex(), size: LARGEST_CHUNK, blob, packed: LARGEST_BLOB }
        };
        MountEntry::new((0..chunks).map(chunk).collect(), (0o755, 65534, 65534), u64::MAX, u64::MAX, u64::MAX)
    }

    #[test]
    fn the_longest_list_of_chunks_fits_in_a_manifest() {
        let place: Reference = "r.example/app-cache".parse().unwrap();
        let manifest = write(&entry(MOST_CHUNKS), entry(MOST_CHUNKS).descriptors()).unwrap();
        assert!(manifest.len() < 4 << 20, "{} bytes", manifest.len());
        let read: MountEntry = read(&manifest, &place).unwrap();
        assert!(read.is_same(&entry(MOST_CHUNKS)));
        assert_eq!(read.place(), Some(&place));
    }

    #[test]
    fn what_no_brik_writes_is_none() {
        let place: Reference = "r.example/app-cache".parse().unwrap();
        let large = |chunk: &mut Chunk| chunk.size += 1;
        let packed = |chunk: &mut Chunk| chunk.packed += 1;
        for change in [large, packed] {
            let mut entry = entry(2);
            change(&mut entry.chunks[1]);
            assert_eq!(read::<MountEntry>(&write(&entry, entry.descriptors()).unwrap(), &place), None);
        }
        for count in [0, MOST_CHUNKS + 1] {
            assert_eq!(read::<MountEntry>(&write(&entry(count), entry(count).descriptors()).unwrap(), &place), None);
        }
    }
}
