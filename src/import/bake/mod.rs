//! `docker-bake.hcl` and `docker-bake.json` -> what their targets build.
//!
//! - `definition`: either notation as blocks of expressions; `evaluate`: expressions with the defaults of variables
//! - `inherit`: a target with all that it inherits; `select`: which targets are images, and their groups
//! - `target`: one target as a [`Found`]

mod bounded;
mod definition;
mod evaluate;
mod inherit;
mod select;
mod target;

use std::path::Path;

use super::found::Found;
use super::left::{Fate, Left, Leftovers};
use definition::Definition;
use evaluate::Variables;

/// What is built by the targets of a file whose name ends in `.hcl` or `.json`, and what was left.
pub(super) fn read(root: &Path, file: &str, text: &str) -> (Vec<Found>, Vec<Left>) {
    let mut left = Leftovers::of(file);
    let Some(definition) = left.sound(text, Definition::parse(file, text)) else { return (Vec::new(), left.into_vec()) };
    for function in &definition.functions {
        left.of_file(format!("function {function:?}"), Fate::Lost, "brik.toml has values, not functions");
    }
    let variables = Variables::new(&definition, &mut left);
    let mut found: Vec<Found> = Vec::new();
    for name in select::images(&definition, &mut left) {
        let attributes = inherit::attributes(&definition, &name);
        found.extend(target::found(root, file, &name, &attributes, &variables, &mut left));
    }
    let images: Vec<&str> = found.iter().map(|image| image.name.as_str()).collect();
    let mut groups = select::groups(&definition, &images, &mut left);
    found.iter_mut().for_each(|image| image.groups = groups.remove(&image.name).unwrap_or_default());
    variables.tell(&mut left);
    (found, left.into_vec())
}

#[cfg(test)]
mod tests;
