//! What an entry promises, and nobody can keep.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::monorepo::{DOCKERFILE, Monorepo, digest, sha256};
use crate::support::proxy::{Ask, Fault, Proxy};
use crate::support::{Registry, Run, server};

/// A cache of a that promises what nobody has, and b, which has nothing to do with it.
fn with_broken_promises(b: &str) -> Monorepo {
    let registry = Registry::start();
    let project = Monorepo::services(registry.host(), "team", &["a", "b"]);
    let monorepo = Monorepo { registry, project };
    let _ = monorepo.push("first", &["a"]).succeeds();
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        entry["record"]["layer"]["digest"] = sha256(tag.as_bytes()).into();
        manifest["layers"] = json!([]);
        monorepo.put(&tag, manifest, &entry);
    }
    monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
    monorepo.project.write("b/Dockerfile", b);
    monorepo
}

fn steps_started(run: &Run, service: &str) -> usize {
    let started = |event: &&Value| event["type"] == "step_started" && event["services"] == json!([service]);
    run.events().iter().filter(started).count()
}

/// Each costs another look at everything, and one that is told once costs the others no more.
#[test]
fn a_promise_that_is_not_kept_ends_no_run_of_others() {
    // What is made without its secret is remembered nowhere.
    let monorepo = with_broken_promises("FROM {busybox}\nRUN --mount=type=secret,id=token sleep 2\n");
    let toml = std::fs::read_to_string(monorepo.project.path("brik.toml")).unwrap();
    monorepo.project.write("brik.toml", toml + "[services.b]\nsecrets = [\"token\"]\n");
    let run = monorepo.push("fresh", &["a", "b"]).succeeds();
    run.says(&["of the cache cannot be had, what needs it is built again"]);
    assert_eq!(steps_started(&run, "b"), 1, "{}", run.stderr);
    // It is told, and pushed, once.
    let told = |event: &&Value| event["type"] == "service_finished" && event["service"] == "b";
    assert_eq!(run.events().iter().filter(told).count(), 1, "{}", run.stderr);
}

#[test]
fn a_run_that_fails_is_not_run_again_as_a_cache_has_lost_something() {
    let monorepo = with_broken_promises("FROM {busybox}\nRUN sleep 2; exit 7\n");
    let run = monorepo.push("fresh", &["a", "b"]).exits(1);
    assert_eq!(steps_started(&run, "b"), 1, "{}", run.stderr);
    run.says(&["ended with exit code 7"]);
    assert!(!run.has_said("of the cache cannot be had"), "{}", run.stderr);
}

/// The last layer of an image is said to be longer than it is, by an entry that carries it; or is said to be the configuration.
#[test]
fn an_entry_that_carries_what_it_says_falsely_fails_no_build() {
    for is_config in [false, true] {
        let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
        let _ = monorepo.push("again", &["a"]).succeeds();
        let (tag, mut artifact, mut entry) = monorepo.entries("team/a-cache", 'i').remove(0);
        let mut manifest: Value = serde_json::from_str(entry["manifest"].as_str().unwrap()).unwrap();
        let config = manifest["config"]["digest"].clone();
        let layer = manifest["layers"].as_array_mut().unwrap().last_mut().unwrap();
        let name = layer["digest"].as_str().unwrap().to_owned();
        let forged = &mut entry["record"]["layers"].as_array_mut().unwrap().last_mut().unwrap()["descriptor"];
        for layer in [layer, forged] {
            layer["size"] = (layer["size"].as_u64().unwrap() + 1).into();
            layer["digest"] = if is_config { config.clone() } else { name.as_str().into() };
        }
        let manifest = manifest.to_string();
        entry["record"]["manifest"]["digest"] = sha256(manifest.as_bytes()).into();
        entry["record"]["manifest"]["size"] = manifest.len().into();
        entry["manifest"] = manifest.into();
        entry["carried"][&name] = STANDARD.encode(std::fs::read(monorepo.blob(&name)).unwrap()).into();
        artifact["layers"] = json!([]);
        entry["places"] = json!([format!("{}/team/a-cache", monorepo.registry.host())]);
        monorepo.put(&tag, artifact, &entry);
        std::fs::remove_dir_all(monorepo.repository("team/a")).unwrap();
        let run = monorepo.push("fresh", &["a", "b"]).succeeds();
        run.says(&["of the cache cannot be had, what needs it is built again"]);
        assert!(!run.has_said("not read any more"), "{}", run.stderr);
        assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
    }
}

/// It is compressed again for the image, and no Step reads its files.
#[test]
fn a_layer_that_is_cut_short_is_made_again() {
    let registry = Registry::start();
    let project = Monorepo::services(registry.host(), "team", &["a"]);
    project.write("a/Dockerfile", "FROM {busybox}\nRUN echo one > /one\nCOPY f.txt /srv/\n");
    let monorepo = Monorepo { registry, project };
    let _ = monorepo.push("first", &["a"]).succeeds();
    let whole = zstd::encode_all(&[7; 9000][..], 1).unwrap();
    let cut = &whole[..whole.len() / 2];
    let blob = monorepo.blob(&sha256(cut));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(blob, cut).unwrap();
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        if entry["record"]["inputs"].to_string().contains("echo one") {
            let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
            let layer = json!({ "mediaType": media_type, "digest": sha256(cut), "size": cut.len() });
            monorepo.give(&layer);
            entry["record"]["layer"] = layer.clone();
            manifest["layers"] = json!([layer]);
            monorepo.put(&tag, manifest, &entry);
        }
    }
    monorepo.project.write("a/f.txt", "other\n");
    let run = monorepo.push("fresh", &["a"]).succeeds();
    assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
}

/// It fits on what the base has below it, and on nothing else.
#[test]
fn an_entry_that_names_a_layer_of_anothers_base_is_of_no_use() {
    let archive = |write: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut tar = tar::Builder::new(Vec::new());
        write(&mut tar);
        tar.into_inner().unwrap()
    };
    let header = |kind| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(0);
        header
    };
    let below = archive(&|tar| tar.append_data(&mut header(tar::EntryType::Regular), "below", &b""[..]).unwrap());
    let link = archive(&|tar| tar.append_link(&mut header(tar::EntryType::Link), "above", "below").unwrap());
    let blobs = [&below, &link].map(|tar| server::gzip(tar));
    let layer = |n: usize, tar: &[u8]| server::Layer { promised: &blobs[n], diff_id: sha256(tar), served: &blobs[n] };
    let host = server::serve_base(&[layer(0, &below), layer(1, &link)]);
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        if entry["record"]["inputs"].to_string().contains("echo one") {
            let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
            entry["record"]["layer"] = json!({ "mediaType": media_type, "digest": sha256(&blobs[1]), "size": blobs[1].len() });
            entry["record"]["diff_id"] = sha256(&link).into();
            entry["carried"] = json!({});
            entry.as_object_mut().unwrap().remove("toc");
            manifest["layers"] = json!([]);
            monorepo.put(&tag, manifest, &entry);
        }
    }
    monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
    monorepo.project.write("b/Dockerfile", format!("FROM {host}/base\nCOPY f.txt /srv/\n"));
    let run = monorepo.push("fresh", &["a", "b"]).succeeds();
    assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
}

#[test]
fn a_size_that_an_entry_makes_up_is_not_handed_on_to_another_cache() {
    let longer = |entry: &mut Value, _: &Value| {
        let size = &mut entry["record"]["layer"]["size"];
        *size = (size.as_u64().unwrap() + 1).into();
    };
    // Where it is, or first where it is not, and to a registry that cannot take it over.
    for elsewhere in [false, true] {
        let (monorepo, other) = (Monorepo::new(longer, "files f.txt"), Registry::start());
        let host = monorepo.registry.host();
        for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's').into_iter().filter(|_| elsewhere) {
            manifest["layers"] = json!([]);
            entry["places"] = json!([format!("{host}/team/b"), format!("{host}/team/a-cache")]);
            let hex = &entry["record"]["layer"]["digest"].as_str().unwrap()["sha256:".len()..];
            let _ = std::fs::remove_dir_all(monorepo.repository("team/b/_layers/sha256").join(hex));
            monorepo.put(&tag, manifest, &entry);
        }
        monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a") + "COPY f.txt /opt/\n");
        let to = if elsewhere { &other } else { &monorepo.registry };
        let (from, to_pr) = (format!("--cache-from={host}/team/a-cache"), format!("--cache-to={}/team/pr", to.host()));
        let _ = monorepo.brik("fresh", &[&from, &to_pr, "a"]).succeeds();
        let tags = to.tags("team/pr");
        assert!(tags.iter().any(|tag| tag.starts_with("s-")), "the COPY is given: {tags:?}");
        assert!(!tags.iter().any(|tag| tag.starts_with("i-")), "an image with that layer is not: {tags:?}");
    }
}

/// The length of an answer without a body may be that of anything.
#[test]
fn a_registry_that_tells_wrong_lengths_loses_no_cache() {
    let registry = Registry::start();
    let proxy = Proxy::plain(&registry);
    let project = Monorepo::services(proxy.host(), "team", &["a"]);
    let monorepo = Monorepo { registry, project };
    let _ = monorepo.push("first", &["a"]).succeeds();
    monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("guest", "nobody"));
    proxy.fault(Ask::LookUp.of_path(""), Fault::Misnamed);
    let run = monorepo.push("fresh", &["a"]).succeeds();
    assert_eq!(run.steps_run(), [""; 0], "{}", run.stderr);
    assert!(proxy.dealt() > 0);
}
