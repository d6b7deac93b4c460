//! What people type who come from `docker build` and Kaniko: one image without a brik.toml.

use std::fs;

use crate::support::{Project, Registry, busybox, shared_registry};

fn project() -> Project {
    Project::empty().file("api/Dockerfile", "FROM scratch\nCOPY a /a\n").file("api/a", "a")
}

/// The repository of `name` in the shared registry, below the project's own prefix.
fn tags(project: &Project, name: &str) -> Vec<String> {
    let prefix = project.prefix();
    shared_registry().tags(&format!("{}/{name}", prefix.split_once('/').unwrap().1))
}

#[test]
fn docker_build_t_f_and_a_context_mean_what_they_mean_there() {
    let project = project();
    let image = |tag: &str| format!("{}/api:{tag}", project.prefix());
    let run = project.brik(["build", "-t", &image("v1"), "-t", &image("v2"), "-f", "api/Dockerfile", "--push", "api"]).succeeds();
    assert_eq!(run.digests().len(), 1, "{}", run.stdout);
    assert_eq!(tags(&project, "api"), ["v1", "v2"]);
    let _ = project.brik(["build", "--destination", &image("v3"), "--push", "api"]).succeeds();
    assert_eq!(tags(&project, "api"), ["v1", "v2", "v3"]);
}

#[test]
fn the_registry_stands_in_front_of_a_name_without_a_host_and_is_that_of_one_with() {
    let project = project();
    let prefix = project.prefix();
    let host = prefix.split('/').next().unwrap();
    let _ = project.brik(["build", "--image", "plain", "--registry", &prefix, "--tags", "v1", "--push", "api"]).succeeds();
    let whole = format!("{prefix}/whole");
    let _ = project.brik(["build", "--image", &whole, "--registry", host, "--tags", "v1", "--push", "api"]).succeeds();
    assert_eq!((tags(&project, "plain"), tags(&project, "whole")), (vec!["v1".to_owned()], vec!["v1".to_owned()]));
    let other = project.brik(["build", "--image", "ghcr.io/org/api", "--registry", host, "api"]).exits(2);
    other.says(&["ghcr.io/org/api is in another registry"]);
}

#[test]
fn one_image_knows_what_a_brik_toml_that_is_named_says_of_registries() {
    let base = busybox().replace(shared_registry().host(), "127.0.0.1:9");
    let project = Project::empty()
        .file("brik.toml", format!("members = [\"*\"]\n[registries.\"127.0.0.1:9\"]\nmirror = \"{}\"\n", shared_registry().host()))
        .file("api/Dockerfile", format!("FROM {base}\nRUN true\n"));
    let build = || project.brik(["build", "-t", "localhost/api", "api"]);
    build().exits(1).says(&["127.0.0.1:9"]);
    let _ = build().args(["--config", "brik.toml"]).succeeds();
}

#[test]
fn the_digest_file_holds_the_digest_alone() {
    let project = project();
    let run = project.brik(["build", "-t", "localhost/api", "--digest-file", "digest", "api"]).succeeds();
    assert_eq!(fs::read_to_string(project.path("digest")).unwrap(), run.digests()[0]);
    project.brik(["build", "--digest-file", "digest"]).exits(2).says(&["--image"]);
}

#[test]
fn a_cache_repository_of_ones_own_is_written_and_read() {
    let registry = Registry::start();
    let project = project();
    let image = format!("{}/org/api", registry.host());
    let cache = format!("{}/cache/of-api", registry.host());
    let build = |store: &str| {
        let args = ["build", "--image", &image, "--context", "api", "--tags", "v1", "--cache-repo", &cache, "--push", "--progress", "json"];
        project.brik(args).store(&project.beside(store)).succeeds()
    };
    assert_eq!(build("one").steps_run().len(), 1);
    assert!(!registry.tags("cache/of-api").is_empty() && registry.tags("org/api-cache").is_empty());
    assert_eq!(build("two").steps_run().len(), 0);
    let form = format!("--cache-from=type=registry,ref={cache}:buildcache,mode=max");
    let run = project.brik(["build", "-t", "localhost/x", &form, "--progress", "json", "api"]).store(&project.beside("three")).succeeds();
    assert_eq!(run.steps_run().len(), 0);
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can() {
    let project = project();
    let table: [(&[&str], &str); 9] = [
        (&["-t", "localhost/a", "-t", "localhost/b", "api"], "are two images"),
        (&["-t", "localhost/a", "--image", "localhost/a", "api"], "cannot be used with"),
        (&["-t", "a@sha256:0", "api"], "--tag a@sha256:0"),
        (&["-t", "localhost/a", "--cache-from", "type=registry,ref=x/y", "api"], "--cache-from=type=registry,ref=x/y"),
        (&["-t", "localhost/a", "--cache-from=type=gha", "api"], "through registries only"),
        (&["-t", "localhost/a", "--cache-repo", "x/y", "--no-remote-cache", "api"], "cannot be used with"),
        (&["-t", "localhost/a", "--output", "type=registry", "api"], "--push pushes"),
        (&["-t", "localhost/a", "--no-push", "api"], "help: brik pushes with --push only"),
        (&["-t", "localhost/a", "--registry", "A B", "api"], "another registry"),
    ];
    for (args, reason) in table {
        project.brik(["build"]).args(args).exits(2).says(&[reason]);
    }
}
