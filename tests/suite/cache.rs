//! The store as a cache: what runs again, what is shared, how it is measured and emptied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

/// What a subcommand of `brik cache` says in JSON.
#[track_caller]
fn cache_json(project: &Project, args: &[&str]) -> Value {
    serde_json::from_str(&project.brik(["cache"]).args(args).args(["--format", "json"]).succeeds().stdout).unwrap()
}

#[test]
fn du_counts_what_a_build_has_left_by_kind() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a".repeat(10_000));
    let count = |usage: &Value, kind: &str| usage[kind]["count"].as_u64().unwrap();
    let before = cache_json(&project, &["du"]);
    assert_eq!((&before["total"]["bytes"], &before["records"]), (&0.into(), &serde_json::json!({})));
    let _ = project.build::<&str>([]).succeeds();
    let after = cache_json(&project, &["du"]);
    assert_eq!((&after["records"]["step"]["count"], &after["records"]["image"]["count"]), (&1.into(), &1.into()), "{after}");
    assert_eq!(
        (count(&after, "blobs"), count(&after, "snapshots"), count(&after, "tmp")),
        (5, 0, 0),
        "layer, its table of contents, list of files, config, manifest: {after}"
    );
    let table = project.brik(["cache", "du"]).succeeds().stdout;
    let kinds: Vec<&str> = table.lines().skip(1).map(|line| line[..16].trim()).collect();
    let expected = [
        "image records",
        "step records",
        "toc records",
        "trail records",
        "blobs",
        "snapshots",
        "cache mounts",
        "stat caches",
        "in progress",
        "total",
    ];
    assert_eq!(kinds, expected, "{table}");
}

#[test]
fn ls_tells_what_records_were_the_last_used_first() {
    let project = Project::dockerfile("FROM {busybox}\nCOPY a /a\nRUN cat /a > /b\n").file("a", "a");
    let _ = project.build::<&str>([]).succeeds();
    let all = cache_json(&project, &["ls"]);
    let what =
        |list: &Value| -> Vec<String> { list.as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect() };
    let mut steps = what(&cache_json(&project, &["ls", "--kind", "step"]));
    steps.sort();
    // A Step is remembered by its key, and by what its sources hold.
    steps.dedup();
    assert_eq!(steps, ["COPY a /a", "RUN cat /a > /b"]);
    assert_eq!(what(&cache_json(&project, &["ls", "--kind", "image", "--kind", "base"])).len(), 2, "{all}");
    assert!(all.as_array().unwrap().iter().all(|line| line["usable"] == true), "{all}");
    let used: Vec<&str> = all.as_array().unwrap().iter().map(|line| line["used"].as_str().unwrap()).collect();
    assert!(used.is_sorted_by(|a, b| a >= b), "{used:?}");

    let copy = all.as_array().unwrap().iter().find(|line| line["what"] == "COPY a /a").unwrap();
    let record = project.store().join("records/step").join(copy["key"].as_str().unwrap().trim_start_matches("sha256:"));
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::open(record).unwrap().set_modified(hour_ago).unwrap();
    let table = project.brik(["cache", "ls"]).succeeds().stdout;
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("1h ago    step      ") && last.ends_with("  COPY a /a"), "{table}");
    project.brik(["cache", "ls", "--kind", "snapshot"]).exits(2).says(&["step, image"]);
}

#[test]
fn prune_empties_the_store_and_the_next_build_works() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=cache,target=/c echo 1 > /one\n");
    let first = project.build::<&str>([]).succeeds();
    let told = cache_json(&project, &["prune", "--dry-run"]);
    let before = cache_json(&project, &["du"]);
    assert_eq!(told["snapshots"], before["snapshots"]["count"], "{told}");
    let pruned = cache_json(&project, &["prune"]);
    for what in ["records", "blobs", "snapshots", "mounts", "bytes"] {
        assert!(pruned[what] == told[what] && told[what].as_u64() > Some(0), "{what}: {told} {pruned}");
    }
    let usage = cache_json(&project, &["du"]);
    assert_eq!((&usage["total"]["count"], &usage["total"]["bytes"]), (&0.into(), &0.into()), "{usage}");
    let second = project.build::<&str>([]).succeeds();
    assert_eq!((second.steps_run().len(), second.digests()), (1, first.digests()));
}

#[test]
fn prune_takes_nothing_from_a_build_that_is_running_and_waits_for_nobody() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nRUN sleep 2; cat /one > /two\n");
    let running = project.brik(["build", "--image", "localhost/app", "--progress", "plain", "--output", "oci:out"]).start();
    let started = std::time::Instant::now();
    // Until the first Step has its record and the second runs on it.
    while std::fs::read_dir(project.store().join("records/step")).map_or(0, Iterator::count) == 0 {
        assert!(started.elapsed().as_secs() < 60, "the build gets nowhere");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pruned = project.brik(["cache", "prune"]).succeeds();
    pruned.says(&["another brik uses the store"]);
    let steps = || std::fs::read_dir(project.store().join("records/step")).unwrap().count();
    assert!(steps() > 0, "{}", pruned.stdout);
    let run = Run::of(running.wait_with_output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(crate::support::Image::read(&project.path("out")).text("/two"), "1\n");
    assert!(project.build::<&str>([]).succeeds().steps_run().is_empty());
}

#[test]
fn verify_tells_what_is_damaged_and_the_next_build_makes_it_again() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\nCOPY b /b\n").file("a", "a".repeat(1000)).file("b", "b".repeat(1000));
    let _ = project.build::<&str>([]).succeeds();
    let whole = project.brik(["cache", "verify"]).succeeds();
    assert!(whole.stdout.starts_with("8 blobs read, ") && whole.stdout.ends_with(": all is well\n"), "{}", whole.stdout);

    let layers = project.built().manifest["layers"].clone();
    let blob = |layer: usize| project.store().join("blobs").join(layers[layer]["digest"].as_str().unwrap().replace(':', "/"));
    std::fs::remove_file(blob(1)).unwrap();
    let mut bytes = std::fs::read(blob(0)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(blob(0), bytes).unwrap();

    let told = project.brik(["cache", "verify", "--dry-run"]).exits(3);
    for part in ["damaged blob sha256:", "is damaged; COPY a /a", "is not here; COPY b /b", "is damaged; image ", "1 blob damaged, "] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert!(blob(0).exists(), "a dry run removes nothing");
    let json: Value = serde_json::from_str(&project.brik(["cache", "verify", "--format", "json"]).exits(3).stdout).unwrap();
    assert_eq!((&json["damaged"], &json["removed"]), (&serde_json::json!([layers[0]["digest"]]), &true.into()));
    assert!(!blob(0).exists());
    let _ = project.brik(["cache", "verify"]).succeeds();

    assert_eq!(project.build::<&str>([]).succeeds().steps_run().len(), 2);
    assert_eq!(project.built().text("/a").len(), 1000);
    assert_eq!(project.built().manifest["layers"], layers);
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
fn what_stands_on_a_damaged_layer_is_built_with_it_made_again() {
    let project = Project::dockerfile("FROM {busybox}\nRUN head -c 9 /dev/urandom > /one\nRUN cat /one > /two\n");
    let _ = project.build::<&str>([]).succeeds();
    for blob in std::fs::read_dir(project.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&blob).unwrap();
        if bytes[0] != b'{' {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            // Who is not root may not write to it.
            let mode = blob.metadata().unwrap().permissions();
            std::fs::set_permissions(&blob, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(&blob, bytes).unwrap();
            std::fs::set_permissions(&blob, mode).unwrap();
        }
    }
    std::fs::rename(project.store().join("snapshots"), project.beside("snapshots")).unwrap();
    project.write("Dockerfile", "FROM {busybox}\nRUN head -c 9 /dev/urandom > /one\nRUN cat /one > /three\n");
    let run = project.build::<&str>([]).succeeds();
    run.says(&["of the store was damaged and is removed, what needs it is built again"]);
    assert!(["/one", "/three"].iter().all(|made| run.steps_run().iter().any(|step| step.ends_with(made))), "{}", run.stderr);
    let image = project.image::<&str>([]);
    assert_eq!(image.text("/one"), image.text("/three"));
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
    project.build(["--target", "parts"]).succeeds().says(&["of the store was damaged and is removed"]);
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

#[test]
fn the_store_is_its_owners_alone() {
    let project = Project::dockerfile("FROM {busybox}\nRUN mkdir -m 777 /d && cp /bin/busybox /d/suid && chmod 6755 /d/suid\n");
    let store = project.beside("new").join("store");
    let build = || project.build::<&str>([]).store(&store).succeeds();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let _ = build();
    // As a brik before this one left it: whoever could open it could hold it, and every brik waited.
    fs::set_permissions(store.join("lock"), fs::Permissions::from_mode(0o644)).unwrap();
    let _ = build();
    assert_eq!((mode(&store), mode(&store.join("lock"))), (0o700, 0o600));
    for entry in fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        assert_eq!(mode(&entry), 0o700, "{}", entry.display());
    }
}

#[test]
fn what_lies_in_place_of_a_record_is_neither_waited_for_nor_read_without_end() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo > /file\n");
    let first = project.build::<&str>([]).succeeds();
    for kind in ["image", "step"] {
        for entry in fs::read_dir(project.store().join("records").join(kind)).unwrap().map(|entry| entry.unwrap().path()) {
            fs::remove_file(&entry).unwrap();
            match kind {
                "image" => rustix::fs::mknodat(rustix::fs::CWD, &entry, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
                _ => std::os::unix::fs::symlink("/dev/zero", &entry).unwrap(),
            }
        }
    }
    let again = project.build::<&str>([]).succeeds();
    assert_eq!((again.steps_run().len(), again.digests()), (1, first.digests()));
}
