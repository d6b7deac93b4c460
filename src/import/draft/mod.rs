//! All that was found, as one brik.toml.
//!
//! - `merge`: what several files say of one image; `registry`: the prefix of images; `images`: none is that of two services
//! - `groups`: names for several services; `service`: one image as a service: what differs from the defaults, and is right

mod groups;
mod images;
mod merge;
mod registry;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::found::{Found, base_name, parent};
use super::left::Left;
use super::remote::Remote;
use super::{members, names};
use merge::merge;
pub use registry::Origin;
pub use service::{Cached, Service};

/// A brik.toml before it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The files of other tools that had something to say.
    pub read: Vec<String>,
    pub registry: Option<(String, Origin)>,
    pub members: Vec<String>,
    /// Of all services; empty where the default will do.
    pub tags: Vec<String>,
    pub platforms: Vec<String>,
    /// By name, those included that `members` finds.
    pub services: Vec<Service>,
    /// Services by the name that several of them have.
    pub groups: BTreeMap<String, Vec<String>>,
    pub left: Vec<Left>,
}

impl Draft {
    pub(super) fn new(root: &Path, read: Vec<String>, found: Vec<Found>, mut left: Vec<Left>, remote: Option<&Remote>) -> Self {
        let mut merged = merge(found, &mut left);
        let images: Vec<&Found> = merged.iter().map(|merged| &merged.image).collect();
        let registry = registry::of(&images, remote);
        let names = names::unique(images.iter().copied());
        let prefix = registry.as_ref().map(|(registry, _)| registry.as_str());
        images::each_its_own(&mut merged, &names, prefix, &mut left);
        let named = service::Named { root, registry: prefix, merged: &merged, names: &names };
        let mut services: Vec<Service> = (0..merged.len()).map(|index| named.service(index, &mut left)).collect();
        let groups = groups::of(&merged, &names, &mut left);
        let directories: BTreeSet<String> =
            services.iter().filter(|service| service.is_member).map(|service| service.directory.clone()).collect();
        let tags = common(&mut services, |service| &mut service.tags);
        let platforms = common(&mut services, |service| &mut service.platforms);
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Self { read, registry, members: members::patterns(root, &directories), tags, platforms, services, groups, left }
    }
}

/// What all services say is said once.
fn common(services: &mut [Service], list: impl Fn(&mut Service) -> &mut Vec<String>) -> Vec<String> {
    let Some(first) = services.first_mut().map(|service| list(service).clone()) else { return Vec::new() };
    if !services.iter_mut().all(|service| *list(service) == first) {
        return Vec::new();
    }
    services.iter_mut().for_each(|service| list(service).clear());
    first
}

/// Whether `members` can find an image under this name, with nothing to be said of where it is.
fn is_member(image: &Found, name: &str) -> bool {
    let own = image.context == parent(&image.dockerfile) && base_name(&image.dockerfile) == "Dockerfile";
    own && base_name(&image.context) == name && members::can_be_member(&image.context)
}

#[cfg(test)]
mod tests;
