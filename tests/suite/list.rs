//! `brik list` and `brik graph`: what is there, told without the network and without a store.

use serde_json::{Value, json};

use crate::support::Project;

fn repository() -> Project {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n\
                [services.worker]\ncontext = \".\"\ndockerfile = \"services/api/Dockerfile.worker\"\ntarget = \"run\"\nneeds = [\"api\"]\n\
                platforms = [\"linux/amd64\", \"linux/arm64\"]\n[services.base]\nplatforms = [\"linux/amd64\"]\n[services.api]\nplatforms = [\"linux/amd64\"]\n\
                [groups]\nbackend = [\"api\", \"worker\"]\n";
    Project::empty()
        .file("brik.toml", toml)
        .file("services/base/Dockerfile", "FROM busybox:1.36\n")
        .file("services/api/Dockerfile", "FROM golang:1.22 AS build\nRUN go build\nFROM base\nCOPY --from=build /x /x\n")
        .file("services/api/Dockerfile.worker", "FROM base AS run\nCOPY --from=api /x /x\n")
}

#[test]
fn services_are_listed_in_the_order_of_their_needs() {
    let run = repository().brik(["list"]).succeeds();
    insta::assert_snapshot!(run.stdout, @r"
    service  image                     context        dockerfile                      platforms                needs
    base     r.example.com/org/base    services/base  services/base/Dockerfile        linux/amd64
    api      r.example.com/org/api     services/api   services/api/Dockerfile         linux/amd64              base
    worker   r.example.com/org/worker  .              services/api/Dockerfile.worker  linux/amd64,linux/arm64  api, base
    ");
    assert_eq!(run.stderr, "");
    let json: Value = serde_json::from_str(&repository().brik(["list", "worker", "--format", "json"]).succeeds().stdout).unwrap();
    let expected = json!({
        "service": "worker", "image": "r.example.com/org/worker", "context": ".", "dockerfile": "services/api/Dockerfile.worker",
        "target": "run", "platforms": ["linux/amd64", "linux/arm64"], "needs": ["api", "base"], "bases": [], "groups": ["backend"],
    });
    assert_eq!(json["services"][2], expected);
    assert_eq!(json["services"][1]["bases"], json!(["docker.io/library/golang:1.22"]));
}

#[test]
fn the_graph_is_a_tree_from_what_nobody_needs() {
    let project = repository();
    insta::assert_snapshot!(project.brik(["graph"]).succeeds().stdout, @r"
    worker
    ├── api (COPY --from, needs)
    │   ├── base (FROM)
    │   │   └── docker.io/library/busybox:1.36 (FROM)
    │   └── docker.io/library/golang:1.22 (FROM)
    └── base (FROM) (*)
    ");
    insta::assert_snapshot!(project.brik(["graph", "base", "--format", "mermaid"]).succeeds().stdout, @r#"
    graph LR
      n0["base"]
      n1(["docker.io/library/busybox:1.36"])
      n0 -->|"FROM"| n1
    "#);
    let dot = project.brik(["graph", "--format", "dot"]).succeeds().stdout;
    assert!(dot.starts_with("digraph brik {\n") && dot.contains("\"worker\" -> \"api\" [label = \"COPY --from, needs\"];"), "{dot}");
    let json: Value = serde_json::from_str(&project.brik(["graph", "--format", "json"]).succeeds().stdout).unwrap();
    assert_eq!((&json["services"], json["bases"].as_array().unwrap().len()), (&json!(["base", "api", "worker"]), 2));
    assert_eq!(json["edges"][2], json!({"service": "base", "needs": "docker.io/library/busybox:1.36", "reasons": ["from"]}));
}

/// Each command of this kind on what is no good project.
#[test]
fn bad_input_is_told_of_and_has_the_right_exit_code() {
    let broken = || repository().file("brik.toml", "members = [\n");
    let nothing = Project::empty;
    let cycle = || repository().file("services/base/Dockerfile", "FROM worker\n");
    let empty = || Project::empty().file("brik.toml", "");
    let dockerfile = || repository().file("services/base/Dockerfile", "FORM x\n");
    for command in [&["list"][..], &["graph"], &["list", "--format", "json"], &["graph", "--format", "dot"]] {
        broken().brik(command).exits(2).says(&["brik.toml:"]);
        nothing().brik(command).exits(2).says(&["brik.toml"]);
        cycle().brik(command).exits(2).says(&["services need each other"]);
        dockerfile().brik(command).exits(2).says(&["services/base/Dockerfile:1"]);
        let _ = empty().brik(command).succeeds();
        repository().brik(command).args(["none"]).exits(2).says(&["there is no service \"none\""]);
        // No git and no home that could be written.
        let project = repository();
        let _ = project.brik(command).env("HOME", "/proc/none").env("XDG_CACHE_HOME", "/proc/none").env("COLUMNS", "40").succeeds();
        assert!(!project.store().exists(), "nothing is written");
    }
    assert_eq!(empty().brik(["graph"]).succeeds().stdout, "brik.toml has no service\n");
}
