//! Layers where a Step needs them: pulled into the store, unpacked into snapshots. Each once, over threads and processes.

use std::io::BufReader;
use std::path::PathBuf;

use super::error::Error;
use super::sandbox::Rung;
use crate::image::{self, Layer, UnpackOptions, unpack_layer};
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::Client;
use crate::report::{Event, Reporter, Transfer};
use crate::store::{IdMapping, Store};

#[derive(Clone, Copy)]
pub struct Layers<'a> {
    pub store: &'a Store,
    pub client: &'a Client,
    pub reporter: &'a Reporter,
    pub rung: Rung,
}

impl Layers<'_> {
    pub fn ids(&self) -> IdMapping {
        match self.rung {
            Rung::Root | Rung::Chroot => IdMapping::Root,
            Rung::UserNamespace => IdMapping::UserNamespace,
            Rung::SingleUid => IdMapping::SingleUid,
        }
    }

    /// Brings a blob of `image` into the store, unless it is there.
    pub fn pull(&self, blob: &Descriptor, image: &Reference) -> Result<(), Error> {
        if self.store.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let flight = self.store.single_flight(&blob.digest)?;
        if self.store.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let mut writer = self.store.blob_writer()?;
        self.client.pull_blob(image, blob, &mut writer)?;
        writer.commit()?;
        self.store.hold_until_durable(flight)?;
        self.reporter.emit(Event::LayerProgress {
            service: image.to_string(),
            transfer: Transfer::Pull,
            digest: blob.digest,
            bytes: blob.size,
            total: Some(blob.size),
        });
        Ok(())
    }

    /// The snapshot of a layer, unpacked from its blob if it has to be. `image` is where the blob comes from, if it is not here;
    /// `below` are the snapshots under it, lowest first.
    pub fn snapshot(&self, layer: &Layer, image: Option<&Reference>, below: &[PathBuf]) -> Result<PathBuf, Error> {
        let [alone, over] = [layer.diff_id.0, chain_id(layer, below)];
        let known = || [alone, over].iter().find_map(|id| self.store.snapshot(self.ids(), id));
        if let Some(path) = known() {
            return Ok(path);
        }
        if let Some(image) = image {
            self.pull(&layer.descriptor, image)?;
        }
        let _flight = self.store.single_flight(&alone)?;
        if let Some(path) = known() {
            return Ok(path);
        }
        match self.unpack(layer, &alone, None) {
            // Such a layer (bazel, ko, jib and kaniko write them) is another one over other layers. No record names its snapshot's
            // id: a prune takes it, and the next Step over it unpacks it again.
            Err(Error::Image(image::Error::NeedsLowers { .. })) => self.unpack(layer, &over, Some(below.iter().rev().cloned().collect())),
            other => other,
        }
    }

    fn unpack(&self, layer: &Layer, id: &Digest, lowers: Option<Vec<PathBuf>>) -> Result<PathBuf, Error> {
        let work = self.store.temp_dir()?;
        let fs = work.path().join("fs");
        std::fs::create_dir(&fs).map_err(|source| Error::Io { action: "create", path: fs.clone(), source })?;
        let options = UnpackOptions {
            single_uid: self.rung == Rung::SingleUid,
            expected_digest: Some(layer.descriptor.digest),
            expected_diff_id: Some(layer.diff_id),
            lowers,
            ..UnpackOptions::default()
        };
        let blob = BufReader::with_capacity(1 << 18, self.store.open_blob(&layer.descriptor.digest)?);
        match unpack_layer(blob, &fs, &options) {
            Ok(_) => Ok(self.store.commit_snapshot(self.ids(), id, &fs)?),
            Err(error @ image::Error::NeedsLowers { .. }) => Err(error.into()),
            Err(error) => {
                // A damaged blob must not stay: without it, the next run pulls or makes the layer again.
                let _ = self.store.verify_blob(&layer.descriptor.digest);
                Err(error.into())
            }
        }
    }
}

/// The id of a layer's snapshot where it depends on the snapshots `below` it.
fn chain_id(layer: &Layer, below: &[PathBuf]) -> Digest {
    let ids = below.iter().filter_map(|fs| fs.parent()?.file_name()).map(|id| id.to_string_lossy().into_owned());
    let chain: Vec<String> = [layer.diff_id.to_string()].into_iter().chain(ids).collect();
    Digest::of(chain.join("\n").as_bytes())
}
