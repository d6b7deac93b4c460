//! What a record of the store says, for who looks at the store instead of building.

use serde::de::DeserializeOwned;

use super::claimed::OriginRecord;
use super::remote::{BaseRecord, CheckoutRecord, DownloadRecord};
use crate::cache::{ImageRecord, StepRecord};
use crate::oci::{Descriptor, Digest};
use crate::plan::Trail;
use crate::store::{Entry, RecordKind, Store};

/// A record that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What it was, for people.
    pub what: String,
    /// Of the compressed layers, or of the file, that it leads to; some of them may not be here.
    pub bytes: u64,
    /// Blobs without which the record counts as absent, with their sizes where the record knows them.
    pub needs: Vec<(Digest, Option<u64>)>,
    /// Layers that may as well lie in a registry.
    pub layers: Vec<Digest>,
}

impl Remembered {
    /// `None` for a record that cannot be read, and so counts as absent.
    pub fn read(store: &Store, entry: &Entry) -> Option<Self> {
        Some(match entry.kind {
            RecordKind::Step => {
                let StepRecord { layer, inputs, .. } = parse(entry)?;
                Self { what: inputs.text(), bytes: layer.size, needs: needs([&layer]), layers: Vec::new() }
            }
            RecordKind::Image => {
                let ImageRecord { manifest, config, layers, .. } = parse(entry)?;
                let layers = || layers.iter().map(|layer| &layer.descriptor);
                Self {
                    what: format!("image {}, {}", manifest.digest.short(), count(layers().count())),
                    bytes: layers().map(|layer| layer.size).sum(),
                    needs: needs([&manifest, &config]),
                    layers: layers().map(|layer| layer.digest).collect(),
                }
            }
            RecordKind::Base => {
                let BaseRecord { manifest, config } = parse(entry)?;
                Self {
                    what: format!("base image {}/{}, {}", config.os, config.architecture, count(manifest.layers.len())),
                    bytes: manifest.layers.iter().map(|layer| layer.size).sum(),
                    needs: Vec::new(),
                    layers: manifest.layers.iter().map(|layer| layer.digest).collect(),
                }
            }
            RecordKind::Download => {
                let DownloadRecord { digest, etag, .. } = parse(entry)?;
                let etag = etag.map(|etag| format!(", etag {etag}")).unwrap_or_default();
                let bytes = store.blob_size(&digest).unwrap_or(0);
                Self { what: format!("file {}{etag}", digest.short()), bytes, needs: vec![(digest, None)], layers: Vec::new() }
            }
            RecordKind::Name => {
                let digest: Digest = parse(entry)?;
                Self { what: format!("name of base image {}", digest.short()), bytes: 0, needs: Vec::new(), layers: Vec::new() }
            }
            RecordKind::Toc => {
                let toc: Descriptor = parse(entry)?;
                let what = format!("table of contents of layer {}", entry.key.short());
                Self { what, bytes: 0, needs: needs([&toc]), layers: Vec::new() }
            }
            RecordKind::Trail => {
                let trail: Trail = parse(entry)?;
                let what = format!("what an image was made of last, in {} steps", trail.steps.len());
                Self { what, bytes: 0, needs: Vec::new(), layers: Vec::new() }
            }
            RecordKind::Origin => {
                let OriginRecord { repositories, blob, .. } = parse(entry)?;
                let what = format!("layer {} as {} has it", blob.short(), repositories.join(", "));
                Self { what, bytes: 0, needs: Vec::new(), layers: Vec::new() }
            }
            RecordKind::Checkout => {
                let CheckoutRecord { commit, .. } = parse(entry)?;
                Self { what: format!("files of commit {commit}"), bytes: 0, needs: Vec::new(), layers: Vec::new() }
            }
        })
    }

    /// The blob, if there is one, for which the record counts as absent.
    pub fn missing(&self, store: &Store) -> Option<Digest> {
        let here =
            |(digest, size): &(Digest, Option<u64>)| store.blob_size(digest).is_some_and(|found| size.is_none_or(|size| size == found));
        self.needs.iter().find(|need| !here(need)).map(|(digest, _)| *digest)
    }
}

fn parse<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.json).ok()
}

fn needs<const N: usize>(blobs: [&Descriptor; N]) -> Vec<(Digest, Option<u64>)> {
    blobs.into_iter().map(|blob| (blob.digest, Some(blob.size))).collect()
}

fn count(layers: usize) -> String {
    format!("{layers} layer{}", if layers == 1 { "" } else { "s" })
}
