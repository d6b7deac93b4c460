//! A target with everything that it inherits.

use std::collections::BTreeSet;

use hcl::Expression;

use super::definition::{Attributes, Definition, literals};

/// Tables that are merged key by key; anything else is replaced.
const MERGED: [&str; 4] = ["args", "labels", "contexts", "annotations"];

/// Targets that inherit each other in a row; what is farther away is not looked at.
const DEEPEST: usize = 64;

/// The attributes of a target over those of the targets that it inherits, the last named strongest.
pub(super) fn attributes(definition: &Definition, name: &str) -> Attributes {
    let mut merged = Attributes::new();
    lay(definition, name, DEEPEST, &mut BTreeSet::new(), &mut merged);
    merged
}

/// `seen`: the targets that were laid already, which ends cycles.
fn lay(definition: &Definition, name: &str, deepest: usize, seen: &mut BTreeSet<String>, merged: &mut Attributes) {
    let Some(own) = definition.targets.get(name).filter(|_| deepest > 0 && seen.insert(name.to_owned())) else { return };
    for parent in literals(own, "inherits") {
        lay(definition, &parent, deepest - 1, seen, merged);
    }
    for (key, value) in own.iter().filter(|(key, _)| *key != "inherits") {
        match (merged.get_mut(key), value) {
            (Some(Expression::Object(below)), Expression::Object(above)) if MERGED.contains(&key.as_str()) => {
                below.extend(above.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => drop(merged.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_named_parent_is_the_strongest_and_tables_are_merged() {
        let text = r#"
            target "a" {
                context = "a"
                args = { X = "a", Y = "a" }
            }
            target "b" {
                context = "b"
                args = { Y = "b" }
                tags = ["b"]
            }
            target "c" {
                inherits = ["a", "b"]
                tags = ["c"]
            }
            target "loop" {
                inherits = ["loop"]
            }"#;
        let definition = Definition::parse("b.hcl", text).unwrap();
        let c = attributes(&definition, "c");
        assert_eq!(c["context"], Expression::from("b"));
        assert_eq!(c["tags"], Expression::from(vec!["c"]));
        let Expression::Object(args) = &c["args"] else { panic!("{c:?}") };
        assert_eq!(args.values().collect::<Vec<_>>(), [&Expression::from("a"), &Expression::from("b")]);
        assert!(attributes(&definition, "loop").is_empty());
    }
}
