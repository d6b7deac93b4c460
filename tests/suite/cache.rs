//! The store as a cache: what runs again, what is shared, how it is measured and emptied.

use serde_json::Value;

use crate::support::{Project, Run};

/// A Step that counts in a cache mount how often it has run.
const COUNTED: &str = "FROM {busybox}\nRUN --mount=type=cache,id=count,target=/count echo >> /count/runs && sleep 0.3\n";

/// How often the Step of [`COUNTED`] has run in this project's store.
fn runs(project: &Project) -> usize {
    project
        .write("Dockerfile.count", "FROM {busybox}\nARG NOW\nRUN --mount=type=cache,id=count,target=/count wc -l < /count/runs > /out\n");
    project.image(["--dockerfile", "Dockerfile.count"]).text("/out").trim().parse().unwrap()
}

#[test]
fn no_cache_runs_every_step_again() {
    let project = Project::dockerfile(COUNTED);
    let _ = project.build::<&str>([]).succeeds();
    let again = project.build(["--no-cache"]).succeeds();
    assert_eq!(again.steps_run().len(), 1);
    assert_eq!(runs(&project), 2);
}

#[test]
fn identical_steps_of_two_services_run_once() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("a/Dockerfile", COUNTED).file("b/Dockerfile", format!("{COUNTED}ENV B=1\n"));
    let run = project.brik(["build", "--progress", "json", "-j4"]).succeeds();
    assert_eq!(run.steps_run().len(), 1);
    assert_eq!(run.events_of("step_started")[0]["services"], serde_json::json!(["a", "b"]));
    assert_eq!(runs(&project), 1);
}

#[test]
fn two_briks_on_one_store_run_a_step_once_and_agree() {
    let project = Project::dockerfile(COUNTED);
    let start = || project.brik(["build", "--image", "localhost/app"]).start();
    let (one, other) = (start(), start());
    let [one, other] = [one, other].map(|child| Run::of(child.wait_with_output().unwrap()));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{}\n{}", one.stderr, other.stderr);
    assert_eq!(one.stdout, other.stdout);
    assert_eq!(runs(&project), 1);
}

#[test]
fn du_counts_what_a_build_has_left() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let usage = || -> Value { serde_json::from_str(&project.brik(["cache", "du", "--format", "json"]).succeeds().stdout).unwrap() };
    let before = usage();
    assert_eq!((&before["records"], &before["blobs"]), (&0.into(), &0.into()));
    let _ = project.build::<&str>([]).succeeds();
    let after = usage();
    assert!(after["records"].as_u64() > Some(0) && after["blobs"].as_u64() > Some(0), "{after}");
}

#[test]
fn prune_empties_the_store_and_the_next_build_works() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\n");
    let first = project.build::<&str>([]).succeeds();
    let _ = project.brik(["cache", "prune"]).succeeds();
    let usage: Value = serde_json::from_str(&project.brik(["cache", "du", "--format", "json"]).succeeds().stdout).unwrap();
    assert_eq!((&usage["records"], &usage["snapshots"]), (&0.into(), &0.into()), "{usage}");
    let second = project.build::<&str>([]).succeeds();
    assert_eq!((second.steps_run().len(), second.digests()), (1, first.digests()));
}

#[test]
fn prune_keeps_what_fits() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\n");
    let _ = project.build::<&str>([]).succeeds();
    let _ = project.brik(["cache", "prune", "--keep-storage", "10GiB"]).succeeds();
    assert!(project.build::<&str>([]).succeeds().steps_run().is_empty());
}

#[test]
fn sizes_and_times_that_cannot_be_read_are_usage_errors() {
    let project = Project::empty();
    project.brik(["cache", "prune", "--keep-storage", "much"]).exits(2).says(&["10GiB"]);
    project.brik(["cache", "prune", "--keep-within", "long"]).exits(2).says(&["72h"]);
}

#[test]
fn a_blob_that_was_lost_is_built_again() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a".repeat(1000));
    let _ = project.build::<&str>([]).succeeds();
    let digest = project.built().manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
    let blob = project.store().join("blobs").join(digest);
    std::fs::remove_file(&blob).unwrap();
    let run = project.build::<&str>([]).succeeds();
    assert_eq!(run.steps_run().len(), 1);
}

#[test]
fn a_store_of_another_version_is_refused() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let _ = project.build::<&str>([]).succeeds();
    std::fs::write(project.store().join("version"), "99").unwrap();
    project.build::<&str>([]).exits(1).says(&["version \"99\"", "--store"]);
}

#[test]
fn a_layer_that_was_damaged_in_the_store_is_told_and_made_again() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let _ = project.build::<&str>([]).succeeds();
    for blob in std::fs::read_dir(project.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&blob).unwrap();
        // A layer: the documents are JSON.
        if bytes[0] != b'{' {
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&blob, bytes).unwrap();
        }
    }
    project.build(["--output", "oci:out"]).exits(1).says(&["damaged", "run again"]);
    let _ = project.build(["--output", "oci:out"]).succeeds();
}

#[test]
fn a_snapshot_keeps_nothing_but_what_its_step_made() {
    let project =
        Project::dockerfile("FROM {busybox}\nRUN --mount=target=/context,rw cp /context/a /b && echo >> /context/a\n").file("a", "a");
    let _ = project.build::<&str>([]).succeeds();
    let mut snapshots = 0;
    for mapping in std::fs::read_dir(project.store().join("snapshots")).unwrap() {
        for snapshot in std::fs::read_dir(mapping.unwrap().path()).unwrap() {
            assert_eq!(std::fs::read_dir(snapshot.unwrap().path()).unwrap().count(), 1);
            snapshots += 1;
        }
    }
    assert_eq!(snapshots, 3, "two of the base and that of the RUN");
}

#[test]
fn a_layer_that_only_a_stage_had_is_the_same_when_an_image_gets_it() {
    let text = "FROM scratch AS parts\nCOPY a /a\nFROM scratch\nCOPY --from=parts /a /b\n";
    let project = || Project::dockerfile(text).file("a", "content ".repeat(1000));
    let (one, other) = (project(), project());
    let _ = one.build::<&str>([]).succeeds();
    let later = one.build(["--target", "parts"]).succeeds();
    assert_eq!(later.steps_run(), Vec::<String>::new());
    assert_eq!(later.digests(), other.build(["--target", "parts"]).succeeds().digests());
    assert_eq!(one.image(["--target", "parts"]).text("/a").len(), 8000);
}

#[test]
fn a_damaged_layer_that_an_image_is_to_get_is_told_and_made_again() {
    let text = "FROM scratch AS parts\nCOPY a /a\nFROM scratch\nCOPY --from=parts /a /b\n";
    let project = Project::dockerfile(text).file("a", "content ".repeat(1000));
    let _ = project.build::<&str>([]).succeeds();
    for blob in std::fs::read_dir(project.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&blob).unwrap();
        // zstd.
        if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let near_the_end = bytes.len() - 3;
            bytes[near_the_end] ^= 1;
            std::fs::write(&blob, bytes).unwrap();
        }
    }
    project.build(["--target", "parts"]).exits(1).says(&["damaged", "run again"]);
    assert_eq!(project.image(["--target", "parts"]).text("/a").len(), 8000);
}

#[test]
fn a_step_over_a_layer_that_borrowed_its_files_finds_them() {
    let project = Project::dockerfile("FROM {busybox}\nCOPY a /src\n").file("a/b", "there");
    let _ = project.build::<&str>([]).succeeds();
    project.write("Dockerfile", "FROM {busybox}\nCOPY a /src\nRUN cat /src/b > /read\n");
    assert_eq!(project.build(["--output", "oci:again"]).succeeds().steps_run(), ["[app stage-0 2/2] RUN cat /src/b > /read"]);
    assert_eq!(crate::support::Image::read(&project.path("again")).text("/read"), "there");
}
