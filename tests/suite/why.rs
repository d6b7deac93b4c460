//! What is said of rebuilds: `brik why`, the reasons in `brik build`, and `brik plan`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Project, Registry};

const DOCKERFILE: &str = "FROM {busybox}\nWORKDIR /app\nCOPY src /app/src\nARG VERSION=1\nENV MODE=fast\nRUN echo $VERSION\nRUN true\n";

fn project() -> Project {
    Project::dockerfile(DOCKERFILE).file("src/main.py", "one").file("src/lib/b.py", "two")
}

fn why(project: &Project, args: &[&str]) -> Value {
    let run = project.brik(["why", "--image", "localhost/app", "--format", "json"]).args(args).succeeds();
    serde_json::from_str(&run.stdout).unwrap()
}

/// Position and reasons of every Step that runs for a reason of its own.
fn causes(answer: &Value) -> Vec<(String, Value)> {
    let steps = answer["services"][0]["steps"].as_array().unwrap().iter();
    let own = steps.filter(|step| step["reasons"][0]["kind"] != "after");
    own.map(|step| (step["position"].as_str().unwrap().to_owned(), step["reasons"].clone())).collect()
}

#[test]
fn every_kind_of_change_is_named_with_old_and_new_before_and_during_the_build_and_after_it() {
    /// What changes, how, and with which arguments; the position of the first Step that runs, its reasons, and these in a line.
    type Case<'c> = (&'c str, fn(&Project), &'c [&'c str], &'c str, Value, &'c str);
    let cases: Vec<Case> = vec![
        (
            "the content of a file",
            |project| project.write("src/main.py", "changed"),
            &[],
            "stage-0 2/4",
            json!([{"kind": "file_changed", "path": "src/main.py", "old": "blake3:", "new": "blake3:"}]),
            "src/main.py changed",
        ),
        (
            "a file more",
            |project| project.write("src/lib/new.py", ""),
            &[],
            "stage-0 2/4",
            json!([{"kind": "file_added", "path": "src/lib/new.py"}]),
            "src/lib/new.py added",
        ),
        (
            "a mode",
            |project| fs::set_permissions(project.path("src/main.py"), fs::Permissions::from_mode(0o755)).unwrap(),
            &[],
            "stage-0 2/4",
            json!([{"kind": "mode_changed", "path": "src/main.py", "old": "0644", "new": "0755"}]),
            "src/main.py: mode 0644 -> 0755",
        ),
        (
            "an argument",
            |_| {},
            &["--build-arg", "VERSION=2"],
            "stage-0 3/4",
            json!([{"kind": "variable", "arg": true, "name": "VERSION", "old": "1", "new": "2"}]),
            "ARG VERSION: 1 -> 2",
        ),
        (
            "an instruction",
            |project| project.write("Dockerfile", DOCKERFILE.replace("RUN true", "RUN :")),
            &[],
            "stage-0 4/4",
            json!([{"kind": "instruction", "old": "RUN true", "new": "RUN :"}]),
            "instruction changed, was RUN true",
        ),
        (
            "a variable",
            |project| project.write("Dockerfile", DOCKERFILE.replace("fast", "slow")),
            &[],
            "stage-0 3/4",
            json!([{"kind": "variable", "arg": false, "name": "MODE", "old": "fast", "new": "slow"}]),
            "ENV MODE: fast -> slow",
        ),
    ];
    for (what, change, args, position, reasons, line) in cases {
        let project = project();
        fs::set_permissions(project.path("src/main.py"), fs::Permissions::from_mode(0o644)).unwrap();
        let _ = project.build::<&str>([]).succeeds();
        change(&project);
        let answer = why(&project, args);
        let found = causes(&answer);
        let (at, told) = found.first().unwrap_or_else(|| panic!("{what}: {answer}"));
        assert_eq!(at, position, "{what}");
        for (name, value) in reasons[0].as_object().unwrap() {
            let is = told[0][name].as_str().map_or_else(|| told[0][name].to_string(), str::to_owned);
            let expected = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // Of a hash the name of the algorithm is enough.
            let expected = expected.split_inclusive(':').next().unwrap().to_owned();
            assert!(is.starts_with(&expected), "{what}: {name} is {is}, not {expected}");
        }
        let build = project.build(args).succeeds();
        let started = build.events_of("step_started");
        assert_eq!(started[0]["reason"], line, "{what}");
        assert!(started[1..].iter().all(|event| event["reason"].as_str().unwrap().starts_with("after ") || event["reason"] == line));
        assert_eq!(causes(&why(&project, &["--last"]))[0], (position.to_owned(), told.clone()), "{what}");
        assert_eq!(why(&project, args)["services"][0]["up_to_date"], true, "{what}");
    }
}

#[test]
fn the_last_build_is_told_as_it_went() {
    let project = Project::dockerfile(
        "FROM {busybox} AS make\nCOPY a /a\nRUN wc -c < /a > /out\nFROM {busybox}\nCOPY --from=make /out /\nRUN cat /out\n",
    );
    project.write("a", "1");
    let _ = project.build::<&str>([]).succeeds();
    project.write("a", "2");
    let _ = project.build::<&str>([]).succeeds();
    let last = || project.brik(["why", "--last", "--image", "localhost/app"]).succeeds().stdout;
    let ran = last();
    assert!(ran.contains("RUN wc") && !ran.contains("RUN cat"), "what came out the same stopped the rest: {ran}");
    let _ = project.build::<&str>([]).succeeds();
    assert!(last().contains("everything was cached"), "{}", last());
}

#[test]
fn a_base_that_moved_is_named_with_both_digests() {
    let registry = Registry::start();
    let name = format!("{}/base", registry.host());
    let push = |content: &str| {
        let base = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", content);
        base.brik(["build", "--push", "--image", &name, "--tags", "1"]).succeeds().digests().remove(0)
    };
    let old = push("one");
    let project = Project::dockerfile(&format!("FROM {name}:1\nCOPY x /x\nCOPY x /y\n")).file("x", "x");
    let _ = project.build::<&str>([]).succeeds();
    let new = push("two");
    let expected = json!([{"kind": "base", "name": format!("{name}:1"), "old_name": format!("{name}:1"), "old": old, "new": new}]);
    assert_eq!(causes(&why(&project, &[])), [("stage-0 1/2".to_owned(), expected)]);
    let reasons: Vec<Value> = project.build::<&str>([]).succeeds().events_of("step_started").iter().map(|e| e["reason"].clone()).collect();
    let moved = format!("base {name}:1 moved: {} -> {}", &old[..19], &new[..19]);
    assert_eq!(reasons, [moved.as_str(), "after COPY x /x"]);
}

#[test]
fn what_runs_without_a_change_says_why_too() {
    let project = project();
    let first = project.build::<&str>([]).succeeds();
    assert!(first.events_of("step_started").iter().all(|event| event["reason"] == "not built before"));
    let forced = project.build(["--no-cache"]).succeeds();
    assert!(forced.events_of("step_started").iter().all(|event| event["reason"] == "--no-cache"));
    let label = why(&project, &["--label", "x=1"]);
    let expected = json!([{"kind": "config", "name": "LABEL x", "old": null, "new": "1"}]);
    assert_eq!((&label["services"][0]["reasons"], &label["services"][0]["steps"]), (&expected, &json!([])));
    for record in ["image", "step"].map(|kind| project.store().join("records").join(kind)) {
        for entry in fs::read_dir(record).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    let lost = project.build::<&str>([]).succeeds();
    assert!(lost.events_of("step_started").iter().all(|event| event["reason"] == "no longer in the store or a cache that is read"));
}

#[test]
fn people_read_causes_first_and_then_what_follows() {
    let project = project();
    let run = project.brik(["why", "--image", "localhost/app"]);
    assert_eq!(run.succeeds().stdout.replace(&host(), "HOST"), "app (HOST): 4 steps to run, not built before\n");
    let _ = project.build::<&str>([]).succeeds();
    project.write("src/main.py", "changed");
    fs::remove_file(project.path("src/lib/b.py")).unwrap();
    let text = project.brik(["why", "--image", "localhost/app"]).succeeds().stdout.replace(&host(), "HOST");
    let expected = "app (HOST): 3 steps to run\n  [stage-0 2/4] COPY src /app/src\n    src/main.py changed: blake3:HASH -> blake3:HASH\n    \
        src/lib/b.py removed\n    then [stage-0 3/4] RUN echo $VERSION\n    then [stage-0 4/4] RUN true\n";
    assert_eq!(without_hashes(&text), expected);
    let built = project.build::<&str>([]).succeeds().digests().remove(0);
    let text = project.brik(["why", "--image", "localhost/app"]).succeeds().stdout;
    assert_eq!(text.replace(&host(), "HOST"), format!("app (HOST): up to date (image {built})\n"));
    let last = project.brik(["why", "--last", "--image", "localhost/app"]).succeeds().stdout.replace(&host(), "HOST");
    assert_eq!(without_hashes(&last), expected.replace("to run", "ran"));
}

/// The platform of this machine.
fn host() -> String {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("linux/{architecture}")
}

fn without_hashes(text: &str) -> String {
    let mut parts = text.split("blake3:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}blake3:HASH{}", &part[16..]))
}

#[test]
fn a_secret_s_value_that_came_into_an_argument_is_not_told_however_long_it_is() {
    let value = "s3cr3t".repeat(30);
    let project = project().file("token", &value);
    let _ = project.build::<&str>([]).succeeds();
    let args = ["--secret", "id=token,src=token", "--build-arg", &format!("VERSION={value}")];
    for format in ["human", "json"] {
        let run = project.brik(["why", "--image", "localhost/app", "--format", format]).args(args).succeeds();
        assert!(run.stdout.contains("VERSION") && !run.stdout.contains("s3cr3t"), "{}", run.stdout);
    }
    let run = project.build(args).succeeds();
    assert!(run.stderr.contains("ARG VERSION") && !run.stderr.contains("s3cr3t"), "{}", run.stderr);
    let last = project.brik(["why", "--last", "--image", "localhost/app"]).succeeds();
    assert!(last.stdout.contains("ARG VERSION") && !last.stdout.contains("s3cr3t"), "{}", last.stdout);
}

#[test]
fn plan_shows_what_is_where_what_would_run_and_why_and_runs_nothing() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project
        .file("a/Dockerfile", "FROM scratch\nCOPY --from=shared / /shared\nCOPY x /x\nCOPY y /y\n")
        .file("a/x", "1")
        .file("a/y", "1")
        .file("b/Dockerfile", "FROM scratch\nCOPY z /z\n")
        .file("b/z", "1")
        .file("shared/Dockerfile", "FROM scratch\nCOPY s /s\n")
        .file("shared/s", "1");
    let plan = |args: &[&str]| {
        let text = project.brik(["plan"]).args(args).succeeds().stdout;
        text.replace(&host(), "HOST").replace(&project.prefix(), "REGISTRY")
    };
    assert_eq!(
        plan(&["b"]),
        "b (HOST)\n  run     [stage-0 1/1] COPY z /z (not built before)\n  push    REGISTRY/b:v1\n\
         1 image, 0 finished; steps of the others: 0 cached, 1 to run\n"
    );
    let built = project.brik(["build", "--push"]).succeeds().digests();
    let elsewhere = project.brik(["plan", "--push", "--format", "json"]).store(&project.beside("fresh")).succeeds();
    let elsewhere: Value = serde_json::from_str(&elsewhere.stdout).unwrap();
    assert!(elsewhere["images"].as_array().unwrap().iter().all(|image| image["place"] == "cache"), "{elsewhere}");
    project.write("a/x", "2");
    project.write("shared/s", "2");
    assert_eq!(
        plan(&[]),
        format!(
            "shared (HOST)\n  run     [stage-0 1/1] COPY s /s (shared/s changed)\n  push    REGISTRY/shared:v1\n\
             a (HOST)\n  shared  some steps, shown with shared\n  run     [stage-0 1/3] COPY --from=shared / /shared (after COPY s /s)\n  \
             run     [stage-0 2/3] COPY x /x (a/x changed)\n  run     [stage-0 3/3] COPY y /y (after COPY x /x)\n  push    REGISTRY/a:v1\n\
             b (HOST): up to date in the store (image {})\n  push    REGISTRY/b:v1\n\
             3 images, 1 finished; steps of the others: 0 cached, 4 to run\n",
            built[2]
        )
    );
    let json: Value = serde_json::from_str(&project.brik(["plan", "--push", "--format", "json"]).succeeds().stdout).unwrap();
    let states: Vec<&Value> = json["tags"].as_array().unwrap().iter().map(|tag| &tag["state"]).collect();
    assert_eq!(states, ["moves", "moves", "unchanged"]);
    assert_eq!(json["images"][2]["place"], "store");
    assert_eq!((&json["images"][1]["shares_with"], json["images"][1]["steps"].as_array().unwrap().len()), (&json!(["shared"]), 3));
    assert_eq!(json["run"], 4);
    assert_eq!(plan(&["shared"]).lines().count(), 4, "nothing was built by that");
}

#[test]
fn a_cache_that_cannot_be_asked_is_told_of() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    for command in ["why", "plan"] {
        let run = project
            .brik([command, "--image", "localhost/app", "--context", ".", "--tags", "x", "--cache-from=127.0.0.1:1/app-cache"])
            .succeeds();
        assert!(run.stderr.contains("warning: ") && run.stderr.contains("127.0.0.1:1"), "{command}: {}", run.stderr);
    }
}
