//! What a registry holds, read from its disk: whether it keeps what it has been told.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Registry, server};

const BLOBS: &str = "docker/registry/v2/blobs/sha256";
const REPOSITORIES: &str = "docker/registry/v2/repositories";

pub fn repositories(registry: &Registry) -> PathBuf {
    registry.data().join(REPOSITORIES)
}

/// The digest that a tag leads to.
pub fn tag(registry: &Registry, repository: &str, tag: &str) -> Option<String> {
    link(&repositories(registry).join(repository).join("_manifests/tags").join(tag).join("current"))
}

/// Everything below `namespace` that a manifest or a cache entry promises and that is not there, or is not what it should be.
pub fn broken(registry: &Registry, namespace: &str) -> Vec<String> {
    let store = Store { registry, namespace };
    names(&repositories(registry).join(namespace)).into_iter().flat_map(|name| store.check(&format!("{namespace}/{name}"))).collect()
}

/// Whether a digest is that of an image or an index of a repository.
pub fn is_image(registry: &Registry, repository: &str, digest: &str) -> bool {
    Store { registry, namespace: "" }.has_manifest(repository, digest)
}

struct Store<'a> {
    registry: &'a Registry,
    namespace: &'a str,
}

impl Store<'_> {
    fn check(&self, repository: &str) -> Vec<String> {
        let manifests = repositories(self.registry).join(repository).join("_manifests");
        let revisions = names(&manifests.join("revisions/sha256")).into_iter();
        let tags = names(&manifests.join("tags")).into_iter().filter_map(|name| {
            let leads_to = tag(self.registry, repository, &name).unwrap_or_default();
            (!self.has_manifest(repository, &leads_to)).then(|| format!("{repository}:{name} leads to {leads_to:?}, which is not there"))
        });
        tags.chain(revisions.flat_map(|hex| self.check_manifest(repository, &format!("sha256:{hex}")))).collect()
    }

    fn check_manifest(&self, repository: &str, digest: &str) -> Vec<String> {
        let bytes = fs::read(self.blob(digest)).unwrap_or_default();
        if server::digest(&bytes) != digest {
            return vec![format!("{repository}@{digest} is damaged")];
        }
        let manifest: Value = serde_json::from_slice(&bytes).expect("a manifest is JSON");
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let config = Some(manifest["config"].clone()).filter(Value::is_object);
        let blobs = list("layers").into_iter().chain(config).filter_map(|blob| self.lacks(&[repository.to_owned()], &blob));
        let children = list("manifests").into_iter().filter_map(|child| {
            let child = child["digest"].as_str().unwrap_or_default().to_owned();
            (!self.has_manifest(repository, &child)).then(|| format!("the manifest {child}"))
        });
        let promised = self.check_entry(repository, &manifest);
        blobs.chain(children).chain(promised).map(|what| format!("{repository}@{digest} lacks {what}")).collect()
    }

    /// The blobs that a cache entry is of use with are in the entry itself, in its own repository or in one that it names. Those of an
    /// image's base are where the base is.
    fn check_entry(&self, repository: &str, manifest: &Value) -> Vec<String> {
        let Some(entry) = manifest["annotations"]["dev.brik.record"].as_str() else { return Vec::new() };
        let entry: Value = serde_json::from_str(entry).expect("an entry is JSON");
        let places = entry["places"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let places = places.filter_map(|place| Some(place.split_once('/')?.1.to_owned()));
        let places: Vec<String> = places.chain([repository.to_owned()]).collect();
        let promised = [&entry["record"]["layer"], &entry["record"]["config"], &entry["toc"]];
        let is_carried = |blob: &Value| blob["digest"].as_str().is_some_and(|digest| entry["carried"][digest].is_string());
        promised.into_iter().filter(|blob| blob.is_object() && !is_carried(blob)).filter_map(|blob| self.lacks(&places, blob)).collect()
    }

    fn lacks(&self, places: &[String], blob: &Value) -> Option<String> {
        let digest = blob["digest"].as_str().unwrap_or_default();
        let hex = digest.trim_start_matches("sha256:");
        let size = fs::metadata(self.blob(digest)).ok().map(|file| file.len());
        let is_linked = |place: &String| {
            let layers = repositories(self.registry).join(place).join("_layers/sha256");
            link(&layers.join(hex)).is_some()
        };
        let there = size == blob["size"].as_u64() && places.iter().any(is_linked);
        (!there).then(|| format!("the blob {digest} ({size:?} bytes, below {})", self.namespace))
    }

    fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        let hex = digest.trim_start_matches("sha256:");
        let revisions = repositories(self.registry).join(repository).join("_manifests/revisions/sha256");
        !hex.is_empty() && link(&revisions.join(hex)).is_some()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join(BLOBS).join(hex.get(..2).unwrap_or("-")).join(hex).join("data")
    }
}

fn link(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join("link")).ok()
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
