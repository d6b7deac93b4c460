//! What has changed from one image to another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::image::Image;
use super::report::{Config, path, printable};
use super::tree::{DifferenceKind, Tree};
use crate::image::Listing;
use crate::oci::Digest;

#[derive(Serialize)]
pub struct Comparison {
    /// The other image.
    pub name: String,
    pub place: &'static str,
    pub digest: Digest,
    pub layers: Layers,
    pub config: Vec<ConfigChange>,
    pub files: Vec<FileChange>,
    /// Of the two trees together.
    pub files_unchanged: usize,
}

/// By what layers hold, however they are compressed.
#[derive(Serialize)]
pub struct Layers {
    pub shared: usize,
    pub added: usize,
    pub removed: usize,
}

/// A field of the configuration. Values of variables are not told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ConfigChange {
    /// As in `user`, `env PATH` or `label vendor`.
    pub field: String,
    /// `null` where it was not there, or where it is not told.
    pub before: Option<String>,
    pub after: Option<String>,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
}

#[derive(Serialize)]
pub struct FileChange {
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// Of what changed: `content`, `mode`, `owner`, `kind`, `target`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub respects: Vec<&'static str>,
    pub size_before: Option<u64>,
    pub size_after: Option<u64>,
}

/// `listings` and `others`: of the layers of both, in their order.
pub fn compare(image: &Image, listings: &[Listing], other: &Image, others: &[&Listing]) -> Comparison {
    let (own, theirs) = (Tree::of(&listings.iter().collect::<Vec<_>>()), Tree::of(others));
    let differences = own.since(&theirs);
    let gone = differences.iter().filter(|difference| difference.kind == DifferenceKind::Removed).count();
    let files_unchanged = own.len() + gone - differences.len();
    let files = differences.into_iter().map(|difference| {
        let (change, respects) = match difference.kind {
            DifferenceKind::Added => ("added", Vec::new()),
            DifferenceKind::Removed => ("removed", Vec::new()),
            DifferenceKind::Changed(respects) => ("changed", respects),
        };
        let (size_before, size_after) = difference.size;
        FileChange { path: path(difference.path), change, respects, size_before, size_after }
    });
    let (ids, other_ids) = (&image.config.rootfs.diff_ids, &other.config.rootfs.diff_ids);
    // Empty layers are the same layer, and yet several.
    let mut removed = other_ids.clone();
    let shared = ids.iter().filter(|id| removed.iter().position(|other| other == *id).map(|at| removed.swap_remove(at)).is_some()).count();
    Comparison {
        name: other.name.clone(),
        place: other.place,
        digest: other.digest,
        layers: Layers { shared, added: ids.len() - shared, removed: removed.len() },
        config: config(image, other),
        files: files.collect(),
        files_unchanged,
    }
}

fn config(image: &Image, other: &Image) -> Vec<ConfigChange> {
    let fields = |image: &Image| {
        let mut fields = fields(&Config::of(&image.config.config));
        fields.insert("platform".to_owned(), printable(&image.config.platform().to_string()));
        fields
    };
    let mut changes = changes(&fields(other), &fields(image), true);
    let values = |image: &Image| -> BTreeMap<String, String> {
        let split = |entry: &String| entry.split_once('=').map(|(name, value)| (format!("env {}", printable(name)), value.to_owned()));
        image.config.config.env.iter().filter_map(split).collect()
    };
    changes.extend(self::changes(&values(other), &values(image), false));
    changes
}

/// Whatever has one value.
fn fields(config: &Config) -> BTreeMap<String, String> {
    let words =
        |words: &Option<Vec<String>>| words.as_ref().map(|words| serde_json::to_string(words).unwrap_or_default()).unwrap_or_default();
    let mut fields = BTreeMap::from([
        ("user".to_owned(), config.user.clone()),
        ("working dir".to_owned(), config.working_dir.clone()),
        ("entrypoint".to_owned(), words(&config.entrypoint)),
        ("cmd".to_owned(), words(&config.cmd)),
        ("ports".to_owned(), config.exposed_ports.join(", ")),
        ("volumes".to_owned(), config.volumes.join(", ")),
        ("stop signal".to_owned(), config.stop_signal.clone()),
        ("healthcheck".to_owned(), words(&config.healthcheck)),
        ("shell".to_owned(), words(&config.shell)),
        ("on build".to_owned(), config.on_build.join("; ")),
    ]);
    fields.extend(config.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())));
    fields.retain(|_, value| !value.is_empty());
    fields
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, told: bool) -> Vec<ConfigChange> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| {
        let (old, new) = (before.get(name), after.get(name));
        let change = match (old, new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        let value = |value: Option<&String>| value.filter(|_| told).cloned();
        (old != new).then(|| ConfigChange { field: name.clone(), before: value(old), after: value(new), change })
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_of_fields_and_not_of_variables() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let (before, after) = (map(&[("a", "1"), ("b", "2"), ("same", "x")]), map(&[("b", "3"), ("c", "4"), ("same", "x")]));
        let line = |change: &ConfigChange| format!("{} {} {:?} {:?}", change.change, change.field, change.before, change.after);
        let lines = |told| changes(&before, &after, told).iter().map(line).collect::<Vec<_>>();
        assert_eq!(lines(true), ["removed a Some(\"1\") None", "changed b Some(\"2\") Some(\"3\")", "added c None Some(\"4\")"]);
        assert_eq!(lines(false), ["removed a None None", "changed b None None", "added c None None"]);
    }
}
