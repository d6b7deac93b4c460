//! Which targets of a file are images to build.

use std::collections::{BTreeMap, BTreeSet};

use hcl::Expression;

use super::definition::{Attributes, Definition, literal, literals};
use crate::import::left::{Fate, Leftovers};

/// The targets of the group `default`, all that have tags, and what these use as `target:NAME`. Without such a group, all but those that
/// are there to be inherited.
pub(super) fn images(definition: &Definition, left: &mut Leftovers) -> Vec<String> {
    let inherited: BTreeSet<String> = definition.targets.values().flat_map(|attributes| literals(attributes, "inherits")).collect();
    let mut wanted = members(definition, "default");
    let everything = wanted.is_empty();
    for (name, attributes) in &definition.targets {
        let base = name.starts_with('_') || inherited.contains(name);
        if attributes.contains_key("tags") && !name.starts_with('_') || (everything && !base) {
            wanted.insert(name.clone());
        }
    }
    add_used(definition, &mut wanted);
    let mut images = Vec::new();
    for (name, attributes) in &definition.targets {
        let what = format!("target {name:?}");
        if name == "docker-metadata-action" {
            left.of_file(what, Fate::Otherwise, "`tags` of brik.toml takes the lines of metadata-action as they are");
        } else if attributes.contains_key("matrix") {
            left.of_file(what, Fate::Lost, "it has a matrix: write a service for each of its values");
        } else if wanted.contains(name) {
            images.push(name.clone());
        } else if !name.starts_with('_') && !inherited.contains(name) {
            left.of_file(what, Fate::Lost, "it has no tags and is not in the group \"default\"");
        }
    }
    images
}

/// The groups that each of `images` is in, also through other groups.
pub(super) fn groups(definition: &Definition, images: &[&str], left: &mut Leftovers) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, attributes) in &definition.groups {
        let what = || format!("group {group:?}");
        let is_written =
            |targets: &Expression| matches!(targets, Expression::Array(items) if items.iter().all(|item| literal(item).is_some()));
        if attributes.get("targets").is_some_and(|targets| !is_written(targets)) {
            left.of_file(what(), Fate::Lost, "not all of its targets are written out");
        }
        let (services, others): (Vec<String>, Vec<String>) =
            members(definition, group).into_iter().partition(|target| images.contains(&target.as_str()));
        if !others.is_empty() {
            left.of_file(what(), Fate::Lost, format!("no services: {}", others.join(", ")));
        }
        services.into_iter().for_each(|target| groups.entry(target).or_default().push(group.clone()));
    }
    groups
}

/// The targets of a group, and of the groups in it.
fn members(definition: &Definition, group: &str) -> BTreeSet<String> {
    let (mut targets, mut seen, mut pending) = (BTreeSet::new(), BTreeSet::new(), vec![group.to_owned()]);
    while let Some(name) = pending.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        match definition.groups.get(&name) {
            // A group that names itself means the target of this name.
            Some(group) => {
                let (own, others): (Vec<String>, Vec<String>) = literals(group, "targets").into_iter().partition(|target| *target == name);
                targets.extend(own);
                pending.extend(others);
            }
            None => drop(targets.insert(name)),
        }
    }
    targets.retain(|name| definition.targets.contains_key(name));
    targets
}

/// What the images use of other targets is built with them.
fn add_used(definition: &Definition, wanted: &mut BTreeSet<String>) {
    let mut pending: Vec<String> = wanted.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = pending.pop() {
        let Some(attributes) = definition.targets.get(&name).filter(|_| seen.insert(name.clone())) else { continue };
        let used = contexts(attributes).into_iter().filter_map(|context| Some(context.strip_prefix("target:")?.to_owned()));
        let used: Vec<String> = used.filter(|name| definition.targets.contains_key(name)).collect();
        wanted.extend(used.iter().cloned());
        pending.extend(used);
        pending.extend(literals(attributes, "inherits"));
    }
}

fn contexts(attributes: &Attributes) -> Vec<String> {
    match attributes.get("contexts") {
        Some(Expression::Object(entries)) => entries.values().filter_map(literal).collect(),
        _ => Vec::new(),
    }
}
