//! `brik inspect`: images of all places, as trees and as JSON, and compared; hostile ones, too.

use std::fs;

use serde_json::{Value, json};

use crate::support::server::{digest, gzip};
use crate::support::{Project, Run, busybox};

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

const APP: &str = "FROM scratch\nCOPY --chmod=640 file /data/file\nENV TOKEN=hunter2 PATH=/bin\nUSER 10001:5\nEXPOSE 80\n\
                   LABEL vendor=brik\nENTRYPOINT [\"/data/file\"]\n";

#[test]
fn a_layout_shows_its_layers_their_files_and_its_configuration() {
    let project = Project::dockerfile(APP).file("file", "12345");
    let _ = project.build::<&str>([]).succeeds();
    let run = project.brik(["inspect", "oci:../out", "--files"]).succeeds();
    for part in
        ["1 layer", "COPY --chmod=640 file /data/file", "-rw-r-----       0:0        5 B /data/file", "10001:5", "80/tcp", "vendor = brik"]
    {
        assert!(run.stdout.contains(part), "{part:?} is not in:\n{}", run.stdout);
    }
    assert!(run.stdout.contains("PATH, TOKEN") && !run.stdout.contains("hunter2"), "{}", run.stdout);
    let report = json(&project.brik(["inspect", "oci:../out:latest", "--files", "--format", "json"]).succeeds());
    let copied = report["history"].as_array().unwrap().iter().find(|step| !step["layer"].is_null()).unwrap();
    let file = copied["layer"]["files"].as_array().unwrap().iter().find(|file| file["path"] == "/data/file").unwrap();
    assert_eq!(file, &json!({"path": "/data/file", "kind": "file", "mode": "0640", "uid": 0, "gid": 0, "size": 5}));
    assert_eq!(report["config"]["env"], json!(["PATH", "TOKEN"]));
    assert_eq!(report["config"]["entrypoint"], json!(["/data/file"]));
    assert_eq!(report["place"], "OCI layout");
}

#[test]
fn a_service_is_the_last_build_here_and_else_what_was_pushed() {
    let project = Project::monorepo("members = [\"api\"]\ntags = [\"v1\"]\n").file("api/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    project.brik(["inspect", "api"]).exits(1).says(&["api was not built in this store", "api:v1", "brik build api"]);
    let _ = project.brik(["build"]).succeeds();
    let here = json(&project.brik(["inspect", "api", "--format", "json"]).succeeds());
    assert_eq!((&here["place"], &here["name"]), (&json!("built here"), &json!("api")));
    let _ = project.brik(["build", "--push"]).succeeds();
    let there = json(&project.brik(["inspect", "api", "--format", "json"]).store(&project.beside("other")).succeeds());
    assert_eq!((&there["place"], &there["digest"]), (&json!("registry"), &here["digest"]));
    assert!(!project.beside("other").exists(), "looking makes no store");
    // Names of images are taken as they are.
    let named = format!("{}/api:v1", project.prefix());
    assert_eq!(json(&project.brik(["inspect", &named, "--format", "json"]).succeeds())["digest"], here["digest"]);
}

#[test]
fn what_changed_since_another_image_is_told_of_layers_configuration_and_files() {
    let project = Project::empty().file("old/Dockerfile", "FROM {busybox}\nCOPY a b same /d/\nENV A=one\nLABEL l=1\n");
    for (name, text) in [("a", "1"), ("b", "1"), ("same", "1")] {
        project.write(&format!("old/{name}"), text);
    }
    project.write("new/Dockerfile", "FROM {busybox}\nCOPY a c same /d/\nENV A=two\nLABEL l=2\nUSER 7\n");
    for (name, text) in [("a", "1234"), ("c", "1"), ("same", "1")] {
        project.write(&format!("new/{name}"), text);
    }
    for name in ["old", "new"] {
        let output = format!("oci:../{name}");
        let _ = project.brik(["build", "--image", "localhost/x", "--context", name, "--output", &output]).succeeds();
    }
    let compare = |format: &str| project.brik(["inspect", "oci:../new", "oci:../old", "--format", format]).succeeds();
    let report = json(&compare("json"));
    let since = &report["since"];
    assert_eq!((&since["layers"]["added"], &since["layers"]["removed"]), (&json!(1), &json!(1)));
    assert!(since["layers"]["shared"].as_u64().unwrap() > 0 && since["files_unchanged"].as_u64().unwrap() > 10);
    let files: Vec<String> =
        since["files"].as_array().unwrap().iter().map(|f| format!("{} {}", f["change"], f["path"]).replace('"', "")).collect();
    assert_eq!(files, ["changed /d/a", "removed /d/b", "added /d/c"]);
    let text = compare("human").stdout;
    for line in ["  ~ /d/a (content, 1 B -> 4 B)\n", "  + user: 7\n", "  ~ label l: 1 -> 2\n", "  ~ env A\n"] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    assert!(!text.contains("one") && !text.contains("two"), "values of variables are not told:\n{text}");
    // Against itself, nothing.
    let same = json(&project.brik(["inspect", "oci:../new", "oci:../new", "--format", "json"]).succeeds());
    assert_eq!((&same["since"]["files"], &same["since"]["config"]), (&json!([]), &json!([])));
}

#[test]
fn layers_of_a_registry_are_read_where_they_are_not_here() {
    let project = Project::empty();
    let run = project.brik(["inspect", busybox(), "--files"]).env("XDG_CACHE_HOME", "/proc/1/cache").succeeds();
    assert!(run.stdout.contains("/bin/busybox") && run.stdout.contains("unpacked"), "{}", run.stdout);
}

/// An OCI layout of one layer, with this in all that an image can make up.
fn layout(project: &Project, text: &str, name: &str, diff_id: Option<&str>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, name, &b"x"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let layer = gzip(&tar);
    let config = json!({
        "architecture": text, "os": "linux", "created": text, "author": text,
        "config": {"User": text, "Env": [format!("{text}=1")], "Labels": {text: text}, "Cmd": [text], "WorkingDir": text, "ExposedPorts": {text: {}}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.map_or_else(|| digest(&tar), str::to_owned)]},
        "history": [{"created_by": text}, {"created_by": text, "empty_layer": true}],
    });
    let blob = |bytes: &[u8]| {
        project.write(&format!("layout/blobs/sha256/{}", digest(bytes).trim_start_matches("sha256:")), bytes);
        json!({"mediaType": text, "digest": digest(bytes), "size": bytes.len()})
    };
    let (config, layer) = (blob(config.to_string().as_bytes()), blob(&layer));
    let manifest =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]});
    let index = json!({"schemaVersion": 2, "manifests": [blob(manifest.to_string().as_bytes())]});
    project.write("layout/index.json", index.to_string());
}

#[test]
fn what_an_image_makes_up_moves_no_cursor() {
    let project = Project::empty();
    let text = "a\u{1b}[2Jb\u{9b}31m\u{7f}\u{202e}c\r\nd";
    layout(&project, text, "name\u{1b}[2J\u{9b}1m\u{202e}", None);
    for args in [&["--files"][..], &["--files", "--format", "json"], &["oci:layout"], &["oci:layout", "--format", "json"]] {
        let run = project.brik(["inspect", "oci:layout"]).args(args).succeeds();
        let is_bad = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!run.stdout.contains(is_bad), "{:?}", run.stdout);
        assert!(run.stdout.contains("ab"), "{:?}", run.stdout);
    }
}

#[test]
fn layers_that_are_not_what_they_should_be_are_refused() {
    let project = Project::empty();
    layout(&project, "x", "file", Some(&digest(b"another")));
    let _ = project.brik(["inspect", "oci:layout"]).succeeds();
    project.brik(["inspect", "oci:layout", "--files"]).exits(1).says(&["brik::inspect::failed", &digest(b"another")]);
    layout(&project, "x", "file", None);
    for blob in fs::read_dir(project.path("layout/blobs/sha256")).unwrap().flatten() {
        if fs::read(blob.path()).unwrap().starts_with(&[0x1f, 0x8b]) {
            fs::write(blob.path(), b"\x1f\x8b\x08cut").unwrap();
        }
    }
    let _ = project.brik(["inspect", "oci:layout", "--files"]).exits(1);
}

#[test]
fn an_index_is_followed_to_the_platform_that_is_asked_for() {
    let project = Project::monorepo("members = [\"api\"]\ntags = [\"v1\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
    let project = project.file("api/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let _ = project.brik(["build", "--push"]).succeeds();
    let name = format!("{}/api:v1", project.prefix());
    for platform in ["linux/amd64", "linux/arm64"] {
        let report = json(&project.brik(["inspect", &name, "--platform", platform, "--format", "json"]).succeeds());
        assert_eq!((&report["platform"], &report["platforms"]), (&json!(platform), &json!(["linux/amd64", "linux/arm64"])));
        let here = json(&project.brik(["inspect", "api", "--platform", platform, "--format", "json"]).succeeds());
        assert_eq!(here["digest"], report["digest"]);
    }
    project.brik(["inspect", &name, "--platform", "linux/s390x"]).exits(1).says(&["linux/s390x", "linux/amd64, linux/arm64"]);
    let _ = project.brik(["inspect", &name, "--platform", "minix"]).exits(2);
}

#[test]
fn names_that_mean_nothing_are_told_apart() {
    let project = Project::monorepo("members = [\"api\"]\n").file("api/Dockerfile", "FROM scratch\n");
    project.brik(["inspect", "API"]).exits(2).says(&["is no service, and no image", "the services are: api"]);
    project.brik(["inspect", "oci:nothing"]).exits(1).says(&["nothing/index.json"]);
    project.brik(["inspect", "127.0.0.1:9/x"]).exits(1).says(&["nothing listens at 127.0.0.1:9"]);
    project.brik(["inspect", &format!("{}/nothing", project.prefix())]).exits(1).says(&["not found"]);
    project.write("brik.toml", "registri = 1\n");
    project.brik(["inspect", "api"]).exits(2).says(&["registri"]);
}
