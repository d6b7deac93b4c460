//! What lies in the registry after a build: digests of the images, keys of the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Of each service, the digests that its tags have.
    images: BTreeMap<String, BTreeSet<String>>,
    /// Tags of brik's cache repositories, but for those that move.
    keys: BTreeSet<String>,
}

impl Shelf {
    /// From a directory with the registry's repositories of all services.
    pub fn read(repositories: &Path) -> Self {
        let mut shelf = Self::default();
        for repository in names(repositories) {
            let tags = repositories.join(&repository).join("_manifests/tags");
            for tag in names(&tags) {
                if repository.ends_with("-cache") {
                    shelf.keys.extend((!tag.starts_with("last-")).then(|| format!("{repository}:{tag}")));
                } else {
                    let digest = fs::read_to_string(tags.join(tag).join("current/link")).unwrap_or_default();
                    shelf.images.entry(repository.clone()).or_default().insert(digest);
                }
            }
        }
        shelf
    }

    /// In words; what is missing of the keys that `other` has.
    pub fn beside(&self, other: &Self) -> String {
        let digests: usize = self.images.values().map(BTreeSet::len).sum();
        let missing = other.keys.difference(&self.keys).count();
        format!("{} images, {digests} digests; {} keys, {missing} missing", self.images.len(), self.keys.len())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
