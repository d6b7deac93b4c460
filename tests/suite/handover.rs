//! A build that runs something plans twice, outside of its namespaces and inside: servers hear of it once.

use crate::support::git_server::GitServer;
use crate::support::{Project, Registry};

/// A registry with the base image `library/base:1`, its name, and the number of requests that it took to be there.
fn with_base() -> (Registry, String, usize) {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM {busybox}\nRUN echo base > /base\n");
    let name = format!("{}/library/base", registry.host());
    let _ = base.brik(["build", "--push", "--image", &name, "--tags", "1"]).succeeds();
    let before = registry.requests().len();
    (registry, format!("{name}:1"), before)
}

#[test]
fn a_base_image_is_resolved_once_and_each_of_its_blobs_is_read_once() {
    let (registry, base, before) = with_base();
    let project = Project::dockerfile(&format!("FROM {base}\nRUN cp /base /copy\n"));
    let image = project.image::<&str>([]);
    let requests = registry.requests().split_off(before);
    assert_eq!(requests.iter().filter(|request| request.contains("/manifests/")).count(), 1, "{requests:?}");
    // The base's layers and its config.
    assert_eq!(requests.len(), 1 + image.layers() - 1 + 1, "{requests:?}");
}

#[test]
fn the_summary_counts_what_was_asked_before_the_namespaces() {
    let (registry, base, before) = with_base();
    let project = Project::dockerfile(&format!("FROM {base}\nRUN cp /base /copy\n"));
    let run = project.brik(["build", "--image", "localhost/app", "--format", "json"]).succeeds();
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(summary["requests"], registry.requests().len() - before);
}

#[test]
fn a_download_is_asked_for_once() {
    let (registry, base, before) = with_base();
    let url = format!("http://{}/v2/library/base/tags/list", registry.host());
    let project = Project::dockerfile(&format!("FROM {base}\nADD {url} /tags\nRUN test -s /tags\n"));
    let _ = project.image::<&str>([]);
    assert_eq!(registry.requests_since(before, "GET", "/tags/list").len(), 1);
}

#[test]
fn a_ref_of_a_git_repository_is_looked_up_once() {
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.write("Dockerfile", "FROM scratch\nADD . /\n").write("file", "one").commit(1);
    let url = server.url("app.git");
    let lookups = || server.requests().iter().filter(|request| request.contains("/info/refs")).count();

    let project = Project::dockerfile(&format!("FROM {{busybox}}\nADD {url}#main /src\nRUN test -s /src/file\n"));
    let _ = project.image::<&str>([]);
    // `ls-remote`, and the fetch of the commit.
    assert_eq!(lookups(), 2);
    let _ = project.image(["--no-cache"]);
    assert_eq!(lookups(), 3, "the files are in the store");
    let context = Project::empty();
    let _ = context.image(["--context", &format!("{url}#main")]);
    assert_eq!(lookups(), 3 + 2, "another store");
}
