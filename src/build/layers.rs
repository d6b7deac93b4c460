//! Layers where a Step needs them: pulled into the store, unpacked into snapshots. Each once, over threads and processes.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::sandbox::Rung;
use crate::image::{self, Layer, UnpackOptions, unpack_layer};
use crate::oci::{Descriptor, Reference};
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
            Rung::Root => IdMapping::Root,
            Rung::UserNamespace => IdMapping::UserNamespace,
            Rung::SingleUid => IdMapping::SingleUid,
        }
    }

    /// Brings a blob of `image` into the store, unless it is there.
    pub fn pull(&self, blob: &Descriptor, image: &Reference) -> Result<(), Error> {
        if self.store.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let _flight = self.store.single_flight(&blob.digest)?;
        if self.store.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let mut writer = self.store.blob_writer()?;
        self.client.pull_blob(image, blob, &mut writer)?;
        writer.commit()?;
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
    /// `below` are the layers under it, lowest first, for hard links that lead there.
    pub fn snapshot(&self, layer: &Layer, image: Option<&Reference>, below: &[PathBuf]) -> Result<PathBuf, Error> {
        if let Some(path) = self.store.snapshot(self.ids(), &layer.diff_id.0) {
            return Ok(path);
        }
        if let Some(image) = image {
            self.pull(&layer.descriptor, image)?;
        }
        let _flight = self.store.single_flight(&layer.diff_id.0)?;
        if let Some(path) = self.store.snapshot(self.ids(), &layer.diff_id.0) {
            return Ok(path);
        }
        let work = self.store.temp_dir()?;
        let fs = work.path().join("fs");
        let mut options = UnpackOptions {
            single_uid: self.rung == Rung::SingleUid,
            expected_digest: Some(layer.descriptor.digest),
            expected_diff_id: Some(layer.diff_id),
            ..UnpackOptions::default()
        };
        match self.unpack(layer, &fs, &options) {
            Err(Error::Image(image::Error::HardlinkOutsideLayer { .. })) => {
                let retry = self.store.temp_dir()?;
                options.lowers = below.iter().rev().cloned().collect();
                let fs = retry.path().join("fs");
                self.unpack(layer, &fs, &options)?;
                return Ok(self.store.commit_snapshot(self.ids(), &layer.diff_id.0, &fs)?);
            }
            Err(error @ Error::Image(_)) => {
                // A damaged blob must not stay: without it, the next run pulls or makes the layer again.
                let _ = self.store.verify_blob(&layer.descriptor.digest);
                return Err(error);
            }
            other => other?,
        }
        Ok(self.store.commit_snapshot(self.ids(), &layer.diff_id.0, &fs)?)
    }

    fn unpack(&self, layer: &Layer, dest: &Path, options: &UnpackOptions) -> Result<(), Error> {
        std::fs::create_dir(dest).map_err(|source| Error::Io { action: "create", path: dest.to_owned(), source })?;
        let blob = BufReader::with_capacity(1 << 18, self.store.open_blob(&layer.descriptor.digest)?);
        unpack_layer(blob, dest, options)?;
        Ok(())
    }
}
