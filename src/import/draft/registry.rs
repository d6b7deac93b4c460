//! The prefix of images.

use crate::import::found::{Found, ImageName};
use crate::import::remote::Remote;

/// Why a registry was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The files of other tools name images in it.
    Images,
    /// It goes with the forge that the git remote lies on.
    Remote,
}

/// What most of the images have in front, else what goes with the git remote.
pub(super) fn of(images: &[&Found], remote: Option<&Remote>) -> Option<(String, Origin)> {
    let mut prefixes: Vec<(String, usize)> = Vec::new();
    for image in images {
        let Some(ImageName::Full(reference)) = &image.image else { continue };
        let name = reference.name();
        let Some((prefix, _)) = name.rsplit_once('/') else { continue };
        match prefixes.iter_mut().find(|(known, _)| known == prefix) {
            Some((_, count)) => *count += 1,
            None => prefixes.push((prefix.to_owned(), 1)),
        }
    }
    let most = prefixes.iter().map(|(_, count)| *count).max();
    let named = prefixes.into_iter().find(|(_, count)| Some(*count) == most).map(|(prefix, _)| (prefix, Origin::Images));
    named.or_else(|| remote.and_then(Remote::registry).map(|registry| (registry, Origin::Remote)))
}
