//! Names of services: what brik.toml takes for one, and each only once.

use std::collections::BTreeSet;

use super::found::{Found, base_name, parent};

/// A name that brik.toml takes: a component of a repository.
pub(super) fn service_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let parts: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).filter(|part| !part.is_empty()).collect();
    let mut name = String::new();
    for c in parts.join("-").chars() {
        let separator = !c.is_ascii_alphanumeric();
        // One separator at a time, and none in front.
        if !(separator && (name.is_empty() || name.ends_with(['.', '_', '-']))) {
            name.push(c);
        }
    }
    name.truncate(100);
    let name = name.trim_end_matches(['.', '_', '-']);
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

/// A name for each, in order; where two would be the same, the later one has its directory in front, or a number behind.
pub(super) fn unique<'f>(found: impl Iterator<Item = &'f Found>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut names = Vec::new();
    for image in found {
        let plain = service_name(&image.name);
        let directory = parent(&image.dockerfile);
        let above = if base_name(directory) == image.name { base_name(parent(directory)) } else { base_name(directory) };
        let longer = service_name(&format!("{above}-{plain}"));
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let candidates = [plain.clone()].into_iter().chain((above != ".").then_some(longer)).chain(numbered);
        names.extend(candidates.into_iter().find(|name| taken.insert(name.clone())));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_it_was_called_it_is_a_component_of_a_repository() {
        for (text, expected) in [
            ("api", "api"),
            ("MyApi", "myapi"),
            ("a b/c", "a-b-c"),
            ("_x_", "x"),
            ("a..b", "a.b"),
            ("Ünï", "n"),
            ("", "app"),
            ("--", "app"),
            ("a_-b", "a_b"),
        ] {
            assert_eq!(service_name(text), expected, "{text}");
            assert!(format!("r.io/{expected}").parse::<crate::oci::Reference>().is_ok());
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let image = |name: &str, dockerfile: &str| Found { name: name.into(), dockerfile: dockerfile.into(), ..Found::default() };
        let found = [
            image("api", "services/api/Dockerfile"),
            image("api", "apps/api/Dockerfile"),
            image("api", "apps/api/Dockerfile"),
            image("Api", "Dockerfile"),
        ];
        assert_eq!(unique(found.iter()), ["api", "apps-api", "api-2", "api-3"]);
    }
}
