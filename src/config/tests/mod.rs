//! The room as a whole: files in, `Config` or findings out.

mod findings;
mod layers;
mod paths;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::schema::{Shape, shape};
use super::*;
use crate::source::Disk;

/// A repository on disk with a brik.toml and a Dockerfile in each of some directories.
struct Repository {
    _directory: tempfile::TempDir,
    root: std::path::PathBuf,
    options: LoadOptions,
}

impl Repository {
    fn new(toml: &str, dockerfiles: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Below a directory of its own, so that `..` is empty too.
        let root = directory.path().canonicalize().unwrap().join("repository");
        let this = Self { _directory: directory, options: LoadOptions { cwd: root.clone(), ..LoadOptions::default() }, root };
        this.write(".git/HEAD", "");
        this.write("brik.toml", toml);
        dockerfiles.iter().for_each(|path| this.write(&format!("{path}/Dockerfile"), "FROM scratch\n"));
        this
    }

    fn path(&self) -> &Path {
        &self.options.cwd
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.options.env.extend(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    fn set(mut self, assignments: &[&str]) -> Self {
        self.options.set.extend(assignments.iter().map(|&text| text.to_owned()));
        self
    }

    fn load(&self) -> Config {
        load(&self.options, &Disk).unwrap_or_else(|findings| panic!("{findings:#?}"))
    }

    fn findings(&self) -> Vec<Finding> {
        load(&self.options, &Disk).map(|config| config.warnings).unwrap_or_else(|findings| findings.0)
    }

    /// `code|source|labelled bytes`, without the code's room.
    fn labels(&self) -> Vec<String> {
        let label = |finding: Finding| {
            let code = finding.code.trim_start_matches("brik::config::").to_owned();
            let place = finding.location.map(|at| format!("{}|{}", at.source.name, &at.source.text[at.span]));
            format!("{code}|{}", place.unwrap_or_default())
        };
        self.findings().into_iter().map(label).collect()
    }
}

fn names(map: &BTreeMap<String, Service>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

const DESIGN: &str = r#"
registry  = "ghcr.io/brikbyte-studios"      # image = <registry>/<service>, cache = <image>-cache
members   = ["services/*"]                   # every directory with a Dockerfile is a service (Cargo-style)
platforms = ["linux/amd64"]
tags      = ["sha-{sha}", "v{version}"]      # a template whose variable has no value here is skipped

[policy]
extends = "brikbyte"                         # sha tag required, vX.Y.Z on release, no latest, non-root, multi-stage

[services.java-api]
image = "example-java-api"                   # relative to `registry`; a full reference stands as it is
args  = { JAVA_VERSION = "21" }
cache = "ghcr.io/brikbyte-studios/cache/java-api"   # or false, or { repo = "…", enabled = true }

[services.worker]                            # a second image from the same directory
context    = "services/node-api"
dockerfile = "services/node-api/Dockerfile.worker"
secrets    = ["npm_token"]                   # RUN --mount=type=secret,id=npm_token, from $NPM_TOKEN

[registries."docker.io"]
mirror   = "127.0.0.1:5000"
insecure = true
"#;

#[test]
fn the_design_s_example_loads_as_it_is() {
    let repository = Repository::new(DESIGN, &["services/java-api", "services/node-api", "services/python-api"]);
    repository.write("services/node-api/Dockerfile.worker", "FROM scratch\n");
    repository.write("services/notes/README.md", "no Dockerfile, no service");
    let config = repository.load();
    assert_eq!(names(&config.services), ["java-api", "node-api", "python-api", "worker"]);
    let java = &config.services["java-api"];
    assert_eq!(java.image.to_string(), "ghcr.io/brikbyte-studios/example-java-api");
    assert_eq!(java.args["JAVA_VERSION"], "21");
    assert_eq!(java.cache.as_ref().unwrap().to_string(), "ghcr.io/brikbyte-studios/cache/java-api");
    let node = &config.services["node-api"];
    assert_eq!(node.cache.as_ref().unwrap().to_string(), "ghcr.io/brikbyte-studios/node-api-cache");
    assert_eq!(&node.location.source.text[node.location.span.clone()], "\"services/*\"");
    let worker = &config.services["worker"];
    assert_eq!(worker.context, repository.path().join("services/node-api"));
    assert_eq!(worker.dockerfile, repository.path().join("services/node-api/Dockerfile.worker"));
    let secret = worker.secrets.iter().map(|secret| (secret.id.as_str(), &secret.source, secret.origin.as_str()));
    assert!(secret.eq([("npm_token", &SecretSource::Variable("NPM_TOKEN".into()), "variable NPM_TOKEN")]));
    assert_eq!(&worker.location.source.text[worker.location.span.clone()], "worker");
    assert_eq!(config.policy.and_then(|policy| policy.preset), Some(Preset::Brikbyte));
    let docker = RegistryOptions { mirror: Some("127.0.0.1:5000".into()), insecure: true, ca: None };
    assert_eq!(config.registries["docker.io"], docker);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_example_file_loads_and_shows_every_key_of_the_schema() {
    let example = std::fs::read_to_string("brik.toml.example").unwrap();
    let repository = Repository::new(&example, &["services/api", "services/codegen", "services/attic"]);
    repository.write("services/api/Dockerfile.worker", "FROM scratch\n");
    repository.write("packages/shared/x", "");
    repository.write("vendor/base/oci-layout", "");
    let config = repository.load();
    assert_eq!(names(&config.services), ["api", "codegen", "worker"]);
    assert_eq!(config.services["worker"].contexts["api"], NamedContext::Service("api".into()));

    fn missing(shape: &Shape, node: &document::Node, path: &str, out: &mut Vec<String>) {
        let document::Value::Table(entries) = &node.value else { return };
        let Some(table) = &shape.table else { return };
        for (key, below) in &table.keys {
            match entries.get(key) {
                Some(entry) => missing(below, &entry.node, &format!("{path}{key}."), out),
                None => out.push(format!("{path}{key}")),
            }
        }
        if let Some((_, below)) = &table.others {
            let mut lacks: Vec<Vec<String>> = Vec::new();
            for entry in entries.values() {
                let mut here = Vec::new();
                missing(below, &entry.node, &format!("{path}*."), &mut here);
                lacks.push(here);
            }
            // Together the tables show every key.
            let first = lacks.pop().unwrap_or_default();
            out.extend(first.into_iter().filter(|key| lacks.iter().all(|other| other.contains(key))));
        }
    }
    let document = document::Node { span: 0..0, value: document::Value::Table(document::parse(&example).unwrap()) };
    let mut lacks = Vec::new();
    missing(shape(), &document, "", &mut lacks);
    assert!(lacks.is_empty(), "brik.toml.example lacks {lacks:?}");
}

#[test]
fn images_and_caches_are_qualified_by_the_registry() {
    for (registry, table, image, cache) in [
        ("ghcr.io/org", "", "ghcr.io/org/api", Some("ghcr.io/org/api-cache")),
        ("ghcr.io", "", "ghcr.io/api", Some("ghcr.io/api-cache")),
        ("org", "", "docker.io/org/api", Some("docker.io/org/api-cache")),
        ("ghcr.io/org", "image = 'team/x'", "ghcr.io/org/team/x", Some("ghcr.io/org/team/x-cache")),
        ("ghcr.io/org", "image = 'a.b'", "ghcr.io/org/a.b", Some("ghcr.io/org/a.b-cache")),
        ("ghcr.io/org", "image = 'localhost/x'", "localhost/x", Some("localhost/x-cache")),
        ("ghcr.io/org", "image = 'q.io:1/x'", "q.io:1/x", Some("q.io:1/x-cache")),
        ("ghcr.io/org", "cache = 'shared'", "ghcr.io/org/api", Some("ghcr.io/org/shared")),
        ("ghcr.io/org", "cache = false", "ghcr.io/org/api", None),
        ("ghcr.io/org", "cache = true", "ghcr.io/org/api", Some("ghcr.io/org/api-cache")),
        ("ghcr.io/org", "cache = { repo = 'c.io/x', enabled = false }", "ghcr.io/org/api", None),
        ("ghcr.io/org", "cache = { repo = 'c.io/x' }", "ghcr.io/org/api", Some("c.io/x")),
    ] {
        let toml = format!("registry = '{registry}'\nmembers = ['s/*']\n[services.api]\n{table}");
        let config = Repository::new(&toml, &["s/api"]).load();
        let api = &config.services["api"];
        assert_eq!(api.image.to_string(), image, "{toml}");
        assert_eq!(api.cache.as_ref().map(ToString::to_string).as_deref(), cache, "{toml}");
    }
}

#[test]
fn two_hundred_services_load_in_a_blink() {
    let mut toml = String::from("registry = 'ghcr.io/org'\nmembers = ['services/*']\n");
    let directories: Vec<String> = (0..200).map(|i| format!("services/s{i}")).collect();
    for i in 0..200 {
        toml += &format!(
            "[services.s{i}]\nargs = {{ N = {i} }}\nsecrets = ['a', 'b']\ntags = ['sha-{{sha}}']\nneeds = ['s{}']\n",
            (i + 1) % 200
        );
    }
    let repository = Repository::new(&toml, &directories.iter().map(String::as_str).collect::<Vec<_>>());
    let best = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(repository.load().services.len(), 200);
        start.elapsed()
    });
    let best = best.min().unwrap();
    // 20 ms is the promise of an optimised build; one without optimisation only shows that nothing is quadratic.
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 20 });
    assert!(best < limit, "{best:?}");
}
