//! Outputs of a step of GitHub Actions: the file that `$GITHUB_OUTPUT` names.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::tags::Tagged;

/// What docker/metadata-action puts out, for several images as it would for a list of them: all tags; the version and the labels that
/// they agree on; and as `json` the object of the one image, or of several by service.
pub fn outputs(services: &[Tagged]) -> Vec<(&'static str, String)> {
    let lines = |texts: Vec<String>| texts.join("\n");
    let references: Vec<String> = services.iter().flat_map(|tagged| tagged.references.iter().map(ToString::to_string)).collect();
    let mut names: Vec<String> = Vec::new();
    services.iter().flat_map(|tagged| &tagged.tags).for_each(|tag| {
        if !names.contains(tag) {
            names.push(tag.clone());
        }
    });
    let (first, rest) = match services.split_first() {
        Some((first, rest)) => (Some(first), rest),
        None => (None, services),
    };
    let version = first.filter(|first| rest.iter().all(|other| other.version == first.version)).and_then(|first| first.version.clone());
    let agreed = |(name, value): &(&String, &String)| rest.iter().all(|other| other.labels.get(*name) == Some(value));
    let labels = first.into_iter().flat_map(|first| &first.labels).filter(agreed);
    let labels = labels.map(|(name, value)| format!("{name}={}", value.replace(['\r', '\n'], " "))).collect();
    let json = match services {
        [only] => object(only),
        several => several.iter().map(|tagged| (tagged.service.clone(), object(tagged))).collect::<serde_json::Map<_, _>>().into(),
    };
    vec![
        ("version", version.unwrap_or_default()),
        ("tags", lines(references)),
        ("tag-names", lines(names)),
        ("labels", lines(labels)),
        ("json", json.to_string()),
    ]
}

fn object(tagged: &Tagged) -> Value {
    json!({ "tags": tagged.references, "tag-names": tagged.tags, "labels": tagged.labels, "version": tagged.version })
}

/// Adds outputs to a file. Each stands between two lines that nobody can foresee, so that no value ends early and adds others.
pub fn append(path: &Path, outputs: &[(&str, String)]) -> io::Result<()> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers are to be had"))?;
    let delimiter = format!("brik_{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let text: String = outputs.iter().map(|(name, value)| format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")).collect();
    File::options().append(true).create(true).open(path)?.write_all(text.as_bytes())
}
