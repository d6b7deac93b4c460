//! The layers of configuration, weakest first: defaults, brik.toml, `brik.<env>.toml`, environment, `--set`.
//!
//! Tables merge key by key; anything else, lists too, is replaced by the stronger layer, unless `--set` appends with `+=`.

use std::path::Path;

use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};

use super::LoadOptions;
use super::check::Checker;
use super::document::{Entry, Node, Value};
use super::finding::{Finding, Findings, Location, Source};
use super::layer::Layer;
use super::model::File;
use super::place::{self, Place};
use super::schema::shape;
use crate::oci::Platform;

pub(super) struct Layers(Vec<Layer>);

/// Service keys that take the place of a global list; `+=` starts from that.
const INHERITED_LISTS: [&str; 2] = ["tags", "platforms"];

/// Tables that say how, and not what.
const NOT_OF_SERVICES: [&str; 4] = ["build", "cache", "policy", "registries"];

fn defaults() -> Result<Layer, Finding> {
    let text = format!("tags = [\"sha-{{sha}}\"]\nplatforms = [\"{}\"]\n", Platform::host());
    Layer::toml(Source::new("the defaults", text))
}

impl Layers {
    /// Reads every layer. Text that cannot be read at all (TOML syntax, a malformed `--set`) ends it here, all of it reported.
    pub fn gather(options: &LoadOptions, place: &Place) -> Result<Self, Findings> {
        let file = |path: &Path| place::read(place.files, path, &place.shown(path)).and_then(Layer::toml);
        let mut layers = vec![defaults(), file(&place.file)];
        layers.extend(
            place.overlay(options).map(|overlay| overlay.map(|overlay| file(&overlay))).unwrap_or_else(|finding| Some(Err(finding))),
        );
        if let Some(url) = options.env.get("REGISTRY_URL").filter(|url| !url.trim().is_empty()) {
            let weaker = layers.iter().flatten().rev().find_map(|layer| layer.document.get("registry")?.node.as_str());
            let layer = Layer::registry_host(url.trim(), weaker);
            layers.push(Ok(layer));
        }
        layers.extend(options.env.iter().filter_map(|(name, value)| Layer::variable(shape(), name, value)));
        layers.extend(options.set.iter().map(|text| Layer::assignment(shape(), text)));
        Self::whole(layers)
    }

    /// Variables alone, as far as they are about what [`NOT_OF_SERVICES`] names.
    pub fn of_variables(options: &LoadOptions) -> Result<Self, Findings> {
        let table = |name: &str| name.strip_prefix("BRIK_")?.split("__").next().map(str::to_lowercase);
        let wanted = options.env.iter().filter(|(name, _)| table(name).is_some_and(|table| NOT_OF_SERVICES.contains(&table.as_str())));
        let variables = wanted.filter_map(|(name, value)| Layer::variable(shape(), name, value));
        Self::whole([defaults()].into_iter().chain(variables).collect())
    }

    fn whole(layers: Vec<Result<Layer, Finding>>) -> Result<Self, Findings> {
        let broken: Vec<Finding> = layers.iter().filter_map(|layer| layer.as_ref().err().cloned()).collect();
        if broken.is_empty() { Ok(Self(layers.into_iter().flatten().collect())) } else { Err(Findings(broken)) }
    }

    /// Checks every layer, then merges what is right of them.
    pub fn merge(&self, findings: &mut Vec<Finding>) -> File {
        let mut figment = Figment::new();
        for layer in &self.0 {
            let before = findings.len();
            let dict = Checker::new(&layer.source, findings).document(shape(), &layer.document);
            // There are no bytes to show.
            if layer.source.text.is_empty() && layer.source.name.starts_with('$') {
                let help = format!("{} is set to nothing: give it a value, or unset it", layer.source.name);
                findings[before..].iter_mut().for_each(|finding| finding.help = Some(help.as_str().into()));
            }
            figment = match &layer.appends_to {
                None => figment.merge(Checked { layer, dict }),
                Some(path) => self.inherit(figment, layer, path).admerge(Checked { layer, dict }),
            };
        }
        figment.extract().unwrap_or_else(|error| {
            findings.extend(error.into_iter().map(|error| {
                let path: Vec<&str> = error.path.iter().map(String::as_str).collect();
                Finding::error("brik::config::invalid", error.kind.to_string()).at(self.value(&path))
            }));
            File::default()
        })
    }

    /// `services.x.tags+=…` appends to the global tags where the service has none of its own.
    fn inherit(&self, figment: Figment, layer: &Layer, path: &[String]) -> Figment {
        let [services, name, key] = path else { return figment };
        let own = self.0.iter().take_while(|other| !std::ptr::eq(*other, layer)).any(|other| find(other, &[services, name, key]).is_some());
        if own || services != "services" || !INHERITED_LISTS.contains(&key.as_str()) {
            return figment;
        }
        let Ok(global) = figment.find_value(key) else { return figment };
        let service = Dict::from([(key.clone(), global)]);
        let dict = Dict::from([(services.clone(), Dict::from([(name.clone(), service.into())]).into())]);
        figment.merge(Checked { layer, dict })
    }

    /// The bytes of the key at `path` in the strongest layer that has it; else of the longest part of the path that is there.
    pub fn key(&self, path: &[&str]) -> Location {
        self.locate(path, |entry| entry.key.clone())
    }

    /// The bytes of the value at `path`, as `key` finds it.
    pub fn value(&self, path: &[&str]) -> Location {
        self.locate(path, |entry| if matches!(entry.node.value, Value::Table(_)) { entry.key.clone() } else { entry.node.span.clone() })
    }

    /// The bytes of the item of the list at `path` that `wanted` picks, else of the list.
    pub fn item(&self, path: &[&str], wanted: impl Fn(&Node) -> bool) -> Location {
        for layer in self.0.iter().rev() {
            if let Some(Entry { node: Node { value: Value::Array(items), .. }, .. }) = find(layer, path)
                && let Some(item) = items.iter().rev().find(|item| wanted(item))
            {
                return layer.source.at(item.span.clone());
            }
        }
        self.value(path)
    }

    /// The bytes of the value of `key` in the item of the list at `path` that `wanted` picks, else as `item` finds it.
    pub fn below_item(&self, path: &[&str], key: &str, wanted: impl Fn(&Node) -> bool) -> Location {
        let below = |layer: &Layer| match &find(layer, path)?.node.value {
            Value::Array(items) => Some(items.iter().rev().find(|item| wanted(item))?.get(key)?.node.span.clone()),
            _ => None,
        };
        let found = self.0.iter().rev().find_map(|layer| Some(layer.source.at(below(layer)?)));
        found.unwrap_or_else(|| self.item(path, wanted))
    }

    /// Whether any layer above the defaults speaks of `path`.
    pub fn is_written(&self, path: &[&str]) -> bool {
        self.0.iter().skip(1).any(|layer| find(layer, path).is_some())
    }

    /// Whether any layer speaks of `path`.
    pub fn has(&self, path: &[&str]) -> bool {
        self.0.iter().any(|layer| find(layer, path).is_some())
    }

    fn locate(&self, path: &[&str], span: impl Fn(&Entry) -> std::ops::Range<usize>) -> Location {
        for length in (1..=path.len()).rev() {
            for layer in self.0.iter().rev() {
                if let Some(entry) = find(layer, &path[..length]) {
                    let span = if length == path.len() { span(entry) } else { entry.key.clone() };
                    return layer.source.at(span);
                }
            }
        }
        // Nothing of it was written anywhere: the head of brik.toml, which follows the defaults.
        self.0.get(1).map_or_else(|| Source::new("", "").at(0..0), |file| file.source.at(0..0))
    }

    /// Findings in the order of the layers and of their bytes.
    pub fn sort(&self, findings: &mut [Finding]) {
        let rank = |source: &Source| self.0.iter().position(|layer| layer.source == *source);
        findings.sort_by_cached_key(|finding| finding.location.as_ref().map(|at| (rank(&at.source), at.span.start)));
    }
}

fn find<'l>(layer: &'l Layer, path: &[impl AsRef<str>]) -> Option<&'l Entry> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(layer.document.get(first.as_ref())?, |entry, key| entry.node.get(key.as_ref()))
}

/// What is right of a layer, for figment.
struct Checked<'l> {
    layer: &'l Layer,
    dict: Dict,
}

impl Provider for Checked<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.layer.source.name.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}
