//! A registry with GHCR's habits, and every fault that one can have in every path: brik ends with the same image or says why not, and never
//! leaves a tag whose image is not whole.

mod faults;

use serde_json::Value;

use crate::support::{Ask, Brik, Fault, PASSWORD, Project, Proxy, Registry, USER, proxy, tools};

const NO_CACHE: &[&str] = &["--no-remote-cache"];

/// Bytes that do not compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// A registry with a base of one layer.
fn registry() -> Registry {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM scratch\nCOPY base /base\n").file("base", noise(1, 300_000));
    let _ =
        base.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{}/team/base", registry.host()), "--tags", "1"]).succeeds();
    registry
}

/// A push of an image over that base.
fn push(proxy: &Proxy, repository: &str, args: &[&str]) -> (Project, Brik) {
    let host = proxy.host();
    let project = Project::dockerfile(&format!("FROM {host}/team/base:1\nCOPY app /app\n")).file("app", noise(2, 500_000));
    let brik = project.brik(["build", "--push", "--image", &format!("{host}/{repository}"), "--tags", "v1"]).args(args);
    (project, brik.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER))
}

/// The digest of a tag in the registry itself, all of whose blobs are there; `None` where there is no such tag.
fn whole(registry: &Registry, repository: &str, tag: &str) -> Option<String> {
    if !registry.tags(repository).contains(&tag.to_owned()) {
        return None;
    }
    let manifest = proxy::ask(registry.host(), "GET", &format!("/v2/{repository}/manifests/{tag}"));
    let digest = manifest.headers.iter().find(|(name, _)| name == "Docker-Content-Digest").map(|(_, digest)| digest.clone());
    let manifest: Value = serde_json::from_slice(&manifest.body).expect("a manifest");
    for blob in manifest["layers"].as_array().expect("layers").iter().chain([&manifest["config"]]) {
        let blob = blob["digest"].as_str().expect("a digest");
        let there = proxy::ask(registry.host(), "HEAD", &format!("/v2/{repository}/blobs/{blob}"));
        assert_eq!(there.status, 200, "{repository}:{tag} lacks {blob}");
    }
    digest
}

#[test]
fn a_mount_that_opens_an_upload_is_used_as_one() {
    let registry = registry();
    let proxy = Proxy::ghcr(&registry);
    proxy.fault(Ask::Mount, Fault::NoMount);
    let _ = push(&proxy, "team/app", NO_CACHE).1.succeeds();
    // The preflight asks without a token and with one; the layer that is new and the config have no mount to be offered.
    assert_eq!(proxy.asked(Ask::Open).len(), 2 + 2, "{:#?}", proxy.lines());
    assert_eq!((proxy.asked(Ask::Mount).len(), proxy.asked(Ask::Upload).len()), (1, 1 + 2), "{:#?}", proxy.lines());
}

/// Three services over one base; the layer of one is larger than GHCR lets a PATCH be.
#[test]
fn a_monorepo_goes_through_ghcr_cold_and_warm() {
    let registry = registry();
    let proxy = Proxy::ghcr(&registry);
    let host = proxy.host();
    let toml = format!("registry = \"{host}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n");
    let project = Project::empty().file("brik.toml", toml).file("a/large", noise(3, 5 << 20));
    for name in ["a", "b", "c"] {
        project.write(&format!("{name}/Dockerfile"), format!("FROM {host}/team/base:1\nCOPY . /{name}\n"));
        project.write(&format!("{name}/file"), name);
    }
    let push =
        || project.brik(["build", "--push", "--no-remote-cache"]).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();

    let cold = push();
    for (name, digest) in ["a", "b", "c"].into_iter().zip(cold.digests()) {
        assert_eq!(whole(&registry, &format!("team/{name}"), "v1"), Some(digest), "{name}");
    }
    assert!(!proxy.lines().iter().any(|line| line.starts_with("PATCH ")), "{:#?}", proxy.lines());
    // The layer and the config of each; the base is mounted.
    assert_eq!(proxy.asked(Ask::Upload).len(), 3 * 2);
    // What a mount is from may be the base or the service that was first to have it.
    let scope = |name: &str, actions: &str| format!("repository:team/{name}:{actions}");
    let mut needed = vec![scope("base", "pull")];
    for name in ["a", "b", "c"] {
        let (pull, push) = (scope(name, "pull"), scope(name, "pull,push"));
        needed.extend(["base", "a", "b", "c"].map(|source| format!("{push} {}", scope(source, "pull"))));
        needed.extend([pull, push]);
    }
    for scope in proxy.scopes() {
        assert!(needed.contains(&scope), "{scope} is not needed");
    }

    let before = proxy.requests().len();
    let warm = push();
    assert_eq!(warm.stdout, cold.stdout);
    let asked: Vec<String> = proxy.lines().split_off(before);
    assert!(asked.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{asked:#?}");
    assert!(!asked.iter().any(|line| line.contains("/blobs/")), "{asked:#?}");
}

#[test]
fn a_push_that_failed_goes_on_where_it_was_when_the_registry_is_well_again() {
    let registry = registry();
    let proxy = Proxy::ghcr(&registry);
    proxy.fault(Ask::WriteManifest, Fault::WritePackage);
    let (project, brik) = push(&proxy, "team/app", NO_CACHE);
    let _ = brik.exits(1);
    proxy.heal();
    let uploads = proxy.asked(Ask::Upload).len();
    let again = project.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{}/team/app", proxy.host()), "--tags", "v1"]);
    let _ = again.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();
    assert!(whole(&registry, "team/app", "v1").is_some());
    assert_eq!(proxy.asked(Ask::Upload).len(), uploads);
}

#[test]
fn the_proxy_is_as_ghcr_is() {
    if !tools::installed(&["curl"]) {
        return;
    }
    let registry = registry();
    let proxy = Proxy::ghcr(&registry);
    // Arguments are what stands between spaces.
    let curl = |header: &str, arguments: &str| {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, */*";
        let always =
            ["--silent", "--include", "--header", accept, "--header", "Content-Type: application/octet-stream", "--header", header];
        tools::output("curl", &always.into_iter().chain(arguments.split(' ')).collect::<Vec<_>>())
    };
    let (tokens, base) = (format!("http://{}/token?service=ghcr.io&scope=", proxy.host()), format!("http://{}/v2/team/base", proxy.host()));
    let token = |login: &str, scope: &str| {
        let answer = curl("", &format!("{login} {tokens}{scope}"));
        answer.split_once(r#""token":""#).map(|(_, rest)| format!("Authorization: Bearer {}", rest.split('"').next().unwrap_or_default()))
    };
    let login = format!("--user {USER}:{PASSWORD}");
    assert_eq!(token("--ipv4", "repository:team/base:pull,push"), None, "nobody may push");
    assert_eq!(token(&login, "repository:team/base:push"), None, "a scope of another form");
    let push = token(&login, "repository:team/base:pull,push").unwrap();
    let pull = token("--ipv4", "repository:team/base:pull").unwrap();

    let opened = curl(&push, &format!("--request POST {base}/blobs/uploads/"));
    let session = opened.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim();
    assert!(session.starts_with(&base), "{session}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), noise(4, (4 << 20) + 1)).unwrap();
    let patch = format!("--request PATCH --data-binary @{} {session}", file.path().display());
    for (token, arguments, status, says) in [
        ("", &format!("{base}/manifests/1"), 401, "service=\"ghcr.io\""),
        (&pull, &format!("{base}/manifests/1"), 200, "Docker-Content-Digest: sha256:"),
        (&pull, &format!("{base}/tags/list"), 200, r#""tags":["1"]"#),
        (&pull, &format!("{base}-other/manifests/1"), 401, "authentication required"),
        (&pull, &format!("{base}/referrers/sha256:0"), 303, "/login"),
        (&pull, &format!("--location {base}/referrers/sha256:0"), 200, "<!DOCTYPE html>"),
        (&push, &format!("--request DELETE {base}/manifests/1"), 405, "UNSUPPORTED"),
        (&push, &format!("--header Content-Range:0-4194304 {patch}"), 416, "4.00MiB"),
        (&push, &patch, 202, "Range: 0-4194304"),
    ] {
        let answer = curl(token, arguments);
        assert!(answer.contains(&format!("HTTP/1.1 {status} ")) && answer.contains(says), "{arguments}:\n{answer}");
    }
}
