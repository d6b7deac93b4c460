//! brik.lock: what tags are held to, whatever becomes of them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{Project, Registry, Run};

/// A monorepo with brik.toml, and the registry of its bases, which nobody else uses.
struct Monorepo {
    registry: Registry,
    project: Project,
}

/// An image of one file.
const BASE: &str = "FROM scratch\nCOPY file /file\n";

impl Monorepo {
    fn new(toml: &str) -> Self {
        let registry = Registry::start();
        let project = Project::monorepo(&format!("members = [\"*\"]\ntags = [\"v1\"]\n{toml}"));
        Self { registry, project }
    }

    /// With the service `app`, which is its base with a variable set: no Step, no layer.
    fn with_app() -> Self {
        let monorepo = Self::new("");
        monorepo.push("base:1", "one", &[]);
        monorepo.service("app", "FROM HOST/base:1\nENV A=1\n");
        monorepo
    }

    /// `HOST` in a Dockerfile is the registry.
    fn service(&self, name: &str, dockerfile: &str) {
        self.project.write(&format!("{name}/Dockerfile"), dockerfile.replace("HOST", self.registry.host()));
    }

    /// Pushes a base with `content` in its `/file`: the digest of its index, or of its manifest where there is one platform.
    fn push(&self, name: &str, content: &str, platforms: &[&str]) -> String {
        let base = Project::dockerfile(BASE).file("file", content);
        let image = format!("{}/{name}", self.registry.host());
        let platforms: Vec<String> = platforms.iter().map(|platform| format!("--platform={platform}")).collect();
        let run = base.brik(["build", "--push", "--image", &image]).args(&platforms).succeeds();
        run.digests().swap_remove(0)
    }

    fn lock_text(&self) -> String {
        fs::read_to_string(self.project.path("brik.lock")).expect("there is a brik.lock")
    }

    /// The names in the lock, without the registry.
    fn locked(&self) -> Vec<String> {
        let text = self.lock_text();
        let names = text.lines().filter_map(|line| line.strip_prefix("[base.\"")?.strip_suffix("\"]"));
        names.map(|name| name.replace(&format!("{}/", self.registry.host()), "")).collect()
    }

    /// Builds `app` and reads its `/file`.
    #[track_caller]
    fn built(&self, args: &[&str]) -> (Run, String) {
        let out = format!("oci:{}", self.project.out().display());
        let run = self.project.brik(["build", "app", "--progress", "json", "--output", &out]).args(args).succeeds();
        (run, self.project.built().text("/file"))
    }

    /// Requests about tags of the bases since there were `before`.
    fn asked_for_tags(&self, before: usize) -> Vec<String> {
        let by_tag = |request: &String| request.contains("/manifests/") && !request.contains("/manifests/sha256:");
        self.registry.requests().into_iter().skip(before).filter(by_tag).collect()
    }

    /// What is told, with the registry and digests by their names.
    fn told(&self, text: &str, digests: &[(&str, &str)]) -> String {
        let mut text = text.replace(self.registry.host(), "HOST");
        for (digest, name) in digests {
            let hex = digest.strip_prefix("sha256:").expect("a digest");
            text = text.replace(digest, name).replace(&hex[..12], name);
        }
        let day = day_in(&text);
        day.map_or(text.clone(), |day| text.replace(&day, "DAY"))
    }
}

/// The first `2026-11-22` in a text.
fn day_in(text: &str) -> Option<String> {
    let day = |word: &str| {
        word.len() == 10 && word.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
    };
    text.split(|c: char| c.is_whitespace() || c == '"').find(|word| day(word)).map(str::to_owned)
}

#[test]
fn a_tag_that_moves_leads_a_locked_build_where_it_led_until_it_is_updated() {
    let monorepo = Monorepo::with_app();
    let one = monorepo.push("base:1", "one", &[]);
    let brik = |args: &[&str]| monorepo.project.brik(args);
    let locked = brik(&["lock"]).succeeds();
    assert_eq!(monorepo.told(&locked.stdout, &[(&one, "ONE")]), "added  HOST/base:1  ONE  app\nbrik.lock: 1 base, 1 changed\n");
    assert_eq!(brik(&["outdated"]).succeeds().stdout, "1 base, 0 outdated\n");

    let two = monorepo.push("base:1", "two", &[]);
    let before = monorepo.registry.requests().len();
    assert_eq!(monorepo.built(&[]).1, "one");
    assert_eq!(monorepo.built(&["--locked"]).1, "one");
    assert_eq!(monorepo.asked_for_tags(before), [""; 0]);
    let text = monorepo.lock_text();
    assert_eq!(brik(&["lock"]).succeeds().stdout, "brik.lock: 1 base, nothing changed\n");
    assert_eq!(monorepo.asked_for_tags(before), [""; 0], "a pin that is there stays");

    let names = [(&*one, "ONE"), (&*two, "TWO")];
    let outdated = brik(&["outdated"]).exits(3);
    let expected = "base         locked        resolved    now           services\n\
                    HOST/base:1  ONE  DAY  TWO  app\n\
                    1 base, 1 outdated: `brik update` takes what is new\n";
    assert_eq!(squeezed(&monorepo.told(&outdated.stdout, &names)), squeezed(expected));
    assert_eq!(monorepo.lock_text(), text);
    let json: Value = serde_json::from_str(&brik(&["outdated", "--format", "json"]).exits(3).stdout).unwrap();
    assert_eq!((&json["bases"], &json["outdated"][0]["locked"], &json["outdated"][0]["now"]), (&1.into(), &(*one).into(), &(*two).into()));
    assert_eq!(json["outdated"][0]["services"], serde_json::json!(["app"]));

    let updated = brik(&["update"]).succeeds();
    assert_eq!(monorepo.told(&updated.stdout, &names), "moved  HOST/base:1  ONE -> TWO  app\nbrik.lock: 1 base, 1 changed\n");
    assert_eq!(monorepo.built(&["--locked"]).1, "two");
    assert_eq!(brik(&["update"]).succeeds().stdout, "brik.lock: 1 base, nothing changed\n");
    let _ = brik(&["outdated"]).succeeds();
}

fn squeezed(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_locked_base_costs_a_fresh_store_two_requests_and_a_warm_one_none() {
    let monorepo = Monorepo::with_app();
    let digest = monorepo.push("base:1", "one", &["linux/amd64", "linux/arm64"]);
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let text = monorepo.lock_text();
    let manifest = text.lines().find_map(|line| line.strip_prefix("platform.")?.split('"').nth(3)).unwrap();
    assert_ne!(manifest, digest);
    let before = monorepo.registry.requests().len();
    let _ = monorepo.project.brik(["build"]).succeeds();
    let first = monorepo.registry.requests();
    assert_eq!(first[before], format!("GET /v2/base/manifests/{manifest} 200"));
    assert!(first[before + 1].starts_with("GET /v2/base/blobs/"), "{first:?}");
    assert_eq!(first.len() - before, 2, "{first:?}");
    let _ = monorepo.project.brik(["build"]).succeeds();
    assert_eq!(monorepo.registry.requests().len(), first.len());

    // Pinned by a Dockerfile, an index costs nothing either once it is known.
    monorepo.service("app", &format!("FROM HOST/base@{digest}\nENV A=1\n"));
    let _ = monorepo.project.brik(["build"]).succeeds();
    let known = monorepo.registry.requests().len();
    let _ = monorepo.project.brik(["build"]).succeeds();
    assert_eq!(monorepo.registry.requests().len(), known);
}

#[test]
fn locked_fails_on_a_base_that_is_not_in_the_lock_and_asks_nobody() {
    let monorepo = Monorepo::with_app();
    let _ = monorepo.push("other:2", "other", &[]);
    let brik = |args: &[&str]| monorepo.project.brik(args);
    let before = monorepo.registry.requests().len();
    // Nobody locks here, but for who asks for it.
    let check = brik(&["check"]).succeeds();
    assert_eq!((check.stdout, check.stderr), ("1 service, 0 edges: 0 errors, 0 warnings\n".to_owned(), String::new()));
    brik(&["check", "--locked"]).exits(3).says(&["base:1 is not in brik.lock: `brik lock` pins it", "app/Dockerfile:1:6"]);
    brik(&["outdated"]).exits(2).says(&["there is no brik.lock: `brik lock` writes it"]);
    assert_eq!(monorepo.registry.requests().len(), before);

    let _ = brik(&["lock"]).succeeds();
    monorepo.service("app", "FROM HOST/base:1\nCOPY --from=HOST/other:2 /file /other\n");
    let before = monorepo.registry.requests().len();
    for args in [["build", "--locked"], ["check", "--locked"]] {
        brik(&args).exits(3).says(&["brik::lock::missing", "other:2 is not in brik.lock: `brik lock` pins it", "app/Dockerfile:2:13"]);
    }
    brik(&["check"]).succeeds().says(&["other:2 is not in brik.lock"]);
    assert_eq!(monorepo.registry.requests().len(), before);
    let (run, _) = monorepo.built(&[]);
    let warnings = run.events_of("warning");
    assert!(warnings.iter().any(|warning| warning["message"].as_str().unwrap().contains("`brik lock` pins it")), "{warnings:?}");
    let _ = brik(&["lock"]).succeeds();
    let _ = brik(&["check", "--locked"]).succeeds();
    let _ = brik(&["build", "--locked"]).succeeds();
}

#[test]
fn every_way_to_name_a_base_is_locked_and_what_services_build_is_not() {
    let monorepo = Monorepo::new("[services.app]\nargs = { VERSION = \"3\" }\n");
    for name in ["from:3", "copied:1", "mounted:1", "context:1", "digest:1", "latest"] {
        let _ = monorepo.push(name, name, &[]);
    }
    let digest = monorepo.push("digest:1", "digest:1", &[]);
    let dockerfile = format!(
        "ARG VERSION=2\nFROM HOST/unused:1 AS unused\nFROM HOST/from:$VERSION\nCOPY --from=HOST/copied:1 /file /a\n\
         RUN --mount=from=HOST/mounted:1,target=/m true\nCOPY --from=named /file /b\nCOPY --from=HOST/digest@{digest} /file /c\n\
         COPY --from=other /file /d\nCOPY --from=HOST/latest /file /e\n"
    );
    monorepo.service("app", &dockerfile);
    monorepo.service("other", "FROM HOST/from:3\n");
    let toml = fs::read_to_string(monorepo.project.path("brik.toml")).unwrap();
    let context = format!("[services.app.contexts]\nnamed = \"docker-image://{}/context:1\"\n", monorepo.registry.host());
    monorepo.project.write("brik.toml", toml + &context);
    let run = monorepo.project.brik(["lock", "--format", "json"]).succeeds();
    assert_eq!(monorepo.locked(), ["context:1", "copied:1", "from:3", "latest:latest", "mounted:1"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let from = json["changes"].as_array().unwrap().iter().find(|change| change["base"].as_str().unwrap().ends_with("from:3")).unwrap();
    assert_eq!((&from["change"], &from["services"]), (&"added".into(), &serde_json::json!(["app", "other"])));
    let _ = monorepo.project.brik(["check", "--locked"]).succeeds();

    // What is named no more is told, and goes.
    monorepo.service("app", "FROM HOST/from:3\n");
    monorepo.project.brik(["check"]).succeeds().says(&["no Dockerfile names", "mounted:1 any more: `brik lock` drops it", "brik.lock:"]);
    let dropped = monorepo.project.brik(["lock"]).succeeds();
    assert_eq!(monorepo.locked(), ["from:3"]);
    assert_eq!(dropped.stdout.matches("dropped").count(), 4, "{}", dropped.stdout);
}

#[test]
fn an_index_is_locked_with_the_platforms_in_use_and_completed_from_where_it_is_locked() {
    let monorepo = Monorepo::with_app();
    let all = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let index = monorepo.push("base:1", "one", &all);
    let toml = fs::read_to_string(monorepo.project.path("brik.toml")).unwrap();
    let platforms = |list: &str| monorepo.project.write("brik.toml", format!("platforms = [{list}]\n{toml}"));
    platforms("\"linux/amd64\", \"linux/arm64\"");
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let text = monorepo.lock_text();
    let digests: BTreeSet<&str> = text.split('"').filter(|word| word.starts_with("sha256:")).collect();
    assert!(digests.len() == 3 && digests.contains(&*index), "{text}");
    let two = monorepo.push("base:1", "two", &all);
    let before = monorepo.registry.requests().len();
    platforms("\"linux/s390x\", \"linux/amd64\"");
    // A platform that is not written down is found behind the index that is.
    let _ = monorepo.project.brik(["build", "--locked"]).succeeds();
    let completed = monorepo.project.brik(["lock"]).succeeds();
    assert_eq!(
        monorepo.told(&completed.stdout, &[(&index, "INDEX")]),
        "completed  HOST/base:1  INDEX  app\nbrik.lock: 1 base, 1 changed\n"
    );
    assert_eq!(monorepo.asked_for_tags(before), [""; 0]);
    assert_eq!(monorepo.lock_text().matches("platform.").count(), 3, "what other machines use stays");
    assert!(monorepo.lock_text().starts_with(&text[..text.find("platform.").unwrap()]));
    // Moved, it has the platforms that are in use.
    let _ = monorepo.project.brik(["update"]).succeeds();
    let moved = monorepo.lock_text();
    assert!(moved.contains(&two) && !moved.contains("arm64") && moved.matches("platform.").count() == 2, "{moved}");
}

#[test]
fn the_lock_is_a_file_that_compares_well() {
    let monorepo = Monorepo::with_app();
    let one = monorepo.push("base:1", "one", &[]);
    let toml = fs::read_to_string(monorepo.project.path("brik.toml")).unwrap();
    monorepo.project.write("brik.toml", format!("platforms = [\"linux/amd64\"]\n{toml}"));
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let expected = "# The base images of this repository, pinned. `brik lock` and `brik update` write it; commit it.\n\
                    version = 1\n\n[base.\"HOST/base:1\"]\ndigest = \"ONE\"\nresolved = \"DAY\"\nplatform.\"linux/amd64\" = \"ONE\"\n";
    assert_eq!(monorepo.told(&monorepo.lock_text(), &[(&one, "ONE")]), expected);
    assert_eq!(fs::read_dir(monorepo.project.path("")).unwrap().count(), 3, "brik.toml, brik.lock and app, nothing else");
}

#[test]
fn update_takes_names_as_dockerfiles_write_them_and_leaves_the_rest() {
    let monorepo = Monorepo::new("");
    for name in ["base:1", "base:2", "tool:1"] {
        let _ = monorepo.push(name, "old", &[]);
    }
    monorepo.service("app", "FROM HOST/base:1\nCOPY --from=HOST/base:2 /file /2\nCOPY --from=HOST/tool:1 /file /tool\n");
    let _ = monorepo.project.brik(["lock"]).succeeds();
    for name in ["base:1", "base:2", "tool:1"] {
        let _ = monorepo.push(name, "new", &[]);
    }
    let host = monorepo.registry.host();
    let update = |name: &str| monorepo.project.brik(["update", &format!("{host}/{name}")]);
    let moved = |run: Run| run.stdout.lines().filter(|line| line.starts_with("moved")).count();
    update("base:3").exits(2).says(&["no Dockerfile names the base", "base:3", "did you mean"]);
    assert_eq!(moved(update("tool:1").succeeds()), 1);
    assert_eq!(moved(update("base").succeeds()), 2);
    let _ = monorepo.project.brik(["outdated"]).succeeds();
}

#[test]
fn a_base_that_cannot_be_locked_is_told_where_it_is_named_and_nothing_is_written() {
    let monorepo = Monorepo::with_app();
    monorepo.service("other", "FROM HOST/nothing:9\n");
    monorepo.project.brik(["lock"]).exits(1).says(&["brik::lock::unresolved", "nothing:9", "other/Dockerfile:1:6"]);
    assert!(!monorepo.project.path("brik.lock").exists());
}

#[test]
fn a_digest_that_is_gone_names_the_command_that_helps() {
    let monorepo = Monorepo::with_app();
    let one = monorepo.push("base:1", "one", &[]);
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let _ = monorepo.push("base:1", "two", &[]);
    let revisions = monorepo.registry.data().join("docker/registry/v2/repositories/base/_manifests/revisions/sha256");
    fs::remove_dir_all(revisions.join(one.trim_start_matches("sha256:"))).unwrap();
    let fix = format!("`brik update {}/base:1`", monorepo.registry.host());
    monorepo.project.brik(["build"]).exits(1).says(&["it is locked to", &one, "not there any more", &fix, "app/Dockerfile:1:6"]);
    let _ = monorepo.project.brik(["update", &format!("{}/base:1", monorepo.registry.host())]).succeeds();
    assert_eq!(monorepo.built(&[]).1, "two");
}

#[test]
fn a_lock_that_cannot_be_read_is_told_on_its_bytes_by_every_command() {
    let monorepo = Monorepo::with_app();
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let good = monorepo.lock_text();
    for (text, says) in [
        (good.replace("digest = ", "<<<<<<< HEAD\ndigest = "), ["brik::lock::conflict", "brik.lock:5:1", "run `brik lock`"]),
        (good.replace("sha256:", "sha256:0"), ["brik::lock::invalid", "brik.lock:5:10", "invalid digest"]),
        (good.replace("version = 1", "version = 9"), ["brik::lock::version", "brik.lock:2:11", "a newer brik"]),
    ] {
        monorepo.project.write("brik.lock", &text);
        for command in ["build", "check", "lock", "update", "outdated"] {
            monorepo.project.brik([command]).exits(2).says(&says);
        }
        assert_eq!(monorepo.lock_text(), text);
    }
}

#[test]
fn a_name_that_only_a_trigger_of_a_base_has_is_refused_where_no_tag_may_be_asked_for() {
    let monorepo = Monorepo::new("");
    let _ = monorepo.push("tool:1", "tool", &[]);
    let host = monorepo.registry.host();
    let base = Project::dockerfile(&format!("{BASE}ONBUILD COPY --from={host}/tool:1 /file /tool\n")).file("file", "base");
    let _ = base.brik(["build", "--push", "--image", &format!("{host}/base:1")]).succeeds();
    monorepo.service("app", "FROM HOST/base:1\n");
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let _ = monorepo.built(&[]);
    assert_eq!(monorepo.project.built().text("/tool"), "tool");
    let before = monorepo.registry.requests().len();
    monorepo.project.brik(["build", "--locked"]).exits(1).says(&["tool:1", "it is not locked", "--locked"]);
    assert_eq!(monorepo.asked_for_tags(before), [""; 0]);
}

#[test]
fn one_image_without_a_brik_toml_knows_no_lock() {
    let monorepo = Monorepo::with_app();
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let _ = monorepo.push("base:1", "two", &[]);
    monorepo.project.write("brik.lock", "not even TOML");
    let _ = monorepo.project.build(["--context", "app"]).succeeds();
    assert_eq!(monorepo.project.built().text("/file"), "two");
    monorepo.project.build(["--context", "app", "--locked"]).exits(2).says(&["--locked", "--image"]);
}
