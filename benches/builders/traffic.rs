//! What builders have asked of the registry and moved: its access log, and the blobs that lie in it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What was asked of a registry between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub requests: u64,
    /// Bytes of blobs that were sent to builders.
    pub bytes_down: u64,
    /// Those of them that are layers.
    pub layers_down: u64,
    /// Blobs whose upload was finished.
    pub uploads: u64,
    /// Those of them that had been uploaded before, be it to another repository.
    pub again: u64,
    /// Bytes of layers whose upload was finished, as often as it was.
    pub layers_up: u64,
    /// Blobs that a repository took over from another one.
    pub mounts: u64,
    /// Bytes of blobs that came to lie in it.
    pub bytes_up: u64,
    /// Bytes of the largest blob that lies in it.
    pub largest: u64,
}

impl Traffic {
    /// From a log since the registry's start, and its data directory.
    pub fn read(log: &str, data: &Path) -> Self {
        let mut blobs = Blobs { directory: data.join("docker/registry/v2/blobs"), layers: HashMap::new() };
        let mut uploaded = HashSet::new();
        let mut traffic = Self::default();
        for line in log.lines() {
            let mut quoted = line.split('"');
            let (Some(_), Some(request), Some(rest)) = (quoted.next(), quoted.next(), quoted.next()) else { continue };
            if !request.ends_with(" HTTP/1.1") {
                continue;
            }
            traffic.requests += 1;
            let created = rest.starts_with(" 201 ");
            if created && request.starts_with("PUT ") && request.contains("/blobs/uploads/") {
                traffic.uploads += 1;
                let digest = digest(request);
                traffic.layers_up += blobs.layer(digest);
                traffic.again += u64::from(!uploaded.insert(digest));
            }
            traffic.mounts += u64::from(created && request.starts_with("POST ") && request.contains("mount="));
            if request.starts_with("GET ") && request.contains("/blobs/") {
                let bytes = rest.split_whitespace().nth(1).and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
                traffic.bytes_down += bytes;
                traffic.layers_down += if blobs.layer(digest(request)) > 0 { bytes } else { 0 };
            }
        }
        let sizes = sizes(&blobs.directory);
        (traffic.bytes_up, traffic.largest) = (sizes.iter().sum(), sizes.into_iter().max().unwrap_or(0));
        traffic
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            bytes_down: self.bytes_down - before.bytes_down,
            layers_down: self.layers_down - before.layers_down,
            uploads: self.uploads - before.uploads,
            again: self.again - before.again,
            layers_up: self.layers_up - before.layers_up,
            mounts: self.mounts - before.mounts,
            bytes_up: self.bytes_up.saturating_sub(before.bytes_up),
            largest: self.largest,
        }
    }
}

/// The 64 digits of the digest that a request names, whose colon may be escaped. Parameters that are no digest have none.
fn digest(request: &str) -> &str {
    let start = ["sha256:", "sha256%3A"].into_iter().find_map(|prefix| Some(request.find(prefix)? + prefix.len()));
    start.and_then(|start| request.get(start..start + 64)).unwrap_or_default()
}

struct Blobs {
    directory: PathBuf,
    /// Bytes of those that are layers, none of the others.
    layers: HashMap<String, u64>,
}

impl Blobs {
    /// The bytes of a blob if it is a layer, which all builders compress, unlike configurations and manifests.
    fn layer(&mut self, digest: &str) -> u64 {
        if let Some(bytes) = self.layers.get(digest) {
            return *bytes;
        }
        let path = self.directory.join("sha256").join(digest.get(..2).unwrap_or_default()).join(digest).join("data");
        let bytes = File::open(path).and_then(|mut file| {
            let mut magic = [0; 4];
            file.read_exact(&mut magic)?;
            let compressed = magic.starts_with(&GZIP) || magic == ZSTD;
            Ok(if compressed { file.metadata()?.len() } else { 0 })
        });
        let bytes = bytes.unwrap_or(0);
        self.layers.insert(digest.to_owned(), bytes);
        bytes
    }
}

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Of all files below a directory, in bytes.
fn sizes(directory: &Path) -> Vec<u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => sizes(&entry.path()),
        _ => vec![entry.metadata().map_or(0, |metadata| metadata.len())],
    });
    sizes.flatten().collect()
}
