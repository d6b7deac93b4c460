//! One target, with all that it inherits, as a [`Found`].

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::definition::Attributes;
use super::evaluate::Variables;
use crate::import::counterpart;
use crate::import::found::{Agent, DEFAULT_TAG, Found, ImageName, Secret, SecretSource, agent, image_name, paths, secret};
use crate::import::left::{Fate, Leftovers};
use crate::import::values::{list, pairs, text};

/// What [`found`] reads of a target; `description` says nothing of the image.
const READ: [&str; 12] =
    ["args", "context", "contexts", "description", "dockerfile", "inherits", "labels", "platforms", "secret", "ssh", "tags", "target"];

/// The image of a target; `None` where it cannot be one, which is told.
pub(super) fn found(
    root: &Path,
    file: &str,
    name: &str,
    attributes: &Attributes,
    variables: &Variables,
    left: &mut Leftovers,
) -> Option<Found> {
    let mut reader = Reader { name, attributes, variables, left };
    let what = format!("target {name:?}");
    if attributes.contains_key("dockerfile-inline") {
        reader.left.of_file(what, Fate::Lost, "it has no Dockerfile of its own (dockerfile-inline): write it to a file");
        return None;
    }
    let place = |reader: &mut Reader| -> Result<(String, String), String> {
        let context = reader.required("context")?.unwrap_or_else(|| ".".to_owned());
        let dockerfile = reader.required("dockerfile")?.unwrap_or_else(|| "Dockerfile".to_owned());
        paths(root, ".", &context, &dockerfile, false).map_err(|problem| problem.to_string())
    };
    let (context, dockerfile) = match place(&mut reader) {
        Ok(place) => place,
        Err(problem) => {
            reader.left.of_file(what, Fate::Lost, problem);
            return None;
        }
    };
    counterpart::tell(attributes.keys().map(String::as_str).filter(|key| !READ.contains(key)), name, true, reader.left);
    let (image, tags) = reader.images();
    Some(Found {
        name: name.to_owned(),
        file: file.to_owned(),
        context,
        dockerfile,
        image,
        tags,
        target: reader.value("target").as_ref().and_then(text),
        args: reader.table("args"),
        labels: reader.table("labels"),
        platforms: reader.strings("platforms"),
        secrets: reader.entries("secret", secret, secret_table),
        ssh: reader.entries("ssh", |text| Some(agent(text)), agent_table),
        contexts: reader.contexts(),
        cache: None,
        groups: Vec::new(),
    })
}

struct Reader<'a> {
    name: &'a str,
    attributes: &'a Attributes,
    variables: &'a Variables,
    left: &'a mut Leftovers,
}

impl Reader<'_> {
    /// The text of an attribute that the target cannot do without.
    fn required(&self, key: &str) -> Result<Option<String>, String> {
        let Some(expression) = self.attributes.get(key) else { return Ok(None) };
        let value = self.variables.value(expression).map_err(|problem| format!("{key}: {problem}"))?;
        Ok(text(&value).filter(|text| !text.is_empty()))
    }

    /// The value of an attribute; one that has none is told.
    fn value(&mut self, key: &str) -> Option<Value> {
        let value = self.variables.value(self.attributes.get(key)?);
        value.map_err(|problem| self.left.of_service(key, self.name, Fate::Lost, problem)).ok().filter(|value| !value.is_null())
    }

    fn strings(&mut self, key: &str) -> Vec<String> {
        self.value(key).as_ref().and_then(list).unwrap_or_default().into_iter().filter(|text| !text.is_empty()).collect()
    }

    /// Entries without a value are those of the environment.
    fn table(&mut self, key: &str) -> BTreeMap<String, String> {
        self.value(key).as_ref().and_then(pairs).unwrap_or_default().into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Entries that are written as text or as a table.
    fn entries<T>(&mut self, key: &str, read: impl Fn(&str) -> Option<T>, table: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.as_array().cloned().unwrap_or_default();
        let entry = |item: &Value| item.as_str().map_or_else(|| table(item), &read);
        let (entries, unread): (Vec<_>, Vec<_>) = items.iter().map(entry).partition(Option::is_some);
        if !unread.is_empty() {
            self.left.of_service(key, self.name, Fate::Lost, "not all of its entries are understood");
        }
        entries.into_iter().flatten().collect()
    }

    fn contexts(&mut self) -> BTreeMap<String, String> {
        let translate = |(name, source): (String, String)| match source.strip_prefix("target:") {
            Some(target) => (name, format!("service:{target}")),
            None => (name, source),
        };
        self.table("contexts").into_iter().map(translate).collect()
    }

    /// The name of the image and its tags. Tags of a second name have no place.
    fn images(&mut self) -> (Option<ImageName>, Vec<String>) {
        let Some(expression) = self.attributes.get("tags") else { return (None, Vec::new()) };
        let all = match self.variables.tags(expression) {
            Ok(all) => all,
            Err(problem) => {
                self.left.of_service("tags", self.name, Fate::Lost, problem);
                return (None, Vec::new());
            }
        };
        let (mut image, mut tags, mut changing) = (None, Vec::new(), false);
        for (text, made_of) in all {
            let (name, tag) = match image_name(&text) {
                Ok(read) => read,
                Err(problem) => {
                    self.left.of_service("tags", self.name, Fate::Lost, problem);
                    continue;
                }
            };
            if *image.get_or_insert_with(|| name.clone()) != name {
                self.left.of_service("tags", self.name, Fate::Lost, "a service is one image: these tags name several");
                continue;
            }
            match (made_of.first(), tag) {
                (Some(variable), _) => {
                    let why = format!("made of the variable {variable}: brik has its own tags, `--tags \"${variable}\"` gives others");
                    self.left.of_service("tags", self.name, Fate::Otherwise, why);
                    changing = true;
                }
                (None, tag) => tags.extend(tag),
            }
        }
        // A fixed tag alone would be all that there ever is.
        if changing && !tags.is_empty() {
            tags.insert(0, DEFAULT_TAG.to_owned());
        }
        (image, tags)
    }
}

fn secret_table(value: &Value) -> Option<Secret> {
    let field = |name: &str| value.get(name).and_then(text).filter(|text| !text.is_empty());
    let file = field("src").or_else(|| field("source")).map(SecretSource::File);
    Some(Secret { id: field("id")?, source: file.or_else(|| field("env").map(SecretSource::Variable)) })
}

fn agent_table(value: &Value) -> Option<Agent> {
    let field = |name: &str| value.get(name).and_then(list).and_then(|list| list.into_iter().next());
    Some(Agent { id: field("id")?, socket: field("paths") })
}
