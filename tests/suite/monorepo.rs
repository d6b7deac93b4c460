//! The example monorepo and others of several services: order, sharing, parallelism, the same digests everywhere.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Brik, Project, repository, shared_registry, tools};

/// A committed copy of examples/monorepo that pushes to the shared registry.
fn example() -> Project {
    let project = Project::empty();
    copy(&repository().join("examples/monorepo"), &project.path(""));
    project.write("uses-busybox", "{busybox}");
    fs::remove_file(project.path("uses-busybox")).unwrap();
    let toml = fs::read_to_string(project.path("brik.toml")).unwrap();
    project
        .write("brik.toml", toml.replace("127.0.0.1:5000/example", &project.prefix()).replace("127.0.0.1:5000", shared_registry().host()));
    project.commit()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn push(project: &Project) -> Brik {
    project.brik(["build", "--push", "--format", "json", "--progress", "json"]).env("API_TOKEN", "not-a-real-token")
}

fn rows(stdout: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(stdout).unwrap()["rows"].as_array().unwrap().clone()
}

#[test]
fn the_example_is_checked_built_and_pushed_and_the_second_time_nothing_happens() {
    let project = example();
    let _ = project.brik(["check"]).succeeds();
    let first = rows(&push(&project).succeeds().stdout);
    assert!(first.len() >= 5 && first.iter().all(|row| row["outcome"] == "built"), "{first:?}");
    let second = push(&project).succeeds();
    assert!(second.events_of("step_started").is_empty() && second.events_of("sandbox").is_empty());
    for row in rows(&second.stdout) {
        assert_eq!((&row["steps_run"], &row["layers_pushed"], &row["outcome"]), (&0.into(), &0.into(), &"cached".into()), "{row}");
    }
}

#[test]
fn an_image_of_the_example_runs() {
    if !tools::installed(&["podman", "crun", "unshare"]) {
        return;
    }
    let project = example();
    let run = project.brik(["build", "worker", "--push"]).succeeds();
    let worker = run.stdout.lines().find(|line| line.contains("/worker")).expect("the worker is pushed");
    let (name, digest) = worker.split_once('@').expect("a digest");
    let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    let image = format!("docker://{name}@{digest}");
    assert_eq!(tools::podman_run(&project.beside(""), &image, &["id", "-u"]).trim(), "10001");
}

#[test]
fn a_service_that_is_asked_for_brings_what_it_needs() {
    let project = example();
    let run = project.brik(["build", "worker", "--format", "json"]).succeeds();
    let names: Vec<String> = rows(&run.stdout).iter().map(|row| row["service"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["base", "api", "worker"]);
}

#[test]
fn files_of_another_service_are_copied_without_a_registry() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("lib/Dockerfile", "FROM {busybox}\nRUN echo from lib > /lib.txt\n");
    let project = project.file("app/Dockerfile", "FROM scratch\nCOPY --from=lib /lib.txt /lib.txt\n");
    let run = project.brik(["build", "app", "--output", &format!("oci:{}", project.out().display())]).succeeds();
    assert_eq!(run.digests().len(), 2);
    let layout = project.out();
    let found = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    assert!(found >= 4, "{found} blobs");
}

#[test]
fn a_trigger_of_another_service_brings_the_services_that_it_copies_from() {
    // Only the triggers name `zlib` and the stage `files`, which is the service `other`: without them both would be missing.
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]")
        .file("zlib/Dockerfile", "FROM scratch\nCOPY a /zlib\n")
        .file("zlib/a", "a")
        .file("base/Dockerfile", "FROM scratch\nONBUILD COPY --from=zlib /zlib /copied\nONBUILD COPY --from=files /copied /twice\n")
        .file("app/Dockerfile", "FROM other AS files\nFROM base\n")
        .file("other/Dockerfile", "FROM zlib\nCOPY --from=zlib /zlib /copied\n");
    let run = project.brik(["build", "app", "--output", &format!("oci:{}", project.out().display()), "--format", "json"]).succeeds();
    let names: Vec<String> = rows(&run.stdout).iter().map(|row| row["service"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["zlib", "other", "base", "app"]);
}

#[test]
fn a_base_that_is_built_here_is_not_pulled() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("base/Dockerfile", "FROM scratch\nCOPY a /a\n").file("base/a", "a");
    let name = format!("{}/base", project.prefix());
    let project = project.file("app/Dockerfile", format!("FROM {name}\nCOPY b /b\n")).file("app/b", "b");
    let run = project.brik(["build", "--format", "json"]).succeeds();
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["requests"], 0, "{json}");
}

#[test]
fn a_change_of_the_base_rebuilds_those_that_stand_on_it_and_no_others() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("base/Dockerfile", "FROM {busybox}\nCOPY a /a\n").file("base/a", "a");
    let project = project.file("app/Dockerfile", "FROM base\nRUN cat /a\n").file("other/Dockerfile", "FROM {busybox}\nRUN echo other\n");
    let build = || project.brik(["build", "--format", "json"]).succeeds();
    let _ = build();
    project.write("base/a", "changed");
    let mut outcomes: Vec<(String, String)> = rows(&build().stdout)
        .iter()
        .map(|row| (row["service"].as_str().unwrap().into(), row["outcome"].as_str().unwrap().into()))
        .collect();
    outcomes.sort();
    let expected =
        [("app", "built"), ("base", "built"), ("other", "cached")].map(|(service, outcome)| (service.to_owned(), outcome.to_owned()));
    assert_eq!(outcomes, expected);
}

#[test]
fn jobs_stores_and_paths_change_no_digest() {
    let project = example();
    let elsewhere = project.beside("elsewhere");
    project.git(["clone", "--quiet", project.path("").to_str().unwrap(), elsewhere.to_str().unwrap()]);
    let build = |args: &[&str]| project.brik(args).args(["build", "-j"]);
    let one = build(&[]).args(["1"]).succeeds().digests();
    let other = build(&["-C", elsewhere.to_str().unwrap()]).args(["2"]).store(&project.beside("store")).succeeds().digests();
    assert_eq!(one, other);
}

/// The Steps of two services that each take a while: how many were running at the same time, at most.
fn most_at_once(jobs: &str) -> i32 {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project
        .file("a/Dockerfile", "FROM {busybox}\nRUN sleep 0.5; echo a\n")
        .file("b/Dockerfile", "FROM {busybox}\nRUN sleep 0.5; echo b\n");
    let run = project.brik(["build", "-j", jobs, "--progress", "json"]).succeeds();
    let (mut now, mut most) = (0, 0);
    for event in run.events() {
        match event["type"].as_str() {
            Some("step_started") => now += 1,
            Some("step_finished") => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[test]
fn two_jobs_overlap_two_services() {
    assert_eq!(most_at_once("2"), 2);
}

#[test]
fn one_job_runs_one_step_at_a_time() {
    assert_eq!(most_at_once("1"), 1);
}

#[test]
fn tags_come_from_the_commit_and_from_the_command_line() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"sha-{sha}\", \"{branch}\", \"v{version}\"]")
        .file("app/Dockerfile", "FROM scratch\nENV A=1\n")
        .commit();
    let tags = |args: &[&str]| rows(&project.brik(["build", "--format", "json"]).args(args).succeeds().stdout)[0]["tags"].clone();
    let found = tags(&[]);
    let sha = found[0].as_str().unwrap().strip_prefix("sha-").unwrap().to_owned();
    assert_eq!((sha.len(), &found[1], found.as_array().unwrap().len()), (7, &"main".into(), 2), "{found}");
    assert_eq!(tags(&["--tags", " v1, v2\nv1 "]), serde_json::json!(["v1", "v2"]));
    project.git(["tag", "app/v1.2.3"]);
    assert!(tags(&[]).as_array().unwrap().contains(&"v1.2.3".into()));
}

#[test]
fn brik_runs_from_any_directory_below_its_file() {
    let project =
        Project::monorepo("members = [\"services/*\"]\ntags = [\"v1\"]").file("services/app/Dockerfile", "FROM scratch\nENV A=1\n");
    let below = project.brik(["-C", "services/app", "build"]).succeeds();
    assert_eq!(below.stdout, project.brik(["build"]).succeeds().stdout);
}
