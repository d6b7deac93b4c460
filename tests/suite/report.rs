//! `brik build --report`: what the cache was worth, told to scripts and to people.

use serde_json::{Value, json};

use crate::support::{Project, Run};

const SERVICES: &str = "members = [\"*\"]\ntags = [\"v1\"]";

/// `api` has a stage and one Step of its own, `web` shares the stage.
fn two_services() -> Project {
    let stage = "FROM {busybox} AS make\nRUN sleep 0.2; echo made > /made\n";
    let web = format!("{stage}FROM scratch\nCOPY --from=make /made /\n");
    Project::monorepo(SERVICES)
        .file("api/Dockerfile", format!("{stage}FROM {{busybox}}\nCOPY --from=make /made /\nCOPY a /a\n"))
        .file("api/a", "a")
        .file("web/Dockerfile", web)
}

#[track_caller]
fn build(project: &Project, args: &[&str]) -> (Run, Value) {
    let run = project.brik(["build", "--progress", "plain", "--report", "out.json"]).args(args).succeeds();
    (run, read(project, "out.json"))
}

#[track_caller]
fn read(project: &Project, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(project.path(name)).unwrap()).unwrap()
}

/// Service, cache, hits, misses.
fn rows(report: &Value) -> Vec<[Value; 4]> {
    let row = |service: &Value| ["service", "cache", "hits", "misses"].map(|key| service[key].clone());
    report["services"].as_array().unwrap().iter().map(row).collect()
}

fn row(service: &str, cache: &str, hits: u64, misses: u64) -> [Value; 4] {
    [json!(service), json!(cache), json!(hits), json!(misses)]
}

#[test]
fn a_service_is_a_miss_then_a_hit_then_partial() {
    let project = two_services();
    let (cold, report) = build(&project, &[]);
    assert_eq!(rows(&report), [row("api", "MISS", 0, 3), row("web", "MISS", 0, 2)]);
    assert_eq!(report["saved_seconds"], 0.0);
    cold.says(&["[CACHE] MISS api (0 of 3 steps cached)"]);
    let text = std::fs::read_to_string(project.path("out.json")).unwrap();
    assert!(!text.contains("-0"), "{text}");

    let (warm, report) = build(&project, &[]);
    assert_eq!(rows(&report), [row("api", "HIT", 3, 0), row("web", "HIT", 2, 0)]);
    warm.says(&["[CACHE] HIT web (2 of 2 steps cached)"]);
    let saved = |of: &Value| of["saved_seconds"].as_f64().unwrap();
    let services = report["services"].as_array().unwrap();
    assert!(services.iter().all(|service| saved(service) >= 0.2), "{report}");
    let sum: f64 = services.iter().map(saved).sum();
    assert!(saved(&report) <= sum - 0.2, "what is shared is saved once: {report}");

    project.write("api/a", "b");
    let (edited, report) = build(&project, &[]);
    assert_eq!(rows(&report), [row("api", "PARTIAL", 2, 1), row("web", "HIT", 2, 0)]);
    edited.says(&["[CACHE] PARTIAL api (2 of 3 steps cached)"]);
    let columns = |service: &str| edited.stderr.lines().rfind(|line| line.starts_with(service)).unwrap().split_whitespace().nth(2);
    assert_eq!((columns("api  "), columns("web  ")), (Some("1+2"), Some("0+2")), "the table counts alike\n{}", edited.stderr);
}

#[test]
fn bytes_that_were_moved_stand_with_a_service_and_in_the_totals() {
    let project = two_services();
    let (run, report) = build(&project, &["--push", "--format", "json"]);
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    for total in ["requests", "bytes_up", "bytes_down", "mounted"] {
        assert_eq!(report[total], summary[total], "{total}");
    }
    let api = &report["services"][0];
    let count = |key: &str| api[key].as_u64().unwrap();
    assert!(count("bytes_up") > 0 && count("bytes_down") > 0, "{report}");
    assert!(count("bytes_up") <= report["bytes_up"].as_u64().unwrap());
    assert_eq!((&api["digest"], &api["tags"]), (&summary["rows"][0]["digest"], &json!(["v1"])));
    assert_eq!(report["services"][1]["bytes_down"], 0, "the base is pulled once");
}

#[test]
fn a_build_that_fails_reports_what_was_known() {
    let project = two_services().file("web/Dockerfile", "FROM {busybox}\nRUN echo 1 > /one\nRUN false\nRUN echo 3 > /three\n");
    let run = project.brik(["build", "-j1", "--report", "out.json", "--report", "deep.MD"]).exits(1);
    run.says(&["exit code 1"]);
    let report = read(&project, "out.json");
    let web = report["services"].as_array().unwrap().iter().find(|service| service["service"] == "web").unwrap();
    assert_eq!((&report["success"], &web["outcome"], &web["cache"]), (&json!(false), &json!("failed"), &Value::Null));
    assert_eq!((&web["misses"], &web["digest"]), (&json!(2), &Value::Null), "the third Step was never begun");
    assert!(std::fs::read_to_string(project.path("deep.MD")).unwrap().contains("| web | failed |"));
}

#[test]
fn in_actions_the_markdown_is_appended_to_the_summary_of_the_job() {
    let project = two_services().file("summary", "before\n").file("elsewhere", "before\n");
    let summary = project.path("summary");
    let build = |actions: &str| {
        let brik = project.brik(["build", "--report", "out.md"]).env("GITHUB_ACTIONS", actions).env("GITHUB_STEP_SUMMARY", &summary);
        let _ = brik.succeeds();
        (std::fs::read_to_string(project.path("out.md")).unwrap(), std::fs::read_to_string(&summary).unwrap())
    };
    let (markdown, appended) = build("true");
    assert!(markdown.starts_with("## brik build: 2 services in ") && markdown.contains("| api | MISS | 0 | 3 |"), "{markdown}");
    assert_eq!(appended, format!("before\n{markdown}"));
    assert_eq!(build("false").1, appended);
    let unwritable = project.brik(["build", "--report", "out.md"]).env("GITHUB_ACTIONS", "true");
    unwritable.env("GITHUB_STEP_SUMMARY", project.path("no/such")).succeeds().says(&["warning", "GITHUB_STEP_SUMMARY"]);
}

#[test]
fn a_report_of_no_known_form_or_place_is_told() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    project.build(["--report", "report.txt"]).exits(2).says(&["FILE.json or FILE.md"]);
    for flag in ["--report", "--metadata-file"] {
        let run = project.build([flag, "no/such/report.json"]).exits(1);
        run.says(&[flag, "no/such/report.json"]);
        assert!(!run.stderr.contains("step_started"), "it is told before anything is built: {}", run.stderr);
    }
}

#[test]
fn a_build_that_cannot_begin_reports_that_and_takes_nothing_away() {
    let project = two_services();
    let _ = build(&project, &[]);
    project.write("kept", "precious");
    std::os::unix::fs::symlink("kept", project.path("link.json")).unwrap();
    project.write("api/Dockerfile", "FROM nowhere.invalid/base\nRUN :\n");
    let _ = project.brik(["build", "--report", "out.json", "--metadata-file", "link.json"]).exits(1);
    let report = read(&project, "out.json");
    assert_eq!((&report["success"], &report["services"]), (&json!(false), &json!([])), "that of the earlier build is gone");
    assert_eq!(std::fs::read_to_string(project.path("kept")).unwrap(), "precious");
    let run = project.brik(["build", "web", "--report", "link.json"]).succeeds();
    assert!(project.path("link.json").is_symlink() && read(&project, "kept")["success"] == true, "{run:?}");
}

#[test]
fn what_was_saved_is_known_to_a_runner_that_only_the_cache_tells() {
    let project = two_services();
    let _ = build(&project, &["--push"]);
    let fresh = project.path("fresh");
    let (_, report) = build(&project, &["--push", "--store", fresh.to_str().unwrap()]);
    assert_eq!(rows(&report), [row("api", "HIT", 3, 0), row("web", "HIT", 2, 0)]);
    assert!(report["saved_seconds"].as_f64().unwrap() >= 0.2, "{report}");
}
