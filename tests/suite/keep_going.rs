//! `brik build --keep-going` and `--dry-run`.

use serde_json::Value;

use crate::support::{Project, shared_registry};

/// base fails; web needs it; docs, and cron for two platforms, do not.
fn repository() -> Project {
    Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n[services.cron]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n")
        .file("base/Dockerfile", "FROM {busybox}\nRUN echo base; exit 3\n")
        .file("web/Dockerfile", "FROM base\nRUN echo web\n")
        .file("docs/Dockerfile", "FROM {busybox}\nRUN sleep 1; echo docs > /docs\n")
        .file("other/Dockerfile", "FROM {busybox}\nRUN exit 4\n")
        .file("cron/Dockerfile", "FROM scratch\nENV A=1\nWORKDIR /a\n")
}

fn tags(project: &Project, service: &str) -> Vec<String> {
    let prefix = project.prefix();
    let (_, namespace) = prefix.split_once('/').unwrap();
    shared_registry().tags(&format!("{namespace}/{service}"))
}

#[test]
fn what_does_not_need_what_failed_is_built_and_pushed() {
    let project = repository();
    let run = project.brik(["build", "--push", "--keep-going", "--jobs", "1", "--progress", "plain"]).exits(1);
    run.says(&["ended with exit code 3", "ended with exit code 4", "base/Dockerfile:2", "other/Dockerfile:2"]);
    assert!(run.stderr.contains("failed: base, other\nnot tried, for they need what failed: web\n"), "{}", run.stderr);
    assert_eq!(run.stdout, "", "results are those of runs that succeed");
    let pushed = ["base", "cron", "docs", "other", "web"].map(|service| tags(&project, service).len());
    assert_eq!(pushed, [0, 1, 1, 0, 0]);
    let rows: Vec<&str> = run.stderr.lines().filter(|line| line.contains(":v1 ")).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(rows, ["cron", "docs"]);
}

#[test]
fn without_it_a_failure_ends_the_build_and_it_is_said_what_was_not_finished() {
    let project = repository();
    let run = project.brik(["build", "base", "docs", "--jobs", "2", "--progress", "plain"]).exits(1);
    assert!(run.stderr.contains("failed: base\nnot finished: docs\n"), "{}", run.stderr);
}

#[test]
fn a_push_that_fails_stops_no_other() {
    let project = repository().file("base/Dockerfile", "FROM {busybox}\nRUN echo base > /base\n");
    let toml = std::fs::read_to_string(project.path("brik.toml")).unwrap();
    project.write("brik.toml", format!("{toml}[services.other]\nimage = \"127.0.0.1:1/other\"\ncache = false\n"));
    project.write("other/Dockerfile", "FROM scratch\nENV A=1\n");
    // What has to run asks all registries first, and a refusal ends that before anything is built for nothing.
    project.brik(["build", "--push", "--keep-going", "--progress", "plain"]).exits(1).says(&["not finished: base, cron, docs, other, web"]);
    let _ = project.brik(["build", "--progress", "quiet"]).succeeds();
    let run = project.brik(["build", "--push", "--keep-going", "--progress", "plain"]).exits(1);
    assert!(run.stderr.contains("failed: other\n"), "{}", run.stderr);
    assert_eq!(["base", "cron", "docs", "web"].map(|service| tags(&project, service).len()), [1, 1, 1, 1]);
}

#[test]
fn a_dry_run_tells_what_would_run_and_be_pushed_and_does_neither() {
    let project = repository();
    let run = project.brik(["build", "docs", "--push", "--dry-run", "--output", "oci:out"]).succeeds();
    assert!(run.stdout.contains("docs (linux/amd64)\n") && run.stdout.contains("RUN sleep 1; echo docs > /docs"), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("push    {}/docs:v1 (new)", project.prefix())), "{}", run.stdout);
    assert!(!project.path("out").exists() && tags(&project, "docs").is_empty());
    let json: Value = serde_json::from_str(&project.brik(["build", "docs", "--dry-run", "--format", "json"]).succeeds().stdout).unwrap();
    assert_eq!((&json["run"], &json["tags"][0]["service"]), (&1.into(), &"docs".into()));
    project.brik(["build", "--dry-run", "--report", "r.json"]).exits(2).says(&["cannot be used with"]);
}
