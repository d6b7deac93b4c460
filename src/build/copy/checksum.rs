//! `ADD --checksum` of a URL.

use super::CopyError;
use crate::oci::Digest;

/// Reads `sha256:<hex>`.
///
/// # Errors
/// `UnsupportedChecksum` for another algorithm, `InvalidChecksum` for anything else.
pub fn parse_checksum(text: &str) -> Result<Digest, CopyError> {
    let known = text.starts_with("sha256:");
    text.parse().map_err(|_| match text.split_once(':') {
        Some((algorithm, hex)) if !known && !algorithm.is_empty() && !hex.is_empty() => {
            CopyError::UnsupportedChecksum(algorithm.to_owned())
        }
        _ => CopyError::InvalidChecksum(text.to_owned()),
    })
}

/// # Errors
/// `ChecksumMismatch` if they differ.
pub fn verify_checksum(expected: &Digest, actual: &Digest) -> Result<(), CopyError> {
    if expected == actual {
        return Ok(());
    }
    Err(CopyError::ChecksumMismatch { expected: *expected, actual: *actual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_is_read() {
        let digest = Digest::of(b"x");
        assert_eq!(parse_checksum(&digest.to_string()).unwrap(), digest);
        for text in ["", "sha256", "sha256:", "sha256:12", ":12", "12"] {
            assert!(matches!(parse_checksum(text), Err(CopyError::InvalidChecksum(_))), "{text}");
        }
        assert!(matches!(parse_checksum("sha512:00"), Err(CopyError::UnsupportedChecksum(name)) if name == "sha512"));
    }

    #[test]
    fn a_mismatch_names_what_came_and_what_was_promised() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert!(verify_checksum(&a, &a).is_ok());
        assert_eq!(verify_checksum(&a, &b).unwrap_err().to_string(), format!("digest mismatch: it has {b}, and --checksum expects {a}"));
    }
}
