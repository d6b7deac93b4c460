//! Where credentials are known to be, for `brik login --status`.

use super::credentials::Credentials;
use super::helper;
use super::unusable::Unusable;

/// A place that is looked at for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A host, or one with a path; `*` for a helper of all.
    pub registry: String,
    /// The file, the helper and its file, or the variable.
    pub source: String,
    /// Why nothing comes of it.
    pub unusable: Option<Unusable>,
}

impl Credentials {
    /// The places whose registry `is_asked`, in the order in which they are looked at. Their helpers are run, for at most 10 s each; one of
    /// all is asked for `registry`. Whether it has any credentials is not told.
    pub fn places(&self, is_asked: impl Fn(&str) -> bool, registry: &str) -> Vec<Place> {
        let mut places = Vec::new();
        for config in &self.configs {
            let mut helper = |host: &str, asked: &str, name: &str| {
                let source = format!("{} (by {})", helper::program(name), config.source);
                let unusable = || self.ask(name, asked, &config.source).err();
                places.extend(is_asked(host).then(|| Place { registry: host.to_owned(), source, unusable: unusable() }));
            };
            config.helpers.iter().for_each(|(host, name)| helper(host, host, name));
            config.store.iter().for_each(|name| helper("*", registry, name));
            let stored = config.entries().filter(|(key, _)| is_asked(key) && !config.helpers.contains_key(*key));
            places.extend(stored.map(|(key, unusable)| Place { registry: key.to_owned(), source: config.source.clone(), unusable }));
        }
        let environment = self.environment.iter().filter(|(host, _)| is_asked(host));
        places.extend(environment.map(|(host, credential)| Place {
            registry: host.clone(),
            source: credential.source.clone(),
            unusable: None,
        }));
        places
    }
}
