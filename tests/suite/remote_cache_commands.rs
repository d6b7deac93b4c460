//! `brik cache … --remote`: what stands in cache repositories, whether it is whole, and what of it is of use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Brik, PASSWORD, Project, Proxy, Registry, Run, USER, proxy};

/// Two services, and a registry of their own, which is spoken to as `host`.
struct Monorepo<'r> {
    registry: &'r Registry,
    project: Project,
}

const DOCKERFILE: &str = "FROM BASE AS make\nCOPY packages .\nRUN cp packages /installed\nCOPY src src\nRUN wc -c < src > /made\n\
    FROM BASE\nRUN echo runtime > /runtime\nCOPY --from=make /made /made\n";
/// Of service b.
const SOURCE: &str = "the source of b\n";
/// Steps of one service: six by their definition, and those that work on what another made by their content.
const STEPS: usize = 6 + 4;

impl<'r> Monorepo<'r> {
    fn new(registry: &'r Registry, host: &str) -> Self {
        let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
        let name = format!("{}/base", registry.host());
        let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
        let toml = format!("registry = \"{host}/team\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n");
        let project = Project::empty().file("brik.toml", toml);
        for (name, source) in [("a", "a\n"), ("b", SOURCE)] {
            project.write(&format!("services/{name}/Dockerfile"), DOCKERFILE.replace("BASE", &format!("{host}/base:1")));
            project.write(&format!("services/{name}/packages"), format!("packages of {name}\n"));
            project.write(&format!("services/{name}/src"), source);
        }
        Self { registry, project }
    }

    fn pushed(registry: &'r Registry) -> Self {
        let monorepo = Self::new(registry, registry.host());
        let _ = monorepo.push("first").succeeds();
        monorepo
    }

    /// A push from the store of this name.
    fn push(&self, store: &str) -> Brik {
        let push = self.project.brik(["build", "--push", "--progress", "json"]).store(&self.project.beside(store));
        push.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER)
    }

    /// A subcommand of `brik cache` with `--remote`, from an empty store.
    fn cache(&self, args: &[&str]) -> Brik {
        self.project.brik(["cache"]).args(args).args(["--remote"]).store(&self.project.beside("looking"))
    }

    /// What it says in JSON, whatever its exit code.
    #[track_caller]
    fn json(&self, args: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.cache(args).args(["--format", "json"]).exits(code).stdout).unwrap()
    }

    fn tags(&self, name: &str) -> Vec<String> {
        self.registry.tags(&format!("team/{name}-cache"))
    }

    /// Where the registry has the tags of a service's cache.
    fn tag(&self, name: &str, tag: &str) -> PathBuf {
        self.registry.data().join(format!("docker/registry/v2/repositories/team/{name}-cache/_manifests/tags")).join(tag)
    }

    /// The tag that moves.
    fn last(&self, name: &str) -> String {
        self.tags(name).into_iter().find(|tag| tag.starts_with("last-")).expect("an image was given")
    }

    /// Gives what stands under a tag another one.
    fn retag(&self, name: &str, tag: &str, other: &str) {
        let current = self.tag(name, other).join("current");
        fs::create_dir_all(&current).unwrap();
        fs::copy(self.tag(name, tag).join("current/link"), current.join("link")).unwrap();
    }

    /// Where the registry has the bytes of a blob or manifest.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The manifest under a tag of a service's cache.
    fn manifest(&self, name: &str, tag: &str) -> Value {
        let path = format!("/v2/team/{name}-cache/manifests/{tag}");
        serde_json::from_slice(&proxy::ask(self.registry.host(), "GET", &path).body).unwrap()
    }

    /// The line of the Step of service b with this text, under the key of its definition or its content.
    fn line(&self, what: &str) -> Value {
        let lines = self.json(&["ls", "b"], 0);
        lines.as_array().unwrap().iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("{what}: {lines:#}")).clone()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

fn removed(pruned: &Value, repository: usize) -> usize {
    pruned["repositories"][repository]["removed"].as_array().unwrap().len()
}

#[test]
fn the_entries_of_cache_repositories_are_told_and_measured() {
    let registry = Registry::start();
    let monorepo = Monorepo::pushed(&registry);
    monorepo.retag("a", &monorepo.last("a"), "somebodys");
    let lines = monorepo.json(&["ls", "a"], 0);
    let lines = lines.as_array().unwrap();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("step").len(), of("image").len(), of("trail").len()), (STEPS, 1, 1), "{lines:#?}");
    // Nothing is left out, but what somebody else has put there.
    let tags = monorepo.tags("a").len() - 1;
    assert_eq!(lines.len(), tags);
    let run = lines.iter().find(|line| line["what"] == "RUN cp packages /installed").expect("the Step");
    assert!(text(&run["platform"]).starts_with("linux/") && text(&run["digest"]).starts_with("sha256:"), "{run}");
    assert_eq!(run["bytes"], monorepo.manifest("a", text(&run["tag"]))["layers"][0]["size"]);
    assert_eq!(of("image")[0]["platform"], of("trail")[0]["platform"]);
    let human = monorepo.cache(&["ls"]).succeeds().stdout;
    assert!(human.contains(&format!("/team/a-cache: {tags} entries\n")) && human.contains("  RUN cp packages /installed\n"), "{human}");

    // Every blob and manifest that tags of brik lead to, once.
    let mut blobs = BTreeMap::new();
    for tag in monorepo.tags("a").iter().filter(|tag| *tag != "somebodys") {
        let manifest = monorepo.manifest("a", tag);
        for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            blobs.insert(text(&blob["digest"]).to_owned(), blob["size"].as_u64().unwrap());
        }
        let link = fs::read_to_string(monorepo.tag("a", tag).join("current/link")).unwrap();
        let size = fs::metadata(monorepo.blob(&link)).unwrap().len();
        blobs.insert(link, size);
    }
    let usage = monorepo.json(&["du"], 0);
    let a = &usage["repositories"][0];
    assert_eq!((&a["blobs"], &a["bytes"]), (&blobs.len().into(), &blobs.values().sum::<u64>().into()), "{usage:#}");
    assert_eq!((&a["entries"]["image"], &a["entries"]["step"]), (&1.into(), &STEPS.into()), "{usage:#}");
    let sum: u64 = usage["repositories"].as_array().unwrap().iter().map(|share| share["bytes"].as_u64().unwrap()).sum();
    assert!(usage["total"]["bytes"].as_u64().unwrap() < sum, "both have some blobs: {usage:#}");
}

#[test]
fn prune_leaves_what_the_last_images_and_the_next_build_are_made_of() {
    let registry = Registry::start();
    let monorepo = Monorepo::pushed(&registry);
    let before = monorepo.tags("b");
    let nothing = monorepo.json(&["prune"], 0);
    assert_eq!((removed(&nothing, 0), removed(&nothing, 1)), (0, 0), "{nothing:#}");
    assert_eq!(monorepo.tags("b"), before);

    // What is given last is not what this checkout would build: both stay.
    monorepo.project.write("services/b/src", "a longer source of b\n");
    let changed = monorepo.push("first").succeeds();
    monorepo.project.write("services/b/src", SOURCE);
    let nothing = monorepo.json(&["prune"], 0);
    assert_eq!((removed(&nothing, 0), removed(&nothing, 1)), (0, 0), "{nothing:#}");

    // Here is what was given last, and the first state is nobody's any more.
    monorepo.project.write("services/b/src", "a longer source of b\n");
    let old = monorepo.tags("b");
    let dry = monorepo.json(&["prune", "--dry-run"], 0);
    assert_eq!(monorepo.tags("b"), old, "a dry run removes nothing");
    let pruned = monorepo.json(&["prune"], 0);
    assert_eq!(pruned["repositories"], dry["repositories"]);
    // The image, and three Steps: the COPY of the source, the RUN that counts it, and what copies that.
    assert_eq!(removed(&pruned, 0), 0, "{pruned:#}");
    assert!(removed(&pruned, 1) > 3, "{pruned:#}");
    assert_eq!(monorepo.tags("b").len(), old.len() - removed(&pruned, 1));
    assert!(pruned["repositories"][1]["bytes"].as_u64().unwrap() > 0);
    let again = monorepo.json(&["prune"], 0);
    assert_eq!(removed(&again, 1), 0, "{again:#}");

    let fresh = monorepo.push("fresh").succeeds();
    assert_eq!((fresh.steps_run().len(), fresh.digests()), (0, changed.digests()));
    // The Steps are there, too, and not only the image.
    monorepo.project.write("services/b/src", "another\n");
    assert_eq!(monorepo.push("fresher").succeeds().steps_run().len(), 3);
}

#[test]
fn prune_keeps_what_builds_of_other_commits_ask_for() {
    let registry = Registry::start();
    let monorepo = Monorepo::new(&registry, registry.host());
    let project = &monorepo.project;
    project.git(["init", "--quiet", "--initial-branch=main"]);
    let commit = |message: &str| {
        project.git(["add", "--all"]);
        project.git(["commit", "--quiet", "--message", message]);
    };
    commit("first");
    let _ = monorepo.push("first").succeeds();
    project.git(["branch", "release"]);
    project.write("services/b/src", "a longer source of b\n");
    commit("second");
    let _ = monorepo.push("first").succeeds();
    let kept = monorepo.json(&["prune", "--dry-run", "--keep", "release"], 0);
    assert_eq!(removed(&kept, 1), 0, "{kept:#}");
    assert!(removed(&monorepo.json(&["prune", "--dry-run"], 0), 1) > 3);
    let _ = monorepo.cache(&["prune", "--keep", "nowhere"]).exits(2);
}

#[test]
fn what_is_not_briks_is_never_touched() {
    let registry = Registry::start();
    let monorepo = Monorepo::pushed(&registry);
    let first = monorepo.line("RUN wc -c < src > /made");
    let key = "0123456789abcdef".repeat(4);
    // Somebody's own name for a Step that is going to be of no use, and an image under a tag that looks like an entry's.
    monorepo.retag("b", text(&first["tag"]), "somebodys");
    let image = format!("{}/team/b-cache", registry.host());
    let push = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let _ = push.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", &format!("x-{key},i-{key}")]).succeeds();
    monorepo.project.write("services/b/src", "a longer source of b\n");
    let _ = monorepo.push("first").succeeds();
    let pruned = monorepo.json(&["prune"], 0);
    let gone = pruned["repositories"][1]["removed"].as_array().unwrap();
    assert!(!gone.is_empty() && gone.iter().all(|gone| gone["digest"] != first["digest"]), "{pruned:#}");
    let tags = monorepo.tags("b");
    for tag in ["somebodys", text(&first["tag"]), &format!("x-{key}"), &format!("i-{key}")] {
        assert!(tags.iter().any(|there| there == tag), "{tag}: {tags:?}");
    }
    let _ = monorepo.cache(&["verify"]).succeeds();
}

#[test]
fn entries_that_are_not_whole_are_found_and_removed_and_made_anew() {
    let registry = Registry::start();
    let monorepo = Monorepo::pushed(&registry);
    let whole = monorepo.push("first").succeeds();
    let layer = |what: &str| text(&monorepo.manifest("b", text(&monorepo.line(what)["tag"]))["layers"][0]["digest"]).to_owned();
    let _ = monorepo.cache(&["verify", "--deep"]).succeeds();

    flip(&monorepo.blob(&layer("COPY /made /made")));
    let _ = monorepo.cache(&["verify"]).succeeds();
    let dry = monorepo.json(&["verify", "--deep", "--dry-run"], 3);
    // Under both of its keys, and with it the image.
    let broken =
        |found: &Value| found["broken"].as_array().unwrap().iter().map(|broken| text(&broken["what"]).to_owned()).collect::<Vec<_>>();
    assert_eq!(broken(&dry).len(), 3, "{dry:#}");
    assert_eq!(broken(&dry).iter().filter(|what| *what == "COPY /made /made").count(), 2, "{dry:#}");
    assert_eq!(broken(&monorepo.json(&["verify", "--deep"], 3)), broken(&dry));
    let _ = monorepo.cache(&["verify", "--deep"]).succeeds();

    fs::remove_file(monorepo.blob(&layer("RUN cp packages /installed"))).unwrap();
    let said = monorepo.cache(&["verify", "b"]).exits(3).stdout;
    assert!(said.contains("is not there; RUN cp packages /installed\n") && said.contains("they were removed"), "{said}");

    let damaged = text(&monorepo.line("COPY src /src")["digest"]).to_owned();
    // Such that the registry can read it still: it serves nothing else.
    let manifest = fs::read_to_string(monorepo.blob(&damaged)).unwrap();
    fs::write(monorepo.blob(&damaged), manifest.replace("dev.brik.record", "dev.brik.recorD")).unwrap();
    let found = monorepo.json(&["verify", "b"], 3);
    assert!(found["broken"].as_array().unwrap().iter().all(|broken| broken["digest"] == damaged.as_str()), "{found:#}");
    let _ = monorepo.cache(&["verify"]).succeeds();

    let fresh = monorepo.push("fresh").succeeds();
    assert_eq!(fresh.digests(), whole.digests());
    assert!(!fresh.steps_run().is_empty());
}

#[test]
fn on_ghcr_everybody_may_look_and_deletes_are_refused_with_the_reason() {
    let registry = Registry::start();
    let proxy = Proxy::ghcr(&registry);
    let monorepo = Monorepo::new(&registry, proxy.host());
    let _ = monorepo.push("first").succeeds();
    let entries = monorepo.tags("a").len();
    // More than a page of them.
    let last = monorepo.last("a");
    for number in 0..1100 {
        monorepo.retag("a", &last, &format!("people-{number:04}"));
    }
    assert_eq!(monorepo.json(&["ls", "a"], 0).as_array().unwrap().len(), entries);
    assert_eq!(monorepo.json(&["du"], 0)["total"]["entries"]["image"], 2);
    let _ = monorepo.cache(&["verify", "--deep"]).succeeds();

    monorepo.project.write("services/b/src", "a longer source of b\n");
    let _ = monorepo.push("first").succeeds();
    let before = monorepo.tags("b");
    let may_write = |args: &[&str]| monorepo.cache(args).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER);
    let refused = |run: &Run| run.says(&["the registry allows no deletes (status 405: UNSUPPORTED"]);
    let _ = may_write(&["prune", "--dry-run"]).succeeds();
    refused(&may_write(&["prune"]).exits(1));
    monorepo.cache(&["prune"]).exits(1).says(&["with no credentials"]);

    let layer = text(&monorepo.manifest("b", text(&monorepo.line("RUN cp packages /installed")["tag"]))["layers"][0]["digest"]).to_owned();
    fs::remove_file(monorepo.blob(&layer)).unwrap();
    let found = may_write(&["verify", "b"]).exits(3);
    refused(&found);
    assert!(found.stdout.contains("not all could be removed"), "{}", found.stdout);
    assert_eq!(monorepo.tags("b"), before);
}

#[test]
fn repositories_can_be_named_and_those_that_nobody_uses_are_not_emptied() {
    let registry = Registry::start();
    let monorepo = Monorepo::pushed(&registry);
    let name = |repository: &str| format!("--repository={}/team/{repository}", registry.host());
    let lines = monorepo.json(&["ls", &name("a-cache"), &name("b-cache"), &name("a-cache")], 0);
    assert_eq!(lines.as_array().unwrap().len(), monorepo.tags("a").len() + monorepo.tags("b").len());
    assert_eq!(monorepo.json(&["ls", &name("nothing")], 0), serde_json::json!([]));
    let _ = monorepo.cache(&["ls", &name("a-cache:tag")]).exits(2);
    let _ = monorepo.cache(&["ls", "nobody"]).exits(2);
    let _ = monorepo.cache(&["prune", "--keep-storage", "1GiB"]).exits(2);
    let _ = monorepo.project.brik(["cache", "ls", "a"]).exits(2);

    // A cache repository without an image, of another monorepo.
    let copy = registry.data().join("docker/registry/v2/repositories/team");
    let copied = std::process::Command::new("cp").arg("-r").args([copy.join("a-cache"), copy.join("elsewhere")]).status().unwrap();
    assert!(copied.success());
    let trail = registry.tags("team/elsewhere").into_iter().find(|tag| tag.starts_with("last-")).unwrap();
    fs::remove_dir_all(copy.join("elsewhere/_manifests/tags").join(trail)).unwrap();
    monorepo.cache(&["prune", &name("elsewhere")]).exits(1).says(&["nothing says what of"]);
    assert_eq!(registry.tags("team/elsewhere").len(), monorepo.tags("a").len() - 1);
}
