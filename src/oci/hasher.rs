//! A running sha256, by the fastest code that the CPU can run.

use std::io;
use std::sync::LazyLock;

use ring::digest::{Context, SHA256};
use sha2::{Digest as _, Sha256};

use super::Digest;

/// A running sha256.
#[derive(Clone)]
pub struct Hasher(Code);

#[derive(Clone)]
enum Code {
    /// With the CPU's SHA extensions, where it has any.
    Extensions(Sha256),
    /// With its vector units: without extensions twice as fast as sha2, measured (346 against 170 MB/s on a Cascade Lake core).
    Vectors(Context),
}

/// Whether the CPU that brik runs on has them. On others than x86-64 sha2 looks itself.
static HAS_EXTENSIONS: LazyLock<bool> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
});

impl Hasher {
    pub fn new() -> Self {
        Self(if *HAS_EXTENSIONS { Code::Extensions(Sha256::new()) } else { Code::Vectors(Context::new(&SHA256)) })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Code::Extensions(hash) => hash.update(bytes),
            Code::Vectors(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let mut out = [0; 32];
        match self.0 {
            Code::Extensions(hash) => out.copy_from_slice(&hash.finalize()),
            Code::Vectors(hash) => out.copy_from_slice(hash.finish().as_ref()),
        }
        Digest::from_bytes(out)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_code_agree() {
        // FIPS 180-4, example B.2: a message of two blocks.
        let text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        for code in [Code::Extensions(Sha256::new()), Code::Vectors(Context::new(&SHA256))] {
            let mut hasher = Hasher(code);
            text.chunks(5).for_each(|part| hasher.update(part));
            assert_eq!(hasher.finish().hex(), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        }
    }
}
