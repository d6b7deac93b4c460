//! Named contexts of a service: what stands in for the stages and images of these names.

use std::collections::BTreeMap;

use crate::config::NamedContext;
use crate::oci::Reference;

/// By lower-case name: case tells neither stages nor contexts apart.
#[derive(Debug, Clone, Default)]
pub struct NamedContexts(BTreeMap<String, NamedContext>);

impl FromIterator<(String, NamedContext)> for NamedContexts {
    fn from_iter<I: IntoIterator<Item = (String, NamedContext)>>(contexts: I) -> Self {
        Self(contexts.into_iter().map(|(name, context)| (name.to_ascii_lowercase(), context)).collect())
    }
}

impl NamedContexts {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What stands in for the stage of this name.
    pub fn for_stage(&self, name: &str) -> Option<&NamedContext> {
        self.0.get(&name.to_ascii_lowercase())
    }

    /// What stands in for a name from outside: by that name, or by another one of the same image (`alpine` is
    /// `docker.io/library/alpine:latest`).
    pub fn for_outside(&self, name: &str) -> Option<&NamedContext> {
        self.for_stage(name).or_else(|| {
            let wanted: Reference = name.parse().ok()?;
            let same = |other: &Reference| other.name() == wanted.name() && other.tag_or_latest() == wanted.tag_or_latest();
            self.0.iter().find(|(key, _)| key.parse().is_ok_and(|other| same(&other))).map(|(_, context)| context)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_without_case_and_images_whichever_way_they_are_written() {
        let context = |name: &str| (name.to_owned(), NamedContext::Service(name.to_owned()));
        let contexts: NamedContexts =
            ["Files", "docker.io/library/alpine:latest", "ghcr.io/org/base:v1"].map(context).into_iter().collect();
        for (name, meant) in [
            ("files", Some("Files")),
            ("FILES", Some("Files")),
            ("alpine", Some("docker.io/library/alpine:latest")),
            ("alpine:3", None),
            ("ghcr.io/org/base:v1", Some("ghcr.io/org/base:v1")),
            ("ghcr.io/org/base", None),
            ("../odd", None),
        ] {
            let found = contexts.for_outside(name).map(|context| match context {
                NamedContext::Service(service) => service.as_str(),
                _ => "",
            });
            assert_eq!(found, meant, "{name}");
        }
        assert!(contexts.for_stage("fIles").is_some() && contexts.for_stage("alpine").is_none());
    }
}
