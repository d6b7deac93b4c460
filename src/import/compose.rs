//! A Compose file -> what its services build.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::compose_variables::{with_defaults, with_marks};
use super::found::{Found, ImageName, Secret, SecretSource, agent, image_name, paths};
use super::left::{Fate, Left, Leftovers};
use super::marks::{names_in_tag, unknown};
use super::values::{list, pairs, text};
use super::{counterpart, yaml};

/// What is read of a `build`.
const READ: [&str; 10] =
    ["additional_contexts", "args", "context", "dockerfile", "labels", "platforms", "secrets", "ssh", "tags", "target"];

/// What the services of a file build, and what was left.
pub(super) fn read(root: &Path, file: &str, source: &str) -> (Vec<Found>, Vec<Left>) {
    let mut left = Leftovers::of(file);
    let Some(document) = left.sound(source, yaml::parse(source)) else { return (Vec::new(), left.into_vec()) };
    if document.get("include").is_some() {
        left.of_file("include", Fate::Lost, "other files are read where brik.toml stands beside them");
    }
    let none = Map::new();
    let services = document.get("services").and_then(Value::as_object).unwrap_or(&none);
    let mut found = Vec::new();
    for (name, service) in services {
        match service.get("build") {
            Some(build) => {
                let mut reader = Reader { document: &document, name, service, left: &mut left };
                found.extend(reader.found(root, file, build));
            }
            None if service.get("extends").is_some() => {
                left.of_service("extends", name, Fate::Lost, "what a service extends is not looked up");
            }
            None => left.of_service("image only", name, Fate::Otherwise, "there is nothing to build"),
        }
    }
    (found, left.into_vec())
}

struct Reader<'a> {
    document: &'a Value,
    name: &'a str,
    service: &'a Value,
    left: &'a mut Leftovers,
}

impl Reader<'_> {
    /// `build` is a context, or a table with one.
    fn found(&mut self, root: &Path, file: &str, build: &Value) -> Option<Found> {
        let what = format!("service {:?}", self.name);
        let table = match build {
            Value::Object(table) => table.clone(),
            other => Map::from_iter([("context".to_owned(), other.clone())]),
        };
        if table.contains_key("dockerfile_inline") {
            self.left.of_file(what, Fate::Lost, "it has no Dockerfile of its own (dockerfile_inline): write it to a file");
            return None;
        }
        let string = |key: &str| table.get(key).and_then(text).map(|text| with_defaults(&text));
        let context = string("context").unwrap_or_else(|| ".".to_owned());
        let dockerfile = string("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
        let place = match unknown(&context).or_else(|| unknown(&dockerfile)) {
            Some(variable) => Err(format!("where it is built is made of ${variable}, which has no default")),
            None => paths(root, ".", &context, &dockerfile, false).map_err(|problem| problem.to_string()),
        };
        let (context, dockerfile) = match place {
            Ok(place) => place,
            Err(problem) => {
                self.left.of_file(what, Fate::Lost, problem);
                return None;
            }
        };
        counterpart::tell(table.keys().map(String::as_str).filter(|key| !READ.contains(key)), self.name, true, self.left);
        let (image, tags) = self.images(&table);
        let platforms = match table.get("platforms") {
            Some(platforms) => self.known("platforms", list(platforms).unwrap_or_default()),
            None => self.known("platform", self.service.get("platform").and_then(list).unwrap_or_default()),
        };
        Some(Found {
            name: self.name.to_owned(),
            file: file.to_owned(),
            context,
            dockerfile,
            image,
            tags,
            target: table.get("target").and_then(text).and_then(|target| self.known("target", vec![target]).pop()),
            args: self.table("args", table.get("args")),
            labels: self.table("labels", table.get("labels")),
            platforms,
            secrets: self.secrets(table.get("secrets")),
            ssh: self
                .pairs(table.get("ssh"))
                .into_iter()
                .map(|(id, path)| agent(&path.map_or(id.clone(), |path| format!("{id}={path}"))))
                .collect(),
            contexts: self.table("additional_contexts", table.get("additional_contexts")),
            cache: None,
            groups: Vec::new(),
        })
    }

    /// Texts with the defaults of variables; one that is made of a variable without a default is told and left.
    fn known(&mut self, key: &str, texts: Vec<String>) -> Vec<String> {
        let texts: Vec<String> = texts.iter().map(|text| with_defaults(text)).collect();
        for variable in texts.iter().filter_map(|text| unknown(text)) {
            self.left.of_service(key, self.name, Fate::Lost, format!("made of ${variable}, which has no default"));
        }
        texts.into_iter().filter(|text| unknown(text).is_none()).collect()
    }

    fn pairs(&self, value: Option<&Value>) -> BTreeMap<String, Option<String>> {
        value.and_then(pairs).unwrap_or_default()
    }

    /// Entries that the environment gives are left to flags.
    fn table(&mut self, key: &str, value: Option<&Value>) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        for (name, value) in self.pairs(value) {
            match value.map(|value| with_defaults(&value)).filter(|value| unknown(value).is_none()) {
                Some(value) => drop(table.insert(name, value)),
                None => {
                    let why = format!("the environment gives it: `brik build --build-arg {name}`");
                    self.left.of_service(format!("{key}: {name}"), self.name, Fate::Otherwise, why);
                }
            }
        }
        table
    }

    fn secrets(&mut self, value: Option<&Value>) -> Vec<Secret> {
        let entries = value.and_then(Value::as_array).cloned().unwrap_or_default();
        let id = |entry: &Value| text(entry).or_else(|| entry.get("source").and_then(text));
        let one = |id: String| {
            let place = self.document.get("secrets").and_then(|secrets| secrets.get(&id));
            let field = |key: &str| place.and_then(|place| place.get(key)).and_then(text).map(|text| with_defaults(&text));
            let source = field("file").map(SecretSource::File).or_else(|| field("environment").map(SecretSource::Variable));
            Secret { id, source }
        };
        entries.iter().filter_map(id).map(one).collect()
    }

    /// The image and the tags that are given to it.
    fn images(&mut self, build: &Map<String, Value>) -> (Option<ImageName>, Vec<String>) {
        let mut texts: Vec<String> = self.service.get("image").and_then(text).into_iter().collect();
        texts.extend(build.get("tags").and_then(list).unwrap_or_default());
        let (mut image, mut tags) = (None, Vec::new());
        for written in texts {
            let variables = names_in_tag(&with_marks(&written));
            let name = match variables.is_empty() {
                true => written.as_str(),
                // The tag goes first: it need not have a value.
                false => without_tag(&written),
            };
            let read = self.known("image", vec![name.to_owned()]).pop().map(|text| image_name(&text));
            let (name, tag) = match read {
                None => continue,
                Some(Err(problem)) => {
                    self.left.of_service("image", self.name, Fate::Lost, problem);
                    continue;
                }
                Some(Ok(read)) => read,
            };
            if let Some(variable) = variables.first() {
                let why = format!("made of ${variable}: brik has tags of its own, `--tags \"${variable}\"` gives others");
                self.left.of_service("tag", self.name, Fate::Otherwise, why);
            }
            if *image.get_or_insert_with(|| name.clone()) == name {
                tags.extend(tag);
            } else {
                self.left.of_service("tags", self.name, Fate::Lost, "a service is one image: these tags name several");
            }
        }
        (image, tags)
    }
}

/// `${VAR:-x}` has a `:` of its own.
fn without_tag(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => end = at,
            '/' if depth == 0 => end = text.len(),
            _ => {}
        }
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Draft;

    fn told(text: &str) -> (Vec<Found>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        for path in ["Dockerfile", "web/Dockerfile", "web/Dockerfile.dev"] {
            std::fs::create_dir_all(root.path().join("web")).unwrap();
            std::fs::write(root.path().join(path), "FROM scratch\n").unwrap();
        }
        let (found, left) = read(root.path(), "compose.yaml", text);
        (found, left.iter().map(Left::to_string).collect())
    }

    #[test]
    fn services_that_are_built_are_images() {
        let text = "
x-build: &build {args: {A: 1, B: '${B:-two}', C: '${C}', D: }}
services:
  db: {image: 'postgres:16'}
  web:
    image: ghcr.io/acme/web:${TAG:-latest}
    platform: linux/amd64
    build:
      <<: *build
      context: ./web
      dockerfile: Dockerfile.dev
      target: run
      secrets: [npm, {source: key}]
      ssh: [default]
      additional_contexts: {lib: web, app: 'service:app'}
      cache_from: [x]
      network: host
  app: {build: .}
secrets: {npm: {environment: NPM_TOKEN}, key: {file: ./key.pem}}
";
        let (found, left) = told(text);
        insta::assert_snapshot!(Draft::new(Path::new("/none"), Vec::new(), found, Vec::new(), None).document(), @r#"
        registry = "ghcr.io/acme"

        [services.app]
        context = "."

        [services.web]
        context = "web"
        dockerfile = "Dockerfile.dev"
        target = "run"
        platforms = ["linux/amd64"]
        secrets = [{ id = "npm", env = "NPM_TOKEN" }, { id = "key", file = "./key.pem" }]
        ssh = ["default"]
        args = { A = "1", B = "two" }

        # Not taken over:
        # - compose.yaml: context lib (web): web is not a directory here
        "#);
        insta::assert_snapshot!(left.join("\n"), @r#"
        compose.yaml: image only (db): there is nothing to build
        compose.yaml: cache_from (web): brik shares its own cache at <image>-cache, or where `cache` of a service says
        compose.yaml: network (web): `network` of [build] is for all services, RUN --network=none for one RUN
        compose.yaml: tag (web): made of $TAG: brik has tags of its own, `--tags "$TAG"` gives others
        compose.yaml: args: C (web): the environment gives it: `brik build --build-arg C`
        compose.yaml: args: D (web): the environment gives it: `brik build --build-arg D`
        "#);
    }

    #[test]
    fn what_cannot_be_built_is_left_with_its_reason() {
        for (text, reason) in [
            ("services: {a: {build: 'https://example.com/x.git'}}", "not a directory of the repository"),
            ("services: {a: {build: ../x}}", "outside"),
            ("services: {a: {build: /etc}}", "outside"),
            ("services: {a: {build: gone}}", "not there"),
            ("services: {a: {build: {context: '${DIR}'}}}", "$DIR, which has no default"),
            ("services: {a: {build: {dockerfile_inline: FROM x}}}", "dockerfile_inline"),
            ("services: {a: {build: {dockerfile: none}}}", "the Dockerfile none is not there"),
            ("services: {a: {extends: b}}", "extends"),
            ("services: [", "no YAML"),
            ("include: [x]", "include"),
        ] {
            let (found, left) = told(text);
            assert!(found.is_empty() && left.iter().any(|left| left.contains(reason)), "{text}: {left:?}");
        }
        for text in ["", "services: 1", "services: {a: 1, b: [], c: {build: [1]}}"] {
            let _ = told(text);
        }
    }

    #[test]
    fn a_tag_goes_before_it_is_looked_at() {
        for (text, name) in
            [("r.io/a:${T:-x}", "r.io/a"), ("${R:-r.io:5000}/a", "${R:-r.io:5000}/a"), ("r:5000/a", "r:5000/a"), ("a:1", "a")]
        {
            assert_eq!(without_tag(text), name);
        }
    }
}
