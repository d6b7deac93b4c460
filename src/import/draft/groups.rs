//! Names for several services.

use std::collections::BTreeMap;

use super::merge::Merged;
use crate::import::left::{Fate, Left};
use crate::import::names::service_name;

/// What bake builds where nothing is named. brik builds all.
const DEFAULT: &str = "default";

/// The groups of images, which have these `names` as services.
pub(super) fn of(merged: &[Merged], names: &[String], left: &mut Vec<Left>) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (Merged { image, files }, service) in merged.iter().zip(names) {
        for group in &image.groups {
            let name = service_name(group);
            if names.contains(&name) {
                let why = "a service is called so; a group needs a name of its own".to_owned();
                let (file, what) = (files[0].clone(), format!("group {group:?}"));
                let one = Left { file, what, of: Vec::new(), why, fate: Fate::Lost, at: None };
                left.extend(Some(one).filter(|one| !left.contains(one)));
                continue;
            }
            let services = groups.entry(name).or_default();
            if !services.contains(service) {
                services.push(service.clone());
            }
        }
    }
    groups.retain(|name, services| name != DEFAULT || services.len() < names.len());
    groups.values_mut().for_each(|services| services.sort());
    groups
}
