use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::import::{Request, import};

/// brik.toml of a repository with these files, and what was left.
fn drafted(files: &[(&str, &str)], remote_url: Option<&str>) -> (String, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let draft = import(&Request { root: root.path(), remote_url, only: &[] }).unwrap();
    let text = draft.document();
    fs::write(root.path().join("brik.toml"), &text).unwrap();
    let cwd = root.path().canonicalize().unwrap();
    let options = crate::config::LoadOptions { cwd, env: BTreeMap::new(), ..Default::default() };
    if let Err(findings) = crate::config::load(&options, &crate::source::Disk) {
        panic!("brik.toml is wrong: {findings}\n{text}");
    }
    (text, draft.left.iter().map(Left::to_string).collect())
}

const DOCKERFILE: &str = "FROM scratch\n";
const GITHUB: Option<&str> = Some("git@github.com:Acme/Shop.git");

#[test]
fn where_all_is_as_the_defaults_have_it_two_lines_are_enough() {
    let files = [("services/api/Dockerfile", DOCKERFILE), ("services/web/Dockerfile", DOCKERFILE)];
    assert_eq!(drafted(&files, GITHUB).0, "registry = \"ghcr.io/acme\"\nmembers = [\"services/*\"]\n");
}

#[test]
fn without_a_registry_it_is_left_to_be_set() {
    let (text, _) = drafted(&[("services/api/Dockerfile", DOCKERFILE)], None);
    assert_eq!(
        text,
        "# Needed to push: an image is <registry>/<service>.\n# registry = \"ghcr.io/example-org\"\nmembers = [\"services/*\"]\n"
    );
}

#[test]
fn a_dockerfile_at_the_top_is_called_like_the_repository() {
    let (text, _) = drafted(&[("Dockerfile", DOCKERFILE)], GITHUB);
    assert_eq!(text, "registry = \"ghcr.io/acme\"\n\n[services.shop]\ncontext = \".\"\n");
}

#[test]
fn what_members_cannot_name_is_a_table() {
    let copies = "FROM scratch\nCOPY shared /shared\n";
    let files = [
        ("services/api/Dockerfile", DOCKERFILE),
        ("apps/api/Dockerfile", DOCKERFILE),
        ("apps/MyWeb/Dockerfile", DOCKERFILE),
        ("jobs/cron/Dockerfile", copies),
        ("docker/Dockerfile.tool", DOCKERFILE),
        ("shared/x", ""),
    ];
    insta::assert_snapshot!(drafted(&files, GITHUB).0, @r#"
    registry = "ghcr.io/acme"
    members = ["apps/api"]

    [services.cron]
    context = "."
    dockerfile = "jobs/cron/Dockerfile"

    [services.myweb]
    context = "apps/MyWeb"

    [services.services-api]
    context = "services/api"

    [services.tool]
    context = "docker"
    dockerfile = "Dockerfile.tool"
    "#);
}

#[test]
fn several_files_tell_of_one_image() {
    let bake = r#"
        group "default" { targets = ["api", "web"] }
        target "api" {
          context = "services/api"
          tags = ["ghcr.io/acme/shop-api:latest"]
          contexts = { web = "target:web", base = "target:web", gone = "missing" }
          args = { MODE = "fast", "bad name" = "x" }
        }
        target "web" {
          context = "services/web"
          tags = ["ghcr.io/acme/web:latest"]
          labels = { "org.example.long" = "a value that is long enough to make the table long", "org.example.other" = "another value of such a length" }
        }"#;
    let compose = "services: {api: {build: {context: services/api, args: {MODE: slow, PORT: 1}}, image: api}, db: {image: postgres}}";
    let files = [
        ("docker-bake.hcl", bake),
        ("compose.yaml", compose),
        ("services/api/Dockerfile", DOCKERFILE),
        ("services/web/Dockerfile", DOCKERFILE),
        ("services/attic/Dockerfile", DOCKERFILE),
    ];
    let (text, left) = drafted(&files, None);
    insta::assert_snapshot!(text, @r#"
    registry = "ghcr.io/acme"
    members = ["services/*", "!services/attic"]
    tags = ["latest"]

    [services.api]
    image = "shop-api"
    args = { MODE = "fast", PORT = "1" }
    contexts = { base = "service:web" }

    [services.web.labels]
    "org.example.long" = "a value that is long enough to make the table long"
    "org.example.other" = "another value of such a length"

    # Not taken over:
    # - services/attic/Dockerfile: docker-bake.hcl builds nothing from it
    # - compose.yaml: args (api): docker-bake.hcl says otherwise and was taken
    # - docker-bake.hcl: args (api): "bad name" is not a variable's name
    # - docker-bake.hcl: context gone (api): missing is not a directory here
    "#);
    insta::assert_snapshot!(left.join("\n"), @r#"
    compose.yaml: image only (db): there is nothing to build
    services/attic/Dockerfile: docker-bake.hcl builds nothing from it
    compose.yaml: args (api): docker-bake.hcl says otherwise and was taken
    docker-bake.hcl: args (api): "bad name" is not a variable's name
    docker-bake.hcl: context gone (api): missing is not a directory here
    "#);
}

#[test]
fn an_image_is_that_of_one_service() {
    let compose = "services:
  api: {build: a, image: 'ghcr.io/acme/api:v1'}
  debug: {build: {context: a, target: debug}, image: 'ghcr.io/acme/api:debug'}
  web: {build: b, image: 'ghcr.io/acme/third'}
  third: {build: {context: b, target: x}}
";
    let (text, left) = drafted(&[("a/Dockerfile", DOCKERFILE), ("b/Dockerfile", DOCKERFILE), ("compose.yaml", compose)], None);
    assert!(text.contains("[services.api]") && text.contains("[services.debug]") && !text.contains("image ="), "{text}");
    let of = |service: &str| left.iter().any(|left| left.contains(&format!("image ({service}): another service has ghcr.io/acme/")));
    assert!(of("debug") && of("web") && !of("api") && !of("third"), "{left:?}");
}

#[test]
fn what_brik_toml_would_refuse_is_left_with_its_reason() {
    let bake = r#"{"target": {"a": {"context": "a", "target": "x\u0000", "contexts": {"self": "target:a", "odd": "https://h\u0000", "other": "target:b"},
        "secret": ["id=s,env=1X", "id=t", "id=t,src=x", "id=u,src="], "ssh": ["k", "k=/s", {"id": "l", "paths": ""}]},
        "b": {"context": "b"}}}"#;
    let (text, left) = drafted(&[("a/Dockerfile", DOCKERFILE), ("b/Dockerfile", DOCKERFILE), ("docker-bake.json", bake)], None);
    assert!(text.contains("secrets = [\"t\"]\nssh = [\"k\"]\ncontexts = { other = \"service:b\" }"), "{text}");
    for reason in ["a variable's name", "\"t\" is there already", "\"k\" is there already", "is empty", "need itself", "a NUL character"] {
        assert!(left.iter().any(|left| left.contains(reason)), "{reason}: {left:?}");
    }
}
