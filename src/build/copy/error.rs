use std::fmt;
use std::io;

use crate::oci::Digest;

/// Why a COPY, ADD or WORKDIR could not be written. Paths are those of the image, never of the host.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("invalid checksum digest format: {0:?}; expected sha256:<64 hexadecimal digits>")]
    InvalidChecksum(String),
    #[error("unsupported digest algorithm: {0:?}; use sha256")]
    UnsupportedChecksum(String),
    #[error("digest mismatch: it has {actual}, and --checksum expects {expected}")]
    ChecksumMismatch { expected: Digest, actual: Digest },
    #[error("cannot copy to non-directory: {path}; remove it in an earlier step or choose another destination")]
    NotADirectory { path: ImagePath },
    #[error("cannot replace directory {path} with a file; end the destination with the file's name or remove the directory first")]
    DirectoryInTheWay { path: ImagePath },
    #[error("too many symbolic links in {path}")]
    TooManyLinks { path: ImagePath },
    #[error("{start}… is longer than a path may be: {limit} bytes")]
    LongPath { start: ImagePath, limit: usize },
    #[error("{name:?} is no name for a file")]
    InvalidName { name: String },
    #[error(
        "cannot create the device {path}: the kernel allows device nodes to real root only; exclude it with --exclude or build as root"
    )]
    DeviceRefused { path: ImagePath },
    #[error("source {path} is not there any more")]
    SourceGone { path: ImagePath },
    #[error("cannot unpack {path}: {source}")]
    Unpack { path: ImagePath, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot read source {path}: {source}")]
    Read { path: ImagePath, source: io::Error },
    #[error("cannot {action} {path}: {source}")]
    Write { action: &'static str, path: ImagePath, source: io::Error },
}

impl CopyError {
    pub(super) fn write(action: &'static str, path: impl Into<ImagePath>, source: impl Into<io::Error>) -> Self {
        Self::Write { action, path: path.into(), source: source.into() }
    }

    /// Names an archive by where it comes from.
    pub fn in_archive(self, origin: &str) -> Self {
        match self {
            Self::Unpack { source, .. } => Self::Unpack { path: origin.as_bytes().to_vec().into(), source },
            other => other,
        }
    }

    pub(super) fn read(path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Read { path: path.to_vec().into(), source: source.into() }
    }
}

/// A path in an image or a tree, as bytes; printed lossily.
#[derive(Clone, PartialEq, Eq)]
pub struct ImagePath(pub Vec<u8>);

impl From<Vec<u8>> for ImagePath {
    fn from(path: Vec<u8>) -> Self {
        Self(path)
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
