//! What planning has to ask the network, and the answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, ImageConfig, Manifest, Platform, Reference};
use crate::source::GitRef;

/// An image that no service of this run builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseImage {
    /// As the Dockerfile names it, fully qualified. `None` where it comes from an OCI layout: its blobs are in the store then.
    pub reference: Option<Reference>,
    /// Of the manifest for the platform.
    pub digest: Digest,
    pub manifest: Manifest,
    pub config: ImageConfig,
}

/// A file that was fetched from a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Of its content, which is a blob of the store.
    pub digest: Digest,
    /// `Last-Modified`, seconds since 1970.
    pub modified: Option<i64>,
}

/// Files of a git repository that were fetched. Nobody changes them any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    pub path: PathBuf,
    /// The committer's time, seconds since 1970.
    pub time: i64,
}

/// What planning has to ask the network. Implementations remember answers; planning asks again and again. `service` is the one whose
/// secrets and agents may be shown to the server. Errors name no credentials.
pub trait Remote: Sync {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String>;
    /// The image in the OCI layout at `path`: by tag, or digest, else `latest` or the only one.
    fn layout(&self, path: &Path, tag_or_digest: Option<&str>, platform: &Platform) -> Result<Arc<BaseImage>, String>;
    fn download(&self, service: &str, url: &str, checksum: Option<&Digest>) -> Result<Download, String>;
    /// A directory that has a download in it as its only file, `context`.
    fn as_directory(&self, download: &Download) -> Result<PathBuf, String>;
    /// The newest modification time of the regular files in a download, seconds since 1970; `None` where it is no archive.
    fn newest_member(&self, download: &Download) -> Result<Option<i64>, String>;
    /// `.git` is among the files only with `keep_git_dir`.
    fn checkout(&self, service: &str, source: &GitRef, keep_git_dir: bool) -> Result<Checkout, String>;
}
