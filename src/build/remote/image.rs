//! Base images: their documents, by name from registries and by path from OCI layouts.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::RemoteSources;
use crate::image::OciLayout;
use crate::oci::{Digest, ImageConfig, Manifest, Platform, Reference, media_type};
use crate::plan::BaseImage;
use crate::registry::{self, Resolved};
use crate::store::{RecordKind, Store};

/// A config larger than this is refused (bytes).
const MAX_CONFIG: u64 = 8 << 20;

/// As many as overlayfs stacks.
const MAX_LAYERS: usize = 500;

/// The documents of an image, by the digest of its manifest.
#[derive(Serialize, Deserialize)]
pub struct BaseRecord {
    pub manifest: Manifest,
    pub config: ImageConfig,
}

/// Why there is no image.
enum Unresolved {
    Registry(registry::Error),
    Broken(String),
}

impl From<registry::Error> for Unresolved {
    fn from(error: registry::Error) -> Self {
        Self::Registry(error)
    }
}

impl From<String> for Unresolved {
    fn from(error: String) -> Self {
        Self::Broken(error)
    }
}

impl From<Unresolved> for String {
    fn from(error: Unresolved) -> Self {
        match error {
            Unresolved::Registry(error) => match error.advice() {
                Some(advice) => format!("{error}; {advice}"),
                None => error.to_string(),
            },
            Unresolved::Broken(error) => error,
        }
    }
}

impl RemoteSources<'_> {
    /// The image that a name leads to: by what it is pinned to, else by asking its registry.
    pub(super) fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let Some(name) = reference.tagged() else { return self.ask(reference, reference, platform).map_err(Unresolved::into) };
        match self.pins.get(&name) {
            Some(pin) => {
                let digest = pin.for_platform(platform);
                self.ask(reference, &reference.with_digest(digest), platform).map_err(|error| match error {
                    Unresolved::Registry(error) if error.is_not_found() => format!(
                        "it is locked to {digest}, which is not there any more ({error}); `brik update {name}` locks it to what the tag leads to now"
                    ),
                    error => error.into(),
                })
            }
            None if self.only_pinned => Err("it is not locked, and its tag may not be asked for (--locked)".to_owned()),
            None => self.ask(reference, reference, platform).map_err(Unresolved::into),
        }
    }

    /// A name with what it is pinned to: in a run that compares two locks, it may be pinned to two images.
    pub(super) fn pinned_name(&self, reference: &Reference, platform: &Platform) -> Reference {
        let pin = reference.tagged().and_then(|name| self.pins.get(&name));
        let digest = pin.map(|pin| pin.for_platform(platform)).or(reference.digest);
        Reference { digest, ..reference.clone() }
    }

    /// `asked` is `reference`, or what it is pinned to. What is named by a digest never changes: nobody is asked for it twice.
    fn ask(&self, reference: &Reference, asked: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, Unresolved> {
        if let Some(digest) = asked.digest {
            // Behind the digest of an index, the manifest that was found there.
            let manifest = self.store.record(RecordKind::Name, &name_key(asked, platform)).unwrap_or(digest);
            if let Some(known) = known(self.store, Some(reference), &manifest) {
                remember(self.store, reference, platform, &manifest);
                return Ok(known);
            }
        }
        let resolved = match asked.digest {
            Some(_) => self.client.resolve(asked, platform)?,
            None => self.resolve_tag(asked, platform)?,
        };
        remember(self.store, reference, platform, &resolved.digest);
        if asked.digest.is_some_and(|digest| digest != resolved.digest) {
            remember(self.store, asked, platform, &resolved.digest);
        }
        if let Some(known) = known(self.store, Some(reference), &resolved.digest) {
            return Ok(known);
        }
        check_layers(&resolved.manifest)?;
        let config = self.client.read_blob(reference, &resolved.manifest.config, MAX_CONFIG)?;
        Ok(self.learn(Some(reference), resolved.digest, resolved.manifest, &config)?)
    }

    /// A tag leads to one image or index in a run, though it may move meanwhile: all platforms of an image have the same base.
    fn resolve_tag(&self, name: &Reference, platform: &Platform) -> Result<Resolved, registry::Error> {
        let place = self.tags.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
        let mut leads_to = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = *leads_to {
            drop(leads_to);
            return self.client.resolve(&name.with_digest(digest), platform);
        }
        let resolved = self.client.resolve(name, platform)?;
        *leads_to = Some(resolved.index.unwrap_or(resolved.digest));
        Ok(resolved)
    }

    /// The image of a layout, whose layers are then in the store: no registry has to be asked for them.
    pub(super) fn import(&self, path: &Path, tag_or_digest: Option<&str>, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let layout = OciLayout::open(path).map_err(|error| error.to_string())?;
        let (digest, manifest) = layout.resolve(tag_or_digest, platform).map_err(|error| error.to_string())?;
        check_layers(&manifest)?;
        let store_error = |error: crate::store::Error| error.to_string();
        for layer in &manifest.layers {
            if self.store.take_up(&layer.digest, layer.size) {
                continue;
            }
            let mut writer = self.store.blob_writer().map_err(store_error)?;
            layout.copy_blob(layer, &mut writer).map_err(|error| error.to_string())?;
            writer.commit().map_err(store_error)?;
        }
        // Another process may go on with them.
        self.store.settle().map_err(store_error)?;
        if let Some(known) = known(self.store, None, &digest) {
            return Ok(known);
        }
        let config = layout.read_blob(&manifest.config, MAX_CONFIG).map_err(|error| error.to_string())?;
        self.learn(None, digest, manifest, &config)
    }

    fn learn(&self, reference: Option<&Reference>, digest: Digest, manifest: Manifest, config: &[u8]) -> Result<Arc<BaseImage>, String> {
        let config: ImageConfig = serde_json::from_slice(config).map_err(|error| format!("its config cannot be read: {error}"))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            let (ids, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
            return Err(format!("its config names {ids} layers, its manifest {layers}: the image is broken"));
        }
        let record = BaseRecord { manifest, config };
        self.store.put_record(RecordKind::Base, &digest, &record).map_err(|error| error.to_string())?;
        Ok(Arc::new(BaseImage { reference: reference.cloned(), digest, manifest: record.manifest, config: record.config }))
    }
}

/// Whether its layers can be used at all, before any is had.
fn check_layers(manifest: &Manifest) -> Result<(), String> {
    let count = manifest.layers.len();
    if count > MAX_LAYERS {
        return Err(format!("it has {count} layers, and at most {MAX_LAYERS} can be stacked"));
    }
    match manifest.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
        Some(layer) => Err(format!("its layer {} is of the type {:?}, which brik cannot unpack", layer.digest, layer.media_type)),
        None => Ok(()),
    }
}

/// The base image that a name led to when it was last asked for on this machine. Nobody is asked.
pub fn last_seen(store: &Store, reference: &Reference, platform: &Platform) -> Option<Arc<BaseImage>> {
    let digest = store.record(RecordKind::Name, &name_key(reference, platform)).or(reference.digest)?;
    known(store, Some(reference), &digest)
}

/// A record that cannot be written costs only that `brik check` knows less.
fn remember(store: &Store, reference: &Reference, platform: &Platform, digest: &Digest) {
    let key = name_key(reference, platform);
    if store.record::<Digest>(RecordKind::Name, &key).as_ref() != Some(digest) {
        let _ = store.put_record(RecordKind::Name, &key, digest);
    }
}

fn name_key(reference: &Reference, platform: &Platform) -> Digest {
    Digest::of(format!("{reference} {platform}").as_bytes())
}

fn known(store: &Store, reference: Option<&Reference>, digest: &Digest) -> Option<Arc<BaseImage>> {
    let record: BaseRecord = store.record(RecordKind::Base, digest)?;
    Some(Arc::new(BaseImage { reference: reference.cloned(), digest: *digest, manifest: record.manifest, config: record.config }))
}
