//! The image that a name means: an OCI layout, a service as it was built here or pushed, or an image of a registry.

use std::io::{ErrorKind, PipeWriter, Write, pipe};
use std::path::Path;

use crate::build::last_trail;
use crate::cache::ImageRecord;
use crate::cli::failure::{Code, Failure};
use crate::cli::tagging::Tagging;
use crate::cli::workspace::Workspace;
use crate::config::{Config, Finding, Service};
use crate::image::{Listing, OciLayout, list_layer};
use crate::oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform, Reference};
use crate::registry::{Client, Error};
use crate::report::{Redactor, sanitise};
use crate::source::Disk;
use crate::store::{RecordKind, Store};

/// Where images are looked for.
pub struct Places<'a> {
    pub cwd: &'a Path,
    pub client: &'a Client,
    /// `None` where there is none yet.
    pub store: Option<&'a Store>,
    pub config: Option<&'a Config>,
    pub tagging: &'a Tagging,
    /// `--platform`
    pub platform: Option<&'a Platform>,
    pub redactor: &'a Redactor,
}

pub struct Image<'a> {
    /// As it was asked for, or as the registry calls it.
    pub name: String,
    /// For people: where it was found.
    pub place: &'static str,
    pub digest: Digest,
    /// The index that led to it.
    pub index: Option<Digest>,
    /// What that index has images for.
    pub platforms: Vec<Platform>,
    pub manifest: Manifest,
    pub config: ImageConfig,
    blobs: Blobs<'a>,
    store: Option<&'a Store>,
}

/// Where the blobs come from that the store does not have.
enum Blobs<'a> {
    Store,
    Layout(OciLayout),
    Registry(&'a Client, Reference),
}

/// A larger configuration is none (bytes).
const MAX_CONFIG: u64 = 8 << 20;

impl<'a> Places<'a> {
    pub fn find(&self, name: &str) -> Result<Image<'a>, Failure> {
        if let Some(layout) = name.strip_prefix("oci:") {
            return self.of_layout(name, layout);
        }
        match self.config.and_then(|config| config.services.get_key_value(name)) {
            Some((_, service)) => self.of_service(service),
            None => {
                let reference: Reference = name.parse().map_err(|error| {
                    let services: Vec<&str> = self.config.iter().flat_map(|config| config.services.keys()).map(String::as_str).collect();
                    let known = if services.is_empty() { String::new() } else { format!("; the services are: {}", services.join(", ")) };
                    Failure::usage(format!("{name:?} is no service, and no image: {error}{known}"))
                })?;
                self.of_registry(&reference, "registry")
            }
        }
    }

    fn platform(&self) -> Platform {
        self.platform.cloned().unwrap_or_else(Platform::host)
    }

    fn of_layout(&self, name: &str, place: &str) -> Result<Image<'a>, Failure> {
        let (directory, tag) = match place.rsplit_once(':') {
            Some((directory, tag)) if !tag.contains('/') && !self.cwd.join(place).is_dir() => (directory, Some(tag)),
            _ => (place, None),
        };
        let failed = |error: crate::image::Error| self.failed(&error.to_string(), None);
        let layout = OciLayout::open(&self.cwd.join(directory)).map_err(failed)?;
        let (digest, manifest) = layout.resolve(tag, &self.platform()).map_err(failed)?;
        let config = self.config(&layout.read_blob(&manifest.config, MAX_CONFIG).map_err(failed)?)?;
        let (index, platforms, store) = (None, Vec::new(), self.store);
        Ok(Image {
            name: name.to_owned(),
            place: "OCI layout",
            digest,
            index,
            platforms,
            manifest,
            config,
            blobs: Blobs::Layout(layout),
            store,
        })
    }

    /// What was built here last, else what was pushed under a tag of now.
    fn of_service(&self, service: &Service) -> Result<Image<'a>, Failure> {
        let host = Platform::host();
        let first = || service.platforms.iter().find(|platform| **platform == host).or(service.platforms.first());
        let platform = self.platform.or_else(first).unwrap_or(&host);
        if let Some(image) = self.built(service, platform) {
            return Ok(image);
        }
        let (name, config) = (&service.name, self.config);
        let tags = config.map(|config| {
            let (workspace, _) = Workspace::load(config, &Disk, std::slice::from_ref(name), self.tagging);
            workspace.services.into_iter().find(|loaded| loaded.service.name == *name).map(|loaded| loaded.tags).unwrap_or_default()
        });
        let tagged: Vec<Reference> = tags.into_iter().flatten().map(|tag| service.image.with_tag(&tag)).collect();
        for reference in &tagged {
            if self.client.look_up(reference).map_err(|error| self.unreachable(&error))?.is_some() {
                return self.of_registry(reference, "registry");
            }
        }
        let tags: Vec<String> = tagged.iter().map(Reference::to_string).collect();
        let asked = if tags.is_empty() { "and it has no tag here".to_owned() } else { format!("and there is no {}", tags.join(", ")) };
        Err(self.failed(&format!("{name} was not built in this store, {asked}"), Some(format!("brik build {name}"))))
    }

    /// The last build of a service in this store.
    fn built(&self, service: &Service, platform: &Platform) -> Option<Image<'a>> {
        let store = self.store?;
        let trail = last_trail(store, &service.image, platform)?;
        let record: ImageRecord = store.record(RecordKind::Image, &trail.image.0)?;
        let manifest = serde_json::from_slice(&store.read_blob(&record.manifest.digest).ok()?).ok()?;
        let config = serde_json::from_slice(&store.read_blob(&record.config.digest).ok()?).ok()?;
        // Layers that were never needed here lie where the image was pushed, if it was.
        let whole = record.layers.iter().all(|layer| store.blob_size(&layer.descriptor.digest).is_some());
        let blobs = if whole { Blobs::Store } else { Blobs::Registry(self.client, service.image.clone()) };
        let (digest, name) = (record.manifest.digest, service.name.clone());
        Some(Image { name, place: "built here", digest, index: None, platforms: Vec::new(), manifest, config, blobs, store: Some(store) })
    }

    fn of_registry(&self, reference: &Reference, place: &'static str) -> Result<Image<'a>, Failure> {
        let resolved = self.client.resolve(reference, &self.platform()).map_err(|error| self.unreachable(&error))?;
        let config = self.client.read_blob(reference, &resolved.manifest.config, MAX_CONFIG).map_err(|error| self.unreachable(&error))?;
        Ok(Image {
            name: reference.to_string(),
            place,
            digest: resolved.digest,
            index: resolved.index,
            platforms: resolved.platforms,
            manifest: resolved.manifest,
            config: self.config(&config)?,
            blobs: Blobs::Registry(self.client, reference.clone()),
            store: self.store,
        })
    }

    fn config(&self, bytes: &[u8]) -> Result<ImageConfig, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.failed(&format!("this is no image: its configuration cannot be read: {error}"), None))
    }

    fn unreachable(&self, error: &Error) -> Failure {
        self.failed(&error.to_string(), error.advice())
    }

    /// What others say may hold anything.
    pub fn failed(&self, message: &str, help: Option<String>) -> Failure {
        let finding = Finding::error("brik::inspect::failed", sanitise(message.as_bytes())).maybe_help(help);
        Failure::findings(Code::Failed, &[finding], Some(self.redactor))
    }
}

impl Image<'_> {
    /// Layers with what they hold, as manifest and configuration have them; `None` where these do not agree.
    pub fn layers(&self) -> Option<Vec<(&Descriptor, &DiffId)>> {
        let (blobs, ids) = (&self.manifest.layers, &self.config.rootfs.diff_ids);
        (blobs.len() == ids.len()).then(|| blobs.iter().zip(ids).collect())
    }

    /// Reads a layer through: from the store if it is there.
    pub fn list(&self, layer: &Descriptor, id: &DiffId) -> Result<Listing, String> {
        let text = |error: crate::image::Error| error.to_string();
        let here = self.store.filter(|store| store.blob_size(&layer.digest) == Some(layer.size));
        if let Some(file) = here.and_then(|store| store.open_blob(&layer.digest).ok()) {
            return list_layer(file, id).map_err(text);
        }
        let (reader, writer) = pipe().map_err(|error| error.to_string())?;
        std::thread::scope(|scope| {
            let copying = scope.spawn(move || {
                let mut out = Watched { writer, given_up: false };
                self.copy(layer, &mut out).map_err(|error| (!out.given_up).then_some(error))
            });
            let listed = list_layer(reader, id).map_err(text);
            match copying.join().unwrap_or(Err(None)) {
                // What arrives is cut short because of that.
                Err(Some(error)) => Err(error),
                _ => listed,
            }
        })
    }

    fn copy(&self, layer: &Descriptor, out: &mut dyn Write) -> Result<(), String> {
        match &self.blobs {
            Blobs::Registry(client, reference) => client.pull_blob(reference, layer, out).map(drop).map_err(|error| error.to_string()),
            Blobs::Layout(layout) => layout.copy_blob(layer, out).map_err(|error| error.to_string()),
            Blobs::Store => Err(format!("layer {} is not in the store any more", layer.digest)),
        }
    }
}

/// An end of a pipe that knows whether anybody reads at the other.
struct Watched {
    writer: PipeWriter,
    given_up: bool,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes).inspect_err(|error| self.given_up |= error.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
