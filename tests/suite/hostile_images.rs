//! Documents of images that mean harm or nonsense: manifests, indexes, configurations, and the sizes and addresses in them. The end is the
//! right image or one error that names the image.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::server::{Answers, digest, gzip, ok, serve};
use crate::support::tarball::{file, tar};
use crate::support::{Outside, Project, Run, trials};

const OCI: &str = "application/vnd.oci.image";
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// The documents of an image of one good layer, to be spoilt.
struct Documents {
    layer: Vec<u8>,
    config: Value,
    /// Of the manifest, once the configuration is known.
    manifest: fn(&mut Value),
}

impl Documents {
    fn new() -> Self {
        let plain = tar(&[file("file", "good")]);
        let config = json!({
            "architecture": ARCHITECTURE, "os": "linux", "config": {}, "history": [{"created_by": "x"}],
            "rootfs": {"type": "layers", "diff_ids": [digest(&plain)]},
        });
        Self { layer: gzip(&plain), config, manifest: |_| {} }
    }

    fn config(change: impl FnOnce(&mut Value)) -> Self {
        let mut documents = Self::new();
        change(&mut documents.config);
        documents
    }

    fn manifest(change: fn(&mut Value)) -> Self {
        Self { manifest: change, ..Self::new() }
    }

    /// The image, with this text as its manifest in place of its own where there is one.
    fn serve(&self, text: Option<String>) -> String {
        let config = self.config.to_string().into_bytes();
        let descriptor =
            |kind: &str, bytes: &[u8]| json!({"mediaType": format!("{OCI}.{kind}"), "digest": digest(bytes), "size": bytes.len()});
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"), "config": descriptor("config.v1+json", &config),
            "layers": [descriptor("layer.v1.tar+gzip", &self.layer)],
        });
        (self.manifest)(&mut manifest);
        let manifest = text.unwrap_or_else(|| manifest.to_string());
        let mut answers = blobs(&[&config, &self.layer]);
        answers.insert("/v2/base/manifests/latest".to_owned(), document(manifest.as_bytes()));
        answers.insert(format!("/v2/base/manifests/{}", digest(manifest.as_bytes())), document(manifest.as_bytes()));
        format!("{}/base", serve(answers))
    }
}

fn blobs(blobs: &[&[u8]]) -> Answers {
    let blob = |blob: &&[u8]| (format!("/v2/base/blobs/{}", digest(blob)), ok(blob));
    blobs.iter().map(blob).chain([("/v2/".to_owned(), ok(b"{}"))]).collect()
}

fn document(bytes: &[u8]) -> Vec<u8> {
    let head = format!("content-type: {OCI}.manifest.v1+json\r\ncontent-length: {}\r\nconnection: close", bytes.len());
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), bytes].concat()
}

/// A build on the image, and what `brik inspect` says of it.
fn used(base: &str) -> (Project, Run, Run) {
    let project = Project::dockerfile(&format!("FROM {base} AS b\nFROM scratch\nCOPY --from=b / /\n"));
    let (run, _) = project.build::<&str>([]).watched();
    let (seen, _) = project.brik(["inspect", base, "--files"]).watched();
    (project, run, seen)
}

#[track_caller]
fn is_refused(what: &str, base: &str, says: &str) {
    let (_, run, seen) = used(base);
    assert!(run.code == Some(1) && matches!(seen.code, Some(0 | 1)), "{what}: {run:?} {seen:?}");
    for part in [base, says] {
        assert!(run.has_said(part), "{what}: {part:?} is not in {}", run.stderr);
    }
    assert!(run.stderr.len() < 20_000, "{what}: an error of {} bytes", run.stderr.len());
}

/// What is made of a good document.
type Change = fn(&mut Value);

#[test]
fn manifests_that_are_wrong_are_refused() {
    let table: Vec<(&str, Change, &str)> = vec![
        ("10,000 layers", |m| m["layers"] = Value::Array(vec![m["layers"][0].clone(); 10_000]), "it has 10000 layers"),
        ("more layers than the configuration", |m| m["layers"] = Value::Array(vec![m["layers"][0].clone(); 2]), "names 1 layers"),
        ("no layers at all", |m| m["layers"] = Value::Null, "base"),
        ("no configuration", |m| m["config"] = Value::Null, "base"),
        ("unknown kind of layer", |m| m["layers"][0]["mediaType"] = "application/x-unknown".into(), "of the type"),
        ("encrypted layer", |m| m["layers"][0]["mediaType"] = format!("{OCI}.layer.v1.tar+gzip+encrypted").into(), "of the type"),
        ("kind of layer that moves cursors", |m| m["layers"][0]["mediaType"] = "a\u{1b}[2Jb".into(), "of the type"),
        ("negative size", |m| m["layers"][0]["size"] = (-1).into(), "base"),
        ("fraction of a size", |m| m["layers"][0]["size"] = 1.5.into(), "base"),
        ("size of 16 EiB", |m| m["layers"][0]["size"] = u64::MAX.into(), "a blob of 18446744073709551615 bytes"),
        ("configuration of 16 EiB", |m| m["config"]["size"] = u64::MAX.into(), "a blob of 18446744073709551615 bytes"),
        ("configuration of 100 MB", |m| m["config"]["size"] = 100_000_000.into(), "larger than"),
        ("layer too small", |m| m["layers"][0]["size"] = (m["layers"][0]["size"].as_u64().unwrap() - 1).into(), "sha256:"),
        ("layer too large", |m| m["layers"][0]["size"] = (m["layers"][0]["size"].as_u64().unwrap() + 1).into(), "sha256:"),
        ("layer far too large", |m| m["layers"][0]["size"] = (1u64 << 40).into(), "sha256:"),
        ("layer of nothing", |m| m["layers"][0]["size"] = 0.into(), "sha256:"),
        ("configuration too small", |m| m["config"]["size"] = 1.into(), "base"),
        ("digest that is a path", |m| m["layers"][0]["digest"] = "sha256:../../../../../etc/passwd".into(), "digest"),
        ("digest of another kind", |m| m["layers"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into(), "digest"),
        ("digest that nobody has", |m| m["layers"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into(), "sha256:0000"),
        ("layer as its configuration", |m| m["layers"][0] = m["config"].clone(), "of the type"),
        ("version of another time", |m| m["schemaVersion"] = 999.into(), "base"),
        ("version 1", |m| m["schemaVersion"] = 1.into(), "base"),
    ];
    for (what, change, says) in &table {
        is_refused(what, &Documents::manifest(*change).serve(None), says);
    }
    let texts = [
        ("nested 100,000 deep", "[".repeat(100_000)),
        ("objects 100,000 deep", "{\"a\":".repeat(100_000)),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("list", "[]".to_owned()),
        ("index of nothing", "{\"schemaVersion\":2,\"manifests\":[]}".to_owned()),
        ("index of null", "{\"schemaVersion\":2,\"manifests\":null}".to_owned()),
        ("5 MiB of blanks", " ".repeat(5 << 20)),
        ("number of a million digits", format!("{{\"schemaVersion\":{}}}", "9".repeat(1_000_000))),
    ];
    for (what, text) in &texts {
        is_refused(what, &Documents::new().serve(Some(text.clone())), "base");
    }
    println!("{} hostile manifests were refused", table.len() + texts.len());
}

#[test]
fn configurations_that_are_wrong_are_refused_or_used_as_far_as_they_go() {
    let mut tried = 0;
    let refused: Vec<(&str, Change, &str)> = vec![
        ("no rootfs", |c| drop(c.as_object_mut().unwrap().remove("rootfs")), "names 0 layers"),
        ("rootfs of null", |c| c["rootfs"]["diff_ids"] = Value::Null, "names 0 layers"),
        ("false DiffId", |c| c["rootfs"]["diff_ids"][0] = digest(b"another").into(), "as the image's config says"),
        ("DiffId that is a path", |c| c["rootfs"]["diff_ids"][0] = "../../etc/passwd".into(), "digest"),
        (
            "100,000 DiffIds",
            |c| c["rootfs"]["diff_ids"] = Value::Array(vec![c["rootfs"]["diff_ids"][0].clone(); 90_000]),
            "names 90000 layers",
        ),
        ("labels of 9 MB", |c| c["config"]["Labels"] = json!({"a": "x".repeat(9 << 20)}), "larger than"),
        ("history of 9 MB", |c| c["history"] = Value::Array(vec![json!({"created_by": "x".repeat(1000)}); 9500]), "larger than"),
        ("variables that are a number", |c| c["config"]["Env"] = 7.into(), "config cannot be read"),
        ("list", |c| *c = json!([]), "names 0 layers"),
    ];
    for (what, change, says) in refused {
        is_refused(what, &Documents::config(change).serve(None), says);
        tried += 1;
    }

    let project = Project::empty();
    let outside = Outside::beside(&project);
    let climbing = outside.climbing();
    let nested = (0..100).fold("RUN true".to_owned(), |text, _| format!("ONBUILD {text}"));
    let odd: BTreeMap<&str, Value> = BTreeMap::from([
        ("working directory that climbs", json!({"WorkingDir": climbing})),
        ("working directory with a NUL", json!({"WorkingDir": "/a\u{0}b"})),
        ("working directory of 100,000 names", json!({"WorkingDir": "/d".repeat(100_000)})),
        ("user that climbs", json!({"User": format!("{climbing}:{climbing}")})),
        ("user of huge numbers", json!({"User": "99999999999:-1"})),
        ("variables without a name", json!({"Env": ["=x", "x", "", "A=\u{0}", "PATH", "LD_PRELOAD=/x", "B=a\nb"]})),
        ("variables of 1 MiB", json!({"Env": [format!("A={}", "x".repeat(1 << 20))]})),
        ("shell of nothing", json!({"Shell": []})),
        ("shell of nothing but a name", json!({"Shell": [""]})),
        ("command with a NUL", json!({"Shell": ["/busybox\u{0}", "sh"]})),
        ("volumes that climb", json!({"Volumes": {climbing.as_str(): {}, "": {}}})),
        (
            "triggers that copy the outside",
            json!({"OnBuild": [format!("COPY --from=b {climbing} /x"), format!("ADD {climbing}/secret /x")]}),
        ),
        ("triggers within triggers", json!({"OnBuild": [nested, "FROM scratch", "ONBUILD RUN x", "", "\u{0}"]})),
        ("100,000 triggers", json!({"OnBuild": vec!["ENV A=1"; 100_000]})),
        (
            "ports and signals",
            json!({"ExposedPorts": {"-1/x": {}, "99999999999": {}}, "StopSignal": "SIGNONE", "Healthcheck": {"Interval": i64::MIN, "Retries": -1}}),
        ),
    ]);
    for (what, config) in &odd {
        let base = Documents::config(|document| {
            document["config"] = config.clone();
            document["created"] = "999999-99-99T99:99:99Z".into();
            document["author"] = "a\u{1b}[2J\u{202e}b".into();
        })
        .serve(None);
        let text = format!(
            "FROM {base} AS b\nFROM b\nCOPY --from={{busybox}} /bin/busybox /busybox\nRUN echo x\nRUN [\"/busybox\", \"true\"]\nWORKDIR below\n"
        );
        project.write("Dockerfile", text);
        let (run, _) = project.build::<&str>([]).watched();
        assert!(matches!(run.code, Some(0..=2)), "{what}: {run:?}");
        outside.is_untouched(what, &[&run]);
        outside.is_not_in(&project.out());
        let (seen, _) = project.brik(["inspect", &base]).watched();
        assert!(seen.code == Some(0) && !seen.stdout.contains('\u{1b}'), "{what}: {seen:?}");
        tried += 1;
    }
    println!("{tried} hostile configurations");
}

/// An index of the blobs that follow it, the innermost last.
fn index(of: &[u8]) -> Vec<u8> {
    let entry = json!({
        "mediaType": format!("{OCI}.index.v1+json"), "digest": digest(of), "size": of.len(),
        "platform": {"os": "linux", "architecture": ARCHITECTURE},
    });
    json!({"schemaVersion": 2, "mediaType": format!("{OCI}.index.v1+json"), "manifests": [entry]}).to_string().into_bytes()
}

#[test]
fn an_index_within_an_index_is_not_followed() {
    let (inner, mut answers) = (index(b"{}"), blobs(&[]));
    let outer = index(&inner);
    answers.insert("/v2/base/manifests/latest".to_owned(), document(&outer));
    answers.insert(format!("/v2/base/manifests/{}", digest(&outer)), document(&outer));
    answers.insert(format!("/v2/base/manifests/{}", digest(&inner)), document(&inner));
    is_refused("registry", &format!("{}/base", serve(answers)), "an index within an index");

    let project = Project::dockerfile("FROM base\n");
    let top = index(&outer);
    for blob in [&inner, &outer] {
        project.write(&format!("layout/blobs/sha256/{}", digest(blob).trim_start_matches("sha256:")), blob);
    }
    project.write("layout/index.json", top);
    project.build(["--build-context", "base=oci-layout://layout"]).exits(1).says(&["an index within an index"]);
}

#[test]
fn nobody_asks_for_the_addresses_that_a_manifest_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/layer", listener.local_addr().unwrap());
    let mut documents = Documents::new();
    let (config, layer) = (documents.config.to_string(), digest(b"elsewhere"));
    documents.layer = b"not served under this name".to_vec();
    let manifest = json!({
        "schemaVersion": 2, "config": {"mediaType": format!("{OCI}.config.v1+json"), "digest": digest(config.as_bytes()), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": layer, "size": 9, "urls": [url]}],
    });
    is_refused("foreign layer", &documents.serve(Some(manifest.to_string())), &layer);
    assert!(listener.accept().is_err(), "the address of a manifest was asked");
}

#[test]
fn a_good_image_among_many_lies_is_still_a_good_image() {
    let plain = Documents::config(|config| {
        config["history"] = Value::Array(vec![json!({"created_by": "x", "empty_layer": true}); trials(1) * 1000]);
        config["config"] = json!({"Env": null, "Labels": null, "OnBuild": null, "Volumes": null});
        config["unknown"] = json!({"deep": [{"er": null}]});
    });
    let (project, run, seen) = used(&plain.serve(None));
    assert_eq!((run.code, seen.code), (Some(0), Some(0)), "{run:?} {seen:?}");
    assert_eq!(project.built().text("/file"), "good");
}
