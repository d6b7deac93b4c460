//! Where distributions keep the bundle of trusted certificates that their TLS libraries read.

use std::path::{Path, PathBuf};

use super::error::SandboxError;
use super::rootfs;

/// Debian and Alpine; Fedora; openSUSE; RHEL; Alpine's LibreSSL.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The bundles of this image, each once however many links name it; in an image without any, the commonest place.
pub(super) fn bundles(root: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let mut found = Vec::new();
    for bundle in BUNDLES {
        let inside = rootfs::resolve(root, Path::new(bundle))?;
        if root.join(&inside).is_file() && !found.contains(&inside) {
            found.push(inside);
        }
    }
    if found.is_empty() {
        found.push(rootfs::resolve(root, Path::new(BUNDLES[0]))?);
    }
    Ok(found)
}
