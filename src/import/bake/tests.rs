use std::fs;

use super::*;
use crate::import::Draft;

/// What a file says, a line a target, and what was left of it.
fn told(file: &str, text: &str, dockerfiles: &[&str]) -> (Vec<String>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    for dockerfile in dockerfiles {
        let path = root.path().join(dockerfile);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "FROM scratch\n").unwrap();
    }
    let (found, left) = read(root.path(), file, text);
    let line = |image: &Found| format!("{} {} {} {:?} {:?}", image.name, image.context, image.dockerfile, image.tags, image.args);
    (found.iter().map(line).collect(), left.iter().map(Left::to_string).collect())
}

const HCL: &str = r#"
variable "REGISTRY" { default = "ghcr.io/acme" }
variable "TAG" { default = "dev" }
variable "PORT" { default = 8080 }
function "upper" {
  params = [x]
  result = x
}
group "default" { targets = ["api", "all-web"] }
group "all-web" { targets = ["web"] }
target "_common" {
  args = { PORT = PORT, MODE = "fast" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "api" {
  inherits = ["_common"]
  context = "services/api"
  args = { MODE = "slow" }
  tags = ["${REGISTRY}/api:${TAG}", "${REGISTRY}/api:stable"]
  cache-to = ["type=gha"]
}
target "web" {
  context = "."
  dockerfile = "web/Dockerfile"
  contexts = { base = "target:base", other = "target:nobase", lib = "docker-image://alpine:3" }
  secret = ["id=npm,env=NPM", { id = "key", src = "key.pem" }]
  ssh = ["default", { id = "deploy", paths = "a.sock" }]
}
target "base" { context = "base" }
target "lint" { context = "base" }
target "shout" {
  context = "base"
  tags = [upper("x")]
}
target "many" {
  name = "m-${v}"
  matrix = { v = ["1", "2"] }
  tags = ["x"]
}
target "inline" {
  dockerfile-inline = "FROM scratch"
  tags = ["x"]
}
target "gone" {
  context = "gone"
  tags = ["ghcr.io/acme/gone"]
}
"#;

#[test]
fn targets_of_hcl_are_images_and_what_has_no_counterpart_is_told() {
    let (found, left) = told("docker-bake.hcl", HCL, &["services/api/Dockerfile", "web/Dockerfile", "base/Dockerfile"]);
    assert_eq!(
        found,
        [
            r#"api services/api services/api/Dockerfile ["sha-{sha}", "stable"] {"MODE": "slow", "PORT": "8080"}"#,
            "base base base/Dockerfile [] {}",
            "shout base base/Dockerfile [] {}",
            "web . web/Dockerfile [] {}",
        ]
    );
    insta::assert_snapshot!(left.join("\n"), @r#"
    docker-bake.hcl: function "upper": brik.toml has values, not functions
    docker-bake.hcl: target "lint": it has no tags and is not in the group "default"
    docker-bake.hcl: target "many": it has a matrix: write a service for each of its values
    docker-bake.hcl: cache-to (api): brik shares its own cache at <image>-cache, or where `cache` of a service says
    docker-bake.hcl: tags (api): made of the variable TAG: brik has its own tags, `--tags "$TAG"` gives others
    docker-bake.hcl: target "gone": the context gone is not there
    docker-bake.hcl: target "inline": it has no Dockerfile of its own (dockerfile-inline): write it to a file
    docker-bake.hcl: tags (shout): it has no value without bake: undefined function `upper`
    docker-bake.hcl: variable "REGISTRY": its default "ghcr.io/acme" was taken; `--build-arg`, `--tags` and `--set` give others
    "#);
}

#[test]
fn groups_are_those_of_brik_toml_but_for_one_that_is_all() {
    let groups = r#"
        group "backend" { targets = ["api", "worker", "lint"] }
        group "release" { targets = ["backend", "web"] }
        group "web" { targets = ["web"] }
        group "odd" { targets = concat(["web"], ["api"]) }
        group "Some Names" { targets = ["api"] }
        target "lint" { dockerfile-inline = "FROM scratch" }
        target "api" { tags = ["ghcr.io/acme/api:v1"] }
        target "worker" { tags = ["ghcr.io/acme/worker:v1"] }
        target "web" { tags = ["ghcr.io/acme/web:v1"] }"#;
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let drafted = |default: &str| {
        let (found, left) = read(root.path(), "docker-bake.hcl", &format!("{groups}\ngroup \"default\" {{ targets = {default} }}\n"));
        let draft = Draft::new(root.path(), Vec::new(), found, left, None);
        (draft.groups.clone(), draft)
    };
    let (all, draft) = drafted("[\"release\"]");
    insta::assert_snapshot!(draft.document().split("\n[services").next().unwrap(), @r#"
    registry = "ghcr.io/acme"
    tags = ["v1"]

    [groups]
    backend = ["api", "worker"]
    release = ["api", "web", "worker"]
    some-names = ["api"]
    "#);
    let left: Vec<String> = draft.left.iter().filter(|left| left.what.starts_with("group")).map(Left::to_string).collect();
    insta::assert_snapshot!(left.join("\n"), @r#"
    docker-bake.hcl: group "backend": no services: lint
    docker-bake.hcl: group "default": no services: lint
    docker-bake.hcl: group "odd": not all of its targets are written out
    docker-bake.hcl: group "release": no services: lint
    docker-bake.hcl: group "web": a service is called so; a group needs a name of its own
    "#);
    let (some, _) = drafted("[\"backend\"]");
    assert_eq!((all.contains_key("default"), &some["default"]), (false, &vec!["api".to_owned(), "worker".to_owned()]));
}

#[test]
fn all_of_a_target_is_read() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let text = r#"{"target": {"app": {"target": "run", "labels": {"a": "b"}, "platforms": ["linux/amd64"], "tags": ["org/app:${V}"],
        "secret": ["id=npm,env=NPM", {"id": "key", "src": "key.pem"}], "ssh": [{"id": "default"}], "contexts": {"x": "docker-image://alpine"}}},
        "variable": {"V": {"default": "1"}}}"#;
    let (found, left) = read(root.path(), "docker-bake.json", text);
    insta::assert_snapshot!(Draft::new(root.path(), Vec::new(), found, Vec::new(), None).document(), @r#"
    registry = "docker.io/org"
    platforms = ["linux/amd64"]

    [services.app]
    context = "."
    target = "run"
    secrets = ["npm", { id = "key", file = "key.pem" }]
    ssh = ["default"]
    labels = { a = "b" }
    contexts = { x = "docker-image://alpine" }
    "#);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn without_a_group_all_is_built_but_what_is_there_to_be_inherited() {
    let text = "target \"base\" {}\ntarget \"a\" { inherits = [\"base\"] }\ntarget \"_x\" {}\ntarget \"docker-metadata-action\" {}\n";
    let (found, left) = told("docker-bake.hcl", text, &["Dockerfile"]);
    assert_eq!((found.len(), left.len()), (1, 1), "{found:?} {left:?}");
    assert!(found[0].starts_with("a . Dockerfile"));
}

#[test]
fn files_that_are_none_are_left_whole() {
    for (file, text) in [
        ("docker-bake.hcl", "target {"),
        ("docker-bake.hcl", "\u{0}\u{1}"),
        ("docker-bake.json", "[]"),
        ("docker-bake.json", "{"),
        ("docker-bake.json", r#"{"target": {"a": 1, "b": [1, {"tags": {"x": ["${"]}}]}, "group": {"default": {"targets": 1}}}"#),
        ("docker-bake.hcl", "target \"a\" { tags = [\"${a.b.c}\", null, 1, \"${[for x in y: x]}\"] }"),
        ("docker-bake.hcl", "variable \"A\" { default = B }\nvariable \"B\" { default = A }\ntarget \"a\" { tags = [A] }"),
    ] {
        let (found, left) = told(file, text, &[]);
        assert!(found.is_empty() && !left.is_empty(), "{file} {text}: {found:?} {left:?}");
    }
}
