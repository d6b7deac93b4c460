//! What of a cache repository is of use yet. Registries tell no times: what counts is what is made of it, now and last.

use std::collections::BTreeSet;

use super::stored::{Content, Stored};
use crate::oci::{DiffId, Digest};
use crate::plan::{CacheKey, Plan};

/// Keys of results that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    steps: BTreeSet<CacheKey>,
    images: BTreeSet<CacheKey>,
    /// Layers of bases.
    layers: BTreeSet<DiffId>,
}

impl Reach {
    /// What a build would ask for.
    pub fn add_plan(&mut self, plan: &Plan) {
        self.steps.extend(plan.steps.iter().map(|step| step.key));
        self.images.extend(plan.images.iter().map(|image| image.key));
        self.layers.extend(plan.bases.iter().flat_map(|base| &base.config.rootfs.diff_ids));
    }

    /// What the images were made of that were given last.
    pub fn add_trails<'s>(&mut self, stored: impl Iterator<Item = &'s Stored>) {
        for entry in stored {
            if let Content::Trail(entry) = &entry.content {
                self.steps.extend(entry.trail.steps.iter().map(|step| step.key));
                self.images.insert(entry.trail.image);
            }
        }
    }

    /// Which of the entries are to stay: those that are reached, second keys of Steps that are, tables of contents of their layers, what is
    /// no result of a key, and what shares its manifest with any of them. In the order of `stored`.
    pub fn kept(&self, stored: &[Stored]) -> Vec<bool> {
        let reached = |entry: &Stored| match key(&entry.tag) {
            Some(('s', key)) => self.steps.contains(&key),
            Some(('i', key)) => self.images.contains(&key),
            _ => true,
        };
        let layers: BTreeSet<Digest> = stored.iter().filter(|entry| reached(entry)).filter_map(|entry| Some(layer(entry)?.1)).collect();
        // Found by what a Step works on, and not by what made that: the trail does not name it.
        let second = |entry: &Stored| layer(entry).is_some_and(|(by_definition, layer)| !by_definition && layers.contains(&layer));
        let made = |entry: &Stored| match &entry.content {
            Content::Toc(_) => false,
            Content::Foreign => true,
            _ => reached(entry) || second(entry),
        };
        let mut described = self.layers.clone();
        for entry in stored.iter().filter(|entry| made(entry)) {
            match &entry.content {
                Content::Step(step) => drop(described.insert(step.record.diff_id)),
                Content::Image(image) => described.extend(image.record.layers.iter().map(|layer| layer.diff_id)),
                _ => {}
            }
        }
        let stays = |entry: &Stored| match &entry.content {
            Content::Toc(toc) => described.contains(&toc.layer),
            _ => made(entry),
        };
        let shared: BTreeSet<Digest> = stored.iter().filter(|entry| stays(entry)).filter_map(|entry| entry.digest).collect();
        stored.iter().map(|entry| stays(entry) || entry.digest.is_some_and(|digest| shared.contains(&digest))).collect()
    }
}

/// A Step's layer, and whether the entry stands under the key that defines the Step.
fn layer(entry: &Stored) -> Option<(bool, Digest)> {
    let Content::Step(step) = &entry.content else { return None };
    let (_, key) = key(&entry.tag)?;
    Some((step.record.inputs.key() == key, step.record.layer.digest))
}

/// `s-<key>`
fn key(tag: &str) -> Option<(char, CacheKey)> {
    let (letter, hex) = tag.split_once('-')?;
    Some((letter.chars().next()?, CacheKey(format!("sha256:{hex}").parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::super::Carried;
    use super::*;
    use crate::cache::{Claims, StepEntry, StepRecord, TocEntry};
    use crate::oci::{Descriptor, media_type};
    use crate::plan::KeyInputs;

    fn inputs(name: &str) -> KeyInputs {
        let mut inputs = KeyInputs::new("run");
        inputs.add("argument", name);
        inputs
    }

    /// A Step's entry under `key`, which came of `name` and made `layer`.
    fn step(key: CacheKey, name: &str, layer: &str) -> Stored {
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(layer.as_bytes()), 1);
        let diff_id = DiffId(layer.digest);
        let record =
            StepRecord { diff_id, layer, inputs: inputs(name), files: None, took: 1, single_uid: false, claimed_by: Claims::new() };
        let digest = Some(Digest::of(format!("{record:?}").as_bytes()));
        let content = Content::Step(StepEntry { keys: Vec::new(), record, toc: None, carried: Carried::default(), places: Vec::new() });
        Stored { tag: format!("s-{}", key.0.hex()), digest, size: 1, content, blobs: Vec::new() }
    }

    fn toc(layer: &str) -> Stored {
        let layer = DiffId(Digest::of(layer.as_bytes()));
        let toc = Descriptor::new("x", Digest::of(format!("toc of {layer}").as_bytes()), 1);
        let digest = Some(Digest::of(format!("entry of {layer}").as_bytes()));
        let content = Content::Toc(TocEntry { layer, toc, claimed_by: Claims::new(), places: Vec::new() });
        Stored { tag: format!("t-{}", layer.0.hex()), digest, size: 1, content, blobs: Vec::new() }
    }

    fn content_key(text: &str) -> CacheKey {
        CacheKey(Digest::of(text.as_bytes()))
    }

    #[test]
    fn what_is_reached_stays_with_its_second_key_and_what_shares_its_manifest() {
        let of = |name: &str, layer: &str| step(inputs(name).key(), name, layer);
        let entries = [
            of("now", "one"),
            step(content_key("now"), "now", "one"),
            of("old", "two"),
            step(content_key("old"), "old", "two"),
            // Another definition has led to the same layer before; its manifest is also found by its content.
            of("before", "one"),
            step(content_key("before"), "before", "one"),
            // And one by its definition alone.
            of("long ago", "one"),
            toc("one"),
            toc("two"),
            toc("base"),
            Stored { tag: format!("z-{}", content_key("z").0.hex()), content: Content::Other("z".to_owned()), ..of("z", "z") },
            Stored { content: Content::Foreign, ..of("foreign", "x") },
        ];
        let layers = [DiffId(Digest::of(b"base"))].into();
        let reach = Reach { steps: [inputs("now").key()].into(), layers, ..Reach::default() };
        assert_eq!(reach.kept(&entries), [true, true, false, false, true, true, false, true, false, true, true, true]);
    }
}
