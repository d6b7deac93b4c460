//! Content hashes: what CacheKeys know of files. They are blake3, brik's own business and compared only with each other; what a
//! registry or a Dockerfile names is an [`oci::Digest`](crate::oci::Digest).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// The blake3 of a file's content, or of all that a COPY or ADD selects.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Enough of it to tell two versions of one file apart.
    pub(super) fn beginning(&self) -> [u8; 8] {
        self.0.first_chunk().copied().unwrap_or_default()
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Names the algorithm, as digests do.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes: enough for blake3's widest instructions.
const HASHED_AT_ONCE: usize = 64 * 1024;

/// Hashes files one after the other through one buffer.
pub(super) struct FileHasher {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl FileHasher {
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), buffer: vec![0; HASHED_AT_ONCE] }
    }

    /// Of all that is left to read.
    pub fn hash(&mut self, mut file: &File) -> io::Result<ContentHash> {
        self.hasher.reset();
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => return Ok(ContentHash(*self.hasher.finalize().as_bytes())),
                Ok(length) => drop(self.hasher.update(&self.buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Hashes a sequence of parts, each after its length where that is not fixed: no two sequences make the same bytes.
pub(super) struct Parts {
    hasher: blake3::Hasher,
    /// Collected: blake3 is fast on many kilobytes at once.
    pending: Vec<u8>,
}

impl Parts {
    pub fn new(format: &[u8]) -> Self {
        let mut parts = Self { hasher: blake3::Hasher::new(), pending: Vec::with_capacity(HASHED_AT_ONCE + 1024) };
        parts.add(format);
        parts
    }

    pub fn add(&mut self, part: &[u8]) {
        self.add_number(part.len() as u64);
        self.pending.extend_from_slice(part);
    }

    /// A path, from its directory and its name.
    pub fn add_joined(&mut self, directory: &[u8], name: &[u8]) {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        self.add_number((directory.len() + slash.len() + name.len()) as u64);
        [directory, slash, name].into_iter().for_each(|part| self.pending.extend_from_slice(part));
    }

    pub fn add_number(&mut self, number: u64) {
        if self.pending.len() >= HASHED_AT_ONCE {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        self.pending.extend_from_slice(&number.to_le_bytes());
    }

    pub fn finish(mut self) -> ContentHash {
        self.hasher.update(&self.pending);
        ContentHash(*self.hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_has_the_hash_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut hasher = FileHasher::new();
        for length in [0, 1, 64 * 1024, 64 * 1024 + 1, 1_000_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(hasher.hash(&File::open(&path).unwrap()).unwrap(), ContentHash::of(&bytes), "{length} bytes");
        }
    }

    #[test]
    fn the_text_names_the_algorithm() {
        let text = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(ContentHash::of(b"").to_string(), text);
    }
}
