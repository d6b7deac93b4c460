//! A registry with GHCR's habits, and every fault that one can have in every path: brik ends with the same image or says why not, and never
//! leaves a tag whose image is not whole.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::proxy::When;
use crate::support::{Ask, Brik, Fault, PASSWORD, Project, Proxy, Registry, USER, proxy, tools};

use Fault::{
    Challenge, Cut, Flipped, Garbage, HangUp, Html, Lost, Missing, NoMount, RangeTooLarge, Reset, SecondaryLimit, Slow, Status, TooMany,
    TooManyForMs, Truncated, Unsupported, WebPage, WritePackage,
};

/// What a push comes to.
enum Then {
    /// The image that there would be without the fault.
    Same,
    /// The same, and this is told on the way.
    Warns(&'static [&'static str]),
    /// An error that says all of this, and no tag.
    Fails(&'static [&'static str]),
}
use Then::{Fails, Same, Warns};

/// Bytes that do not compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// A registry with a base of one layer.
fn registry() -> Registry {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM scratch\nCOPY base /base\n").file("base", noise(1, 300_000));
    let _ = base.brik(["build", "--push", "--image", &format!("{}/team/base", registry.host()), "--tags", "1"]).succeeds();
    registry
}

/// A push of an image over that base.
fn push(proxy: &Proxy, repository: &str) -> (Project, Brik) {
    let host = proxy.host();
    let project = Project::dockerfile(&format!("FROM {host}/team/base:1\nCOPY app /app\n")).file("app", noise(2, 500_000));
    let brik = project.brik(["build", "--push", "--image", &format!("{host}/{repository}"), "--tags", "v1"]);
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

/// What a fault is in, the fault, and what comes of it.
type Row = (&'static str, When, Fault, Then);

/// Pushes once a row, each from an empty store to a repository of its own, and tells of all rows that went otherwise.
fn each(rows: Vec<Row>) {
    const AT_ONCE: usize = 4;
    let registry = registry();
    let faultless = Proxy::plain(&registry);
    let digest = push(&faultless, "team/faultless").1.succeeds().digests().remove(0);
    assert_eq!(whole(&registry, "team/faultless", "v1"), Some(digest.clone()));
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(row) = rows.get(number)
        {
            if let Err(how) = check(&registry, &format!("team/app-{number}"), row, &digest) {
                wrong.lock().unwrap().push(format!("{} with {:?}: {how}", row.0, row.2));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Whether a push to `repository` with a row's fault ends as it says, with `digest` if it succeeds.
fn check(registry: &Registry, repository: &str, (_, when, fault, then): &Row, digest: &str) -> Result<(), String> {
    let proxy = Proxy::ghcr(registry);
    proxy.fault(when.clone(), fault.clone());
    let (_project, brik) = push(&proxy, repository);
    let run = brik.run();
    let (code, said): (_, &[&str]) = match then {
        Same => (0, &[]),
        Warns(said) => (0, said),
        Fails(said) => (1, said),
    };
    let wanted = (code == 0).then(|| digest.to_owned());
    let there = whole(registry, repository, "v1");
    let because = || format!("{}\n{:#?}", run.stderr, proxy.lines());
    if proxy.dealt() == 0 {
        return Err(format!("it was never dealt\n{}", because()));
    }
    if run.code != Some(code) || there != wanted || wanted.is_some_and(|digest| !run.stdout.contains(&digest)) {
        return Err(format!("exit code {:?}, {there:?} is there\n{}", run.code, because()));
    }
    match said.iter().find(|part| !run.has_said(part)) {
        Some(part) => Err(format!("{part:?} is not said\n{}", because())),
        None => Ok(()),
    }
}

const LATE: Fault = Slow(Duration::from_millis(300));

#[test]
fn uploads_survive_what_passes_and_name_what_does_not() {
    let limit: &[&str] = &["limits requests", "it asks to wait 3600 s"];
    let closed: &[&str] = &["permission_denied: write_package", "$REGISTRY_TOKEN", "Manage Actions access"];
    each(vec![
        ("upload", Ask::Upload.nth(1), HangUp, Same),
        ("upload", Ask::Upload.nth(1), Lost, Same),
        ("upload", Ask::Upload.nth(1), Reset, Same),
        ("upload", Ask::Upload.first(2), Status(500), Same),
        ("upload", Ask::Upload.nth(2), TooMany("1"), Same),
        ("upload", Ask::Upload.first(3), TooManyForMs(1), Same),
        ("upload", Ask::Upload.nth(1), SecondaryLimit, Same),
        ("upload", Ask::Upload.nth(1), Challenge, Same),
        ("upload", Ask::Upload.into(), LATE, Same),
        ("a long wait", Ask::Upload.nth(1), TooMany("3"), Warns(&["limits requests", "brik waits as long as it asks, 3 s now"])),
        ("upload", Ask::Upload.into(), TooMany("3600"), Fails(limit)),
        ("upload", Ask::Upload.into(), WritePackage, Fails(closed)),
        ("upload", Ask::Upload.into(), Unsupported, Fails(&["push blob sha256:", "status 405"])),
        ("upload", Ask::Upload.into(), RangeTooLarge, Fails(&["push blob sha256:", "status 416", "4.00MiB"])),
        ("upload", Ask::Upload.into(), Flipped, Fails(&["push blob sha256:", "DIGEST_INVALID"])),
        ("upload", Ask::Upload.into(), Truncated, Fails(&["push blob sha256:", "DIGEST_INVALID"])),
        ("upload", Ask::Upload.into(), Reset, Fails(&["push blob sha256:", "the connection broke"])),
        ("open", Ask::Open.nth(2), HangUp, Same),
        ("open", Ask::Open.nth(2), TooMany("1"), Same),
        ("open", Ask::Open.nth(2), Status(503), Same),
        ("preflight", Ask::Open.into(), WritePackage, Fails(closed)),
        ("preflight", Ask::Open.into(), Html, Fails(&["push (asked before the build)", "Location"])),
        ("cancel", Ask::Delete.into(), HangUp, Same),
        ("look", Ask::LookUp.nth(1), HangUp, Same),
        ("look", Ask::LookUp.first(2), SecondaryLimit, Same),
        ("look", Ask::LookUp.into(), WebPage, Fails(&["look up blob", "an HTML page"])),
        ("look", Ask::LookUp.into(), WritePackage, Fails(&["look up blob", "denied"])),
    ]);
}

#[test]
fn downloads_of_a_base_survive_what_passes_and_name_what_does_not() {
    each(vec![
        ("config", Ask::Download.nth(1), HangUp, Same),
        ("config", Ask::Download.nth(1), Cut, Same),
        ("layer", Ask::Download.nth(2), HangUp, Same),
        ("layer", Ask::Download.nth(2), Cut, Same),
        ("layer", Ask::Download.nth(2), Status(502), Same),
        ("layer", Ask::Download.nth(2), TooMany("1"), Same),
        ("layer", Ask::Download.nth(2), TooManyForMs(1), Same),
        ("layer", Ask::Download.nth(2), SecondaryLimit, Same),
        ("layer", Ask::Download.nth(2), Challenge, Same),
        ("layer", Ask::Download.into(), LATE, Same),
        ("config", Ask::Download.into(), Flipped, Fails(&["read blob sha256:", "damaged"])),
        ("layer", Ask::Download.nth(2), Flipped, Fails(&["read blob sha256:", "damaged"])),
        ("layer", Ask::Download.nth(2), Truncated, Fails(&["read blob sha256:", "expected", "bytes"])),
        ("layer", Ask::Download.nth(2), Html, Fails(&["read blob sha256:", "expected", "bytes"])),
        ("layer", Ask::Download.nth(2), WebPage, Fails(&["read blob sha256:", "expected", "bytes"])),
        ("layer", Ask::Download.nth(2), Missing, Fails(&["read blob sha256:", "not found"])),
        ("layer", Ask::Download.nth(2), WritePackage, Fails(&["read blob sha256:", "denied with $REGISTRY_TOKEN"])),
        ("layer", Ask::Download.into(), HangUp, Fails(&["read blob sha256:", "the connection broke"])),
    ]);
}

#[test]
fn a_mount_is_only_ever_an_offer() {
    let faults = [NoMount, Missing, Unsupported, WritePackage, SecondaryLimit, Challenge, HangUp, Lost, LATE, Html, Garbage];
    let waits = [TooMany("1"), TooMany("3600"), TooManyForMs(1), Status(500), WebPage];
    each(faults.into_iter().chain(waits).map(|fault| ("mount", Ask::Mount.into(), fault, Same)).collect());
}

#[test]
fn a_mount_that_opens_an_upload_is_used_as_one() {
    let registry = registry();
    let proxy = Proxy::ghcr(&registry);
    proxy.fault(Ask::Mount, NoMount);
    let _ = push(&proxy, "team/app").1.succeeds();
    // The preflight asks without a token and with one; but for that, only the config has no mount to be offered.
    assert_eq!(proxy.asked(Ask::Open).len(), 2 + 1, "{:#?}", proxy.lines());
    assert_eq!((proxy.asked(Ask::Mount).len(), proxy.asked(Ask::Upload).len()), (2, 2 + 1), "{:#?}", proxy.lines());
}

#[test]
fn manifests_survive_what_passes_and_name_what_does_not() {
    let base = || Ask::ReadManifest.of_path("team/base");
    each(vec![
        ("read", base().nth(1), HangUp, Same),
        ("read", base().nth(1), Cut, Same),
        ("read", base().nth(1), Status(502), Same),
        ("read", base().nth(1), TooMany("1"), Same),
        ("read", base().nth(1), TooManyForMs(1), Same),
        ("read", base().nth(1), SecondaryLimit, Same),
        ("read", base().nth(1), Challenge, Same),
        ("read", base(), LATE, Same),
        ("read", base(), Flipped, Fails(&["read manifest 1", "expected sha256:"])),
        ("read", base(), Truncated, Fails(&["read manifest 1", "expected sha256:"])),
        ("read", base(), Html, Fails(&["read manifest 1", "an HTML page"])),
        ("read", base(), WebPage, Fails(&["read manifest 1", "an HTML page"])),
        ("read", base(), Missing, Fails(&["read manifest 1", "not found"])),
        ("read", base(), WritePackage, Fails(&["read manifest 1", "denied with $REGISTRY_TOKEN"])),
        ("read", base(), TooMany("3600"), Fails(&["limits requests", "it asks to wait 3600 s"])),
        ("tag", Ask::ReadManifest.of_path("team/app"), Missing, Same),
        ("tag", Ask::ReadManifest.of_path("team/app"), Html, Fails(&["read manifest v1", "an HTML page"])),
        ("write", Ask::WriteManifest.nth(1), HangUp, Same),
        ("write", Ask::WriteManifest.nth(1), Lost, Same),
        ("write", Ask::WriteManifest.nth(1), Reset, Same),
        ("write", Ask::WriteManifest.first(2), Status(500), Same),
        ("write", Ask::WriteManifest.nth(1), TooMany("1"), Same),
        ("write", Ask::WriteManifest.nth(1), SecondaryLimit, Same),
        ("write", Ask::WriteManifest.nth(1), Challenge, Same),
        ("write", Ask::WriteManifest.into(), LATE, Same),
        ("write", Ask::WriteManifest.into(), WritePackage, Fails(&["push manifest v1", "write_package", "Manage Actions access"])),
        ("write", Ask::WriteManifest.into(), Unsupported, Fails(&["push manifest v1", "status 405"])),
        ("write", Ask::WriteManifest.into(), Truncated, Fails(&["push manifest v1", "MANIFEST_INVALID"])),
        // The registry takes what was damaged, and is told again.
        ("write", Ask::WriteManifest.nth(1), Flipped, Same),
    ]);
}

#[test]
fn tokens_survive_what_passes_and_name_what_does_not() {
    each(vec![
        ("token", Ask::Token.nth(1), HangUp, Same),
        ("token", Ask::Token.nth(2), HangUp, Same),
        ("token", Ask::Token.nth(1), Cut, Same),
        ("token", Ask::Token.nth(2), Status(502), Same),
        ("token", Ask::Token.nth(1), TooMany("1"), Same),
        ("token", Ask::Token.nth(2), TooManyForMs(1), Same),
        ("token", Ask::Token.nth(2), SecondaryLimit, Same),
        ("token", Ask::Token.into(), LATE, Same),
        ("a token that is not accepted", Ask::Token.into(), Flipped, Fails(&["read manifest 1", "not authorised with $REGISTRY_TOKEN"])),
        ("token", Ask::Token.into(), TooMany("3600"), Fails(&["get a token from 127.0.0.1", "it asks to wait 3600 s"])),
        ("token", Ask::Token.into(), WritePackage, Fails(&["get a token from 127.0.0.1", "denied with $REGISTRY_TOKEN"])),
        ("token", Ask::Token.into(), Status(401), Fails(&["get a token from 127.0.0.1", "not authorised with $REGISTRY_TOKEN"])),
        ("token", Ask::Token.into(), Html, Fails(&["expected a token in JSON, got an HTML page"])),
        ("token", Ask::Token.into(), WebPage, Fails(&["expected a token in JSON, got an HTML page"])),
        ("token", Ask::Token.into(), Garbage, Fails(&["expected a token in JSON, got JSON without a token"])),
        ("token", Ask::Token.into(), Truncated, Fails(&["expected a token in JSON"])),
        ("token", Ask::Token.into(), HangUp, Fails(&["get a token from 127.0.0.1", "the connection broke"])),
    ]);
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
    let push = || project.brik(["build", "--push"]).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();

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
    proxy.fault(Ask::WriteManifest, WritePackage);
    let (project, brik) = push(&proxy, "team/app");
    let _ = brik.exits(1);
    proxy.heal();
    let uploads = proxy.asked(Ask::Upload).len();
    let again = project.brik(["build", "--push", "--image", &format!("{}/team/app", proxy.host()), "--tags", "v1"]);
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
