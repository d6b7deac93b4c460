//! Manifests and indexes (OCI image spec 1.1; Docker schema 2 documents have the same shape).

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{DiffId, Digest, Platform};

/// Media types that brik reads or writes.
pub mod media_type {
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// What stands beside a layer in caches: the layer with its files empty.
    pub const BRIK_TOC: &str = "application/vnd.brik.toc.v1.tar+zstd";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    /// What the types of layers begin with; how they are compressed follows.
    const LAYERS: [&str; 4] = [
        OCI_LAYER,
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];

    /// Whether blobs of this type are layers that can be unpacked: tars, plain, in gzip or in zstd. Encrypted ones are not.
    pub fn is_layer(media_type: &str) -> bool {
        let compression = LAYERS.iter().find_map(|layer| media_type.strip_prefix(layer));
        compression.is_some_and(|compression| matches!(compression, "" | "+gzip" | ".gzip" | "+zstd" | ".zstd"))
    }

    /// What a client that reads images accepts, most wanted first.
    pub const MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
}

/// Blobs of more bytes are none that anybody has (256 TiB): as many sizes as a document has room for add up without overflow.
const LARGEST_BLOB: u64 = 1 << 48;

/// A typed, sized pointer to content. `size` is in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

fn blob_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        size @ ..=LARGEST_BLOB => Ok(size),
        size => Err(D::Error::custom(format_args!("a blob of {size} bytes"))),
    }
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None }
    }
}

/// A layer of an image: what it holds, and the blob that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub diff_id: DiffId,
    pub descriptor: Descriptor,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u8,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI image manifest.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media_type::OCI_MANIFEST.to_owned(), config, layers, annotations: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u8,
    #[serde(default)]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI image index.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media_type::OCI_INDEX.to_owned(), manifests, annotations: BTreeMap::new() }
    }

    /// What it has images for, sorted, each once; attestations (`unknown/unknown`) are none.
    pub fn platforms(&self) -> Vec<Platform> {
        let named = self.manifests.iter().filter_map(|entry| entry.platform.as_ref()).filter(|platform| platform.os != "unknown");
        let mut platforms: Vec<Platform> = named.map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref())).collect();
        platforms.sort();
        platforms.dedup();
        platforms
    }
}

/// What a registry may answer where a manifest is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index by its shape, not by its declared media type (old Docker clients declare none).
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Shape {
            manifests: Option<serde::de::IgnoredAny>,
        }
        match serde_json::from_slice::<Shape>(bytes)?.manifests {
            Some(_) => serde_json::from_slice(bytes).map(Self::Index),
            None => serde_json::from_slice(bytes).map(Self::Manifest),
        }
    }
}
