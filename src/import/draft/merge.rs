//! What several files say of one image.

use crate::import::found::{Found, ImageName};
use crate::import::left::{Fate, Left};

/// An image, and the files that it was found in.
#[derive(Debug)]
pub(in crate::import) struct Merged {
    pub image: Found,
    pub files: Vec<String>,
}

/// Images of the same Dockerfile and target in different files are one: the first file is believed, others add what it does not say.
pub(super) fn merge(found: Vec<Found>, left: &mut Vec<Left>) -> Vec<Merged> {
    let mut all: Vec<Merged> = Vec::new();
    for image in found {
        let same = |other: &&mut Merged| {
            other.image.dockerfile == image.dockerfile && other.image.target == image.target && !other.files.contains(&image.file)
        };
        match all.iter_mut().find(same) {
            Some(known) => add(known, image, left),
            None => all.push(Merged { files: vec![image.file.clone()], image }),
        }
    }
    all
}

fn add(known: &mut Merged, image: Found, left: &mut Vec<Left>) {
    let mut differs = |what: &str| {
        left.push(Left {
            file: image.file.clone(),
            what: what.to_owned(),
            of: vec![known.image.name.clone()],
            why: format!("{} says otherwise and was taken", known.files[0]),
            fate: Fate::Lost,
            at: None,
        });
    };
    if known.image.context != image.context {
        differs("context");
    }
    match (&known.image.image, &image.image) {
        // A bare name is one for this machine only.
        (Some(ImageName::Full(_)), Some(ImageName::Bare(_))) => {}
        (Some(one), Some(other)) if one != other => differs("image"),
        _ => {}
    }
    if !known.image.tags.is_empty() && !image.tags.is_empty() && known.image.tags != image.tags {
        differs("tags");
    }
    if image.args.iter().any(|(name, value)| known.image.args.get(name).is_some_and(|own| own != value)) {
        differs("args");
    }
    let own = &mut known.image;
    own.image = own.image.take().or(image.image);
    own.cache = own.cache.take().or(image.cache);
    for (mine, theirs) in [(&mut own.tags, image.tags), (&mut own.platforms, image.platforms)] {
        if mine.is_empty() {
            *mine = theirs;
        }
    }
    for (mine, theirs) in [(&mut own.args, image.args), (&mut own.labels, image.labels), (&mut own.contexts, image.contexts)] {
        for (name, value) in theirs {
            mine.entry(name).or_insert(value);
        }
    }
    for group in image.groups {
        if !own.groups.contains(&group) {
            own.groups.push(group);
        }
    }
    for secret in image.secrets {
        if !own.secrets.iter().any(|known| known.id == secret.id) {
            own.secrets.push(secret);
        }
    }
    for agent in image.ssh {
        if !own.ssh.iter().any(|known| known.id == agent.id) {
            own.ssh.push(agent);
        }
    }
    known.files.push(image.file);
}
