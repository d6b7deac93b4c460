//! What an entry names that is not its writer's: blobs, layers and lists of other projects on the same store, repositories and hosts.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::monorepo::{DOCKERFILE, Monorepo, digest};
use super::other_layer;
use crate::support::{Image, Project};

#[test]
fn an_entry_leads_to_no_repository_that_nobody_named() {
    let private = |entry: &mut Value, theirs: &Value| {
        other_layer(entry, theirs);
        entry["record"]["layer"]["digest"] = format!("sha256:{}", "2".repeat(64)).into();
    };
    let monorepo = Monorepo::new(private, "files f.txt");
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        manifest["layers"] = json!([]);
        entry["places"] = json!([format!("{}/private/repository", monorepo.registry.host())]);
        monorepo.put(&tag, manifest, &entry);
    }
    let run = monorepo.push("fresh", &["a"]).succeeds();
    assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
    let asked: Vec<String> = monorepo.registry.requests().into_iter().filter(|request| request.contains("private")).collect();
    assert_eq!(asked, [""; 0]);
}

/// Another project was built on the same store, and somebody has learned the digest of its layer.
#[test]
fn what_the_store_has_of_others_is_given_to_nobody_for_its_digest() {
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    let vault = Project::empty().file("Dockerfile", "FROM scratch\nCOPY key-of-acme /\n").file("key-of-acme", "private\n");
    let built = vault.brik(["build", "--image", "localhost/vault", "--output", "oci:out"]).store(&monorepo.project.beside("shared"));
    let _ = built.succeeds();
    let read = |digest: &Value| fs::read(vault.path("out/blobs/sha256").join(&digest.as_str().unwrap()["sha256:".len()..])).unwrap();
    let json = |digest: &Value| serde_json::from_slice::<Value>(&read(digest)).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(vault.path("out/index.json")).unwrap()).unwrap();
    let manifest = json(&index["manifests"][0]["digest"]);
    let (layer, diff_id) = (&manifest["layers"][0], &json(&manifest["config"]["digest"])["rootfs"]["diff_ids"][0]);
    let store = monorepo.project.beside("shared");
    let records = fs::read_dir(store.join("records/step")).unwrap().map(|record| fs::read_to_string(record.unwrap().path()).unwrap());
    let record: Value = serde_json::from_str(records.last().unwrap().rsplit_once("\nblake3").unwrap().0).unwrap();
    let names = fs::read(store.join("blobs/sha256").join(&record["files"]["digest"].as_str().unwrap()["sha256:".len()..])).unwrap();
    assert!(String::from_utf8_lossy(&names).contains("acme"));
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        let inputs = entry["record"]["inputs"].to_string();
        if inputs.contains("workdir") {
            (entry["record"]["layer"], entry["record"]["diff_id"]) = (layer.clone(), diff_id.clone());
            entry["carried"] = json!({});
            entry.as_object_mut().unwrap().remove("toc");
            manifest["layers"] = json!([]);
        } else if inputs.contains("files f.txt") {
            entry["record"]["files"] = record["files"].clone();
        }
        monorepo.put(&tag, manifest, &entry);
    }
    // An image that nobody has asked the layers of yet, and then one that is exported.
    let reads = format!("--cache-from={}/team/a-cache", monorepo.registry.host());
    let _ = monorepo.brik("shared", &[&reads, "a"]).succeeds();
    let exported = monorepo.brik("shared", &[&reads, "--output", "oci:exported", "a"]).succeeds();
    let run = monorepo.push("shared", &["a"]).succeeds();
    assert_eq!([digest(&exported, "a"), digest(&run, "a")], [monorepo.honest("a"), monorepo.honest("a")], "{}", run.stderr);
    assert!(!monorepo.blob(layer["digest"].as_str().unwrap()).exists());
    let carried = [STANDARD.encode(read(&layer["digest"])), STANDARD.encode(names)];
    for repository in ["team/a", "team/a-cache"] {
        for tag in monorepo.registry.tags(repository) {
            let digest = fs::read_to_string(monorepo.tags(repository).join(&tag).join("current/link")).unwrap();
            let manifest = fs::read_to_string(monorepo.blob(&digest)).unwrap();
            assert!(!carried.iter().any(|carried| manifest.contains(carried)), "{repository}:{tag}");
        }
    }
}

#[test]
fn the_configuration_of_an_image_is_read_from_no_host_that_nobody_named() {
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    let a = digest(&monorepo.push("again", &["a"]).succeeds(), "a");
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let (tag, mut manifest, mut entry) = monorepo.entries("team/a-cache", 'i').remove(0);
    manifest["layers"] = json!([]);
    entry["carried"] = json!({});
    entry["places"] = json!([format!("{}/x", elsewhere.local_addr().unwrap())]);
    monorepo.put(&tag, manifest, &entry);
    assert_eq!(digest(&monorepo.push("fresh", &["a"]).succeeds(), "a"), a);
    assert_eq!(elsewhere.accept().map(drop).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// Another project was built on the same store, and somebody has learned the DiffId of its layer.
#[test]
fn what_the_store_has_made_of_others_is_in_no_image_for_its_diff_id() {
    // What works on that layer has run there, too, or not.
    for last in ["/three", "/four"] {
        let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
        let dockerfile = |last: &str| DOCKERFILE.replace("NAME", "a").replace("/two", last);
        let vault = Monorepo::services(monorepo.registry.host(), "vault", &["a"]).file("a/f.txt", "private\n");
        vault.write("a/Dockerfile", dockerfile(last));
        let built = vault.brik(["build", "--output", "oci:out"]).store(&monorepo.project.beside("shared"));
        let _ = built.succeeds();
        let diff_ids = Image::read(&vault.path("out")).config["rootfs"]["diff_ids"].as_array().unwrap().clone();
        for (tag, manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
            if entry["record"]["inputs"].to_string().contains("files f.txt") {
                entry["record"]["diff_id"] = diff_ids[diff_ids.len() - 3].clone();
                entry["carried"] = json!({});
                entry.as_object_mut().unwrap().remove("toc");
            }
            monorepo.put(&tag, manifest, &entry);
        }
        monorepo.project.write("a/Dockerfile", dockerfile("/three"));
        let run = monorepo.push("shared", &["a"]).succeeds();
        assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{last}: {}", run.stderr);
    }
}
