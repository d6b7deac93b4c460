//! Pushing: what a real registry has afterwards, and what it did not have to be told again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::{Project, Registry, tools};

/// A project of one image with three layers, and its repository in a registry of its own.
fn app(registry: &Registry) -> (Project, String) {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nCOPY two /two\n").file("two", "2");
    (project, format!("{}/team/app", registry.host()))
}

#[test]
fn a_registry_has_what_was_pushed() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let run = project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1,latest"]).succeeds();
    assert_eq!(registry.tags("team/app"), ["latest", "v1"]);
    assert!(run.stdout.starts_with(&image) && run.stdout.lines().count() == 1, "{}", run.stdout);
}

#[test]
fn skopeo_reads_what_was_pushed_and_gets_the_digest_that_brik_told() {
    if !tools::installed(&["skopeo"]) {
        return;
    }
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let digest = project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1"]).succeeds().digests().remove(0);
    let inspected = tools::output("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{image}:v1")]);
    assert_eq!(inspected.trim(), digest);
    let copied = project.beside("copied");
    let _ = tools::output(
        "skopeo",
        &["copy", "--src-tls-verify=false", &format!("docker://{image}@{digest}"), &format!("oci:{}", copied.display())],
    );
    assert_eq!(crate::support::Image::read(&copied).text("/two"), "2");
}

#[test]
fn a_second_push_uploads_nothing_and_writes_no_manifest() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let push = || project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1", "--format", "json"]);
    let _ = push().succeeds();
    let before = registry.requests().len();
    let run = push().succeeds();
    for method in ["PUT", "POST", "PATCH"] {
        assert_eq!(registry.requests_since(before, method, "/"), [""; 0], "{method}");
    }
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&json["rows"][0]["steps_run"], &json["rows"][0]["layers_pushed"]), (&0.into(), &0.into()));
}

#[test]
fn a_new_tag_of_an_unchanged_image_costs_one_manifest_and_no_blob() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let push = |tags: &str| project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", tags]).succeeds();
    let _ = push("v1");
    let before = registry.requests().len();
    let _ = push("v1,v2");
    assert_eq!(registry.requests_since(before, "PUT", "/"), ["PUT /v2/team/app/manifests/v2 201"]);
    assert_eq!(registry.requests_since(before, "POST", "/"), [""; 0]);
}

#[test]
fn a_changed_layer_is_the_only_one_that_is_uploaded() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let push = || project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1"]).succeeds();
    let _ = push();
    let before = registry.requests().len();
    project.write("two", "changed");
    let _ = push();
    // The layer and the config.
    assert_eq!(registry.requests_since(before, "PUT", "/blobs/uploads/").len(), 2);
}

#[test]
fn layers_of_a_base_in_the_same_registry_are_mounted() {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM scratch\nCOPY big /big\n").file("big", "x".repeat(100_000));
    let name = format!("{}/library/base", registry.host());
    let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
    let app = Project::dockerfile(&format!("FROM {name}:1\nCOPY small /small\n")).file("small", "s");
    let before = registry.requests().len();
    let _ = app.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{}/team/app", registry.host())]).succeeds();
    let mounts = registry.requests_since(before, "POST", "mount=");
    assert!(mounts.iter().filter(|mount| mount.ends_with(" 201")).count() == 1, "{mounts:?}");
    assert_eq!(registry.requests_since(before, "PUT", "/blobs/uploads/").len(), 2);
}

#[test]
fn a_layer_of_a_base_that_was_torn_in_the_store_comes_again_from_where_it_was_had() {
    let registries = [Registry::start(), Registry::start()];
    let (project, _) = app(&registries[0]);
    let [first, second] = registries.each_ref().map(|registry| {
        let image = format!("{}/team/app", registry.host());
        project.brik(["build", "--push", "--no-remote-cache", "--image", &image])
    });
    let _ = first.succeeds();
    let mut torn = 0;
    for blob in fs::read_dir(project.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()) {
        let metadata = blob.metadata().unwrap();
        // A layer that was pulled: see `store`.
        if metadata.permissions().mode() & 0o777 == 0o444 && metadata.len() > 100_000 {
            fs::set_permissions(&blob, Permissions::from_mode(0o644)).unwrap();
            fs::write(&blob, vec![0; metadata.len() as usize]).unwrap();
            fs::set_permissions(&blob, Permissions::from_mode(0o444)).unwrap();
            torn += 1;
        }
    }
    assert_eq!(torn, 1);
    let _ = second.succeeds();
    assert_eq!(registries[1].tags("team/app"), ["latest"]);
}

#[test]
fn a_tag_appears_after_all_that_it_needs() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let _ = project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1"]).succeeds();
    let writes: Vec<String> = registry.requests().into_iter().filter(|request| request.starts_with("PUT ")).collect();
    assert!(writes.last().unwrap().starts_with("PUT /v2/team/app/manifests/"), "{writes:?}");
    assert!(writes.iter().filter(|write| write.contains("/manifests/")).count() == 1, "{writes:?}");
}

#[test]
fn without_push_no_request_writes() {
    let registry = Registry::start();
    let (project, image) = app(&registry);
    let _ = project.brik(["build", "--image", &image]).succeeds();
    assert_eq!(registry.requests(), [""; 0]);
}
