//! Which image is whose: two services that push to one repository would overwrite each other's tags, and brik.toml refuses that.

use std::collections::BTreeSet;

use super::merge::Merged;
use crate::import::found::{Found, ImageName};
use crate::import::left::{Fate, Left};
use crate::oci::Reference;

/// Takes its image from every service but the first that has it, and tells so. `names` are those of the services; an image that no file
/// names is called like its service.
pub(super) fn each_its_own(merged: &mut [Merged], names: &[String], registry: Option<&str>, left: &mut Vec<Left>) {
    let of_name = |name: &str| repository(&ImageName::Bare(name.to_owned()), registry);
    let unnamed = merged.iter().zip(names).filter(|(merged, _)| merged.image.image.is_none());
    let mut taken: BTreeSet<String> = unnamed.map(|(_, name)| of_name(name)).collect();
    for (Merged { image, files }, name) in merged.iter_mut().zip(names) {
        let Found { image: Some(own), .. } = image else { continue };
        let wanted = repository(own, registry);
        if taken.insert(wanted.clone()) {
            continue;
        }
        left.push(Left {
            file: files[0].clone(),
            what: "image".to_owned(),
            of: vec![name.clone()],
            why: format!("another service has {wanted}, and a service is one image"),
            fate: Fate::Lost,
            at: None,
        });
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = [name.clone()].into_iter().chain(numbered).find(|name| taken.insert(of_name(name)));
        image.image = free.filter(|free| free != name).map(ImageName::Bare);
    }
}

/// What it is pushed to.
fn repository(image: &ImageName, registry: Option<&str>) -> String {
    match (image, registry) {
        (ImageName::Full(reference), _) => reference.name(),
        (ImageName::Bare(name), Some(registry)) => format!("{registry}/{name}"),
        (ImageName::Bare(name), None) => name.parse::<Reference>().map_or_else(|_| name.clone(), |reference| reference.name()),
    }
}
