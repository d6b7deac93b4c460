//! `.gitlab-ci.yml` -> what its jobs build with Kaniko.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::call::{self, Call};
use super::found::Found;
use super::left::{Fate, Left, Leftovers};
use super::remote::Remote;
use super::values::text;
use super::{kaniko, shell, yaml};

/// Jobs that are looked at, and others that one job extends.
const MOST_JOBS: usize = 500;
const MOST_EXTENDED: usize = 16;

/// `variables` may name others, so deep; and as many are looked up for a job.
const DEEPEST: usize = 8;
const MOST_VARIABLES: usize = 10_000;

/// Keys at the top that are no jobs.
const GLOBAL: [&str; 11] =
    ["after_script", "before_script", "cache", "default", "image", "include", "services", "spec", "stages", "variables", "workflow"];

/// What the jobs of a file build, and what was left; nothing of a file without Kaniko.
pub(super) fn read(root: &Path, file: &str, source: &str, remote: Option<&Remote>) -> (Vec<Found>, Vec<Left>) {
    let mut left = Leftovers::of(file);
    if !source.to_ascii_lowercase().contains("kaniko") {
        return (Vec::new(), left.into_vec());
    }
    let Some(document) = left.sound(source, yaml::parse(source)) else { return (Vec::new(), left.into_vec()) };
    let none = Map::new();
    let entries = document.as_object().unwrap_or(&none);
    let names: Vec<&String> = entries.keys().filter(|name| !name.starts_with('.') && !GLOBAL.contains(&name.as_str())).collect();
    if names.len() > MOST_JOBS {
        left.of_file("", Fate::Lost, format!("only {MOST_JOBS} of its jobs are looked at"));
    }
    let mut found = Vec::new();
    for name in names.into_iter().take(MOST_JOBS) {
        let job = extended(entries, name);
        let variables = Variables { job: &job, document: &document, remote, left: Cell::new(MOST_VARIABLES) };
        let values = |name: &str| variables.value(name, DEEPEST);
        let script = script_of(&job, &document);
        let executions = kaniko::executions(&script, &values);
        if executions.is_empty() && (kaniko::is_named(&Value::String(script)) || job.get("image").is_some_and(kaniko::is_named)) {
            left.of_file(format!("job {name:?}"), Fate::Lost, kaniko::NOT_UNDERSTOOD);
        }
        for execution in executions {
            let call = Call { root, file, job: name, directory: &execution.directory, metadata: &|_| None };
            if let Some(image) = call.found(&execution.inputs, &mut left) {
                call::add(image, &mut found);
            }
        }
    }
    (found, left.into_vec())
}

/// A job over those that it extends, the last named strongest; tables are merged.
fn extended(entries: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let (mut chain, mut seen, mut pending) = (Vec::new(), BTreeSet::new(), vec![name.to_owned()]);
    while let Some(name) = pending.pop() {
        let Some(Value::Object(job)) = entries.get(&name).filter(|_| chain.len() < MOST_EXTENDED && seen.insert(name.clone())) else {
            continue;
        };
        chain.push(job);
        pending.extend(job.get("extends").and_then(super::values::list).unwrap_or_default());
    }
    let mut merged = Map::new();
    for job in chain.into_iter().rev() {
        for (key, value) in job {
            match (merged.get_mut(key), value) {
                (Some(Value::Object(below)), Value::Object(above)) => below.extend(above.clone()),
                _ => drop(merged.insert(key.clone(), value.clone())),
            }
        }
    }
    merged
}

/// `before_script` and `script` as one.
fn script_of(job: &Map<String, Value>, document: &Value) -> String {
    let of_all = || document.get("default").and_then(|default| default.get("before_script")).or_else(|| document.get("before_script"));
    let mut script = String::new();
    lines(job.get("before_script").or_else(of_all), &mut script);
    lines(job.get("script"), &mut script);
    script
}

/// Lines may stand in lists within each other.
fn lines(value: Option<&Value>, script: &mut String) {
    match value {
        Some(Value::Array(items)) => items.iter().for_each(|item| lines(Some(item), script)),
        other => script.extend(other.and_then(text).map(|line| line + "\n")),
    }
}

struct Variables<'a> {
    job: &'a Map<String, Value>,
    document: &'a Value,
    remote: Option<&'a Remote>,
    /// How many may still be looked up.
    left: Cell<usize>,
}

impl Variables<'_> {
    /// One of the file, or what GitLab sets. `None` where only GitLab knows.
    fn value(&self, name: &str, deepest: usize) -> Option<String> {
        self.left.set(self.left.get().checked_sub(1)?);
        let places = [self.job.get("variables"), self.document.get("variables")];
        let written = places.into_iter().flatten().find_map(|variables| {
            let value = variables.get(name)?;
            text(value.get("value").unwrap_or(value))
        });
        if let Some(written) = written {
            let deepest = deepest.checked_sub(1)?;
            return Some(shell::expand(&written, &|name| self.value(name, deepest)));
        }
        let on_gitlab = || self.remote.filter(|remote| remote.host == "gitlab.com");
        match name {
            "CI_PROJECT_DIR" | "PWD" => Some(".".to_owned()),
            "CI_PROJECT_NAME" => self.remote.map(|remote| remote.repository().to_owned()),
            "CI_PROJECT_PATH" => self.remote.map(|remote| remote.path.clone()),
            "CI_REGISTRY" => on_gitlab().map(|_| "registry.gitlab.com".to_owned()),
            "CI_REGISTRY_IMAGE" => on_gitlab().and_then(Remote::registry),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::import::Draft;

    fn told(text: &str, dockerfiles: &[&str], remote: &str) -> (String, String) {
        let root = tempfile::tempdir().unwrap();
        for dockerfile in dockerfiles {
            let path = root.path().join(dockerfile);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "FROM scratch\n").unwrap();
        }
        let (found, left) = read(root.path(), ".gitlab-ci.yml", text, Remote::parse(remote).as_ref());
        let left: Vec<String> = left.iter().map(Left::to_string).collect();
        (Draft::new(root.path(), Vec::new(), found, Vec::new(), None).document(), left.join("\n"))
    }

    const USUAL: &str = r#"
stages: [build]
build:
  stage: build
  image: {name: "gcr.io/kaniko-project/executor:debug", entrypoint: [""]}
  script:
    - mkdir -p /kaniko/.docker
    - echo "{\"auths\":{\"${CI_REGISTRY}\":{\"auth\":\"$(printf "%s:%s" "${CI_REGISTRY_USER}" "${CI_REGISTRY_PASSWORD}" | base64)\"}}}" > /kaniko/.docker/config.json
    - >-
      /kaniko/executor
      --context "${CI_PROJECT_DIR}"
      --dockerfile "${CI_PROJECT_DIR}/Dockerfile"
      --destination "${CI_REGISTRY_IMAGE}:${CI_COMMIT_TAG}"
  rules: [{if: $CI_COMMIT_TAG}]
"#;

    #[test]
    fn the_usual_job_is_an_image() {
        let (document, left) = told(USUAL, &["Dockerfile"], "https://gitlab.com/acme/shop.git");
        insta::assert_snapshot!(document, @r#"
        registry = "registry.gitlab.com/acme"

        [services.shop]
        context = "."
        "#);
        insta::assert_snapshot!(left, @".gitlab-ci.yml: a tag (build): it depends on CI_COMMIT_TAG; brik has templates and metadata-action's `type=` lines for `tags`");
        let (document, left) = told(USUAL, &["Dockerfile"], "https://git.example.com/acme/shop.git");
        assert!(document.ends_with("\n[services.build]\ncontext = \".\"\n"), "{document}");
        assert_eq!(left, ".gitlab-ci.yml: image (build): its name depends on CI_REGISTRY_IMAGE");
    }

    #[test]
    fn jobs_have_the_variables_and_scripts_of_those_that_they_extend() {
        let text = r"
variables: {HUB: {value: ghcr.io/acme, description: x}, IMAGE: $HUB/$NAME}
.kaniko:
  variables: {DIR: services}
  script: [[/kaniko/executor -c $CI_PROJECT_DIR/$DIR/$NAME -d $IMAGE:v1 -d $IMAGE:$CI_COMMIT_SHA --build-arg WHO=$WHO]]
api: {extends: .kaniko, variables: {NAME: api}}
api-again: {extends: [.kaniko], variables: {NAME: api}}
web: {extends: .kaniko, variables: {NAME: web, WHO: me}}
other: {extends: .kaniko, variables: {NAME: $OTHER}}
odd: {image: 'gcr.io/kaniko-project/executor:debug', script: [./build.sh]}
loop: {extends: loop}
";
        let (document, left) = told(text, &["services/api/Dockerfile", "services/web/Dockerfile"], "git@gitlab.com:acme/shop.git");
        insta::assert_snapshot!(document, @r#"
        registry = "ghcr.io/acme"
        members = ["services/*"]
        tags = ["v1", "{sha_long}"]

        [services.web]
        args = { WHO = "me" }
        "#);
        insta::assert_snapshot!(left, @r#"
        .gitlab-ci.yml: build arg WHO (api): it depends on WHO
        .gitlab-ci.yml: job "other": where it is built depends on OTHER
        .gitlab-ci.yml: job "odd": it calls Kaniko in a way that is not understood
        "#);
    }

    #[test]
    fn a_file_without_kaniko_says_nothing() {
        assert_eq!(told("build: {script: [docker build .]}", &[], "").1, "");
        assert!(told("kaniko: [", &[], "").1.contains("it is no YAML"));
        for text in ["kaniko", "[kaniko]", "a: kaniko", "a: {script: {kaniko: 1}}", "a: {extends: {kaniko: 1}, script: kaniko}"] {
            assert_eq!(told(text, &[], "").1, "", "{text}");
        }
    }
}
