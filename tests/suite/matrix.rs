//! `brik matrix`: which services, in which waves, and what their jobs build.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Project, Registry, Run};

/// base <- api <- web, base <- job, and docs alone; base is built on an image whose tag may move.
struct Monorepo {
    registry: Registry,
    project: Project,
}

impl Monorepo {
    fn new() -> Self {
        let registry = Registry::start();
        let host = registry.host().to_owned();
        let toml = format!("registry = \"{host}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n");
        let project = Project::empty().file("brik.toml", toml);
        let monorepo = Self { registry, project };
        monorepo.move_tag("1");
        for (name, from) in [("base", &*format!("{host}/os:1")), ("api", "base"), ("web", "api"), ("job", "base"), ("docs", "scratch")] {
            let run = if name == "docs" { "" } else { "RUN cat /proc/sys/kernel/random/uuid > /made\n" };
            monorepo.project.write(&format!("{name}/Dockerfile"), format!("FROM {from}\nCOPY file /{name}\n{run}"));
            monorepo.project.write(&format!("{name}/file"), name);
        }
        monorepo
    }

    /// Another image under the tag of the base.
    fn move_tag(&self, content: &str) {
        let os = Project::dockerfile(&format!("FROM {{busybox}}\nENV OS={content}\nRUN echo {content} > /os\n"));
        let image = format!("{}/os", self.registry.host());
        let _ = os.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "1"]).succeeds();
    }

    fn push(&self) -> Run {
        self.project.brik(["build", "--push", "--progress", "quiet"]).succeeds()
    }

    /// On a runner of this name, whose disk is empty.
    fn matrix(&self, runner: &str, arguments: &[&str]) -> Run {
        self.project.brik(["matrix"]).args(arguments).store(&self.project.beside(runner)).succeeds()
    }

    /// Of `--format json`: wave and services of each job.
    fn jobs(&self, runner: &str, arguments: &[&str]) -> Vec<(u64, String)> {
        let run = self.matrix(runner, &[arguments, &["--format", "json"]].concat());
        let matrix: Value = serde_json::from_str(&run.stdout).unwrap();
        let words =
            |job: &Value| job["services"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ");
        matrix["jobs"].as_array().unwrap().iter().map(|job| (job["wave"].as_u64().unwrap(), words(job))).collect()
    }
}

fn expected(jobs: &[(u64, &str)]) -> Vec<(u64, String)> {
    jobs.iter().map(|(wave, services)| (*wave, (*services).to_owned())).collect()
}

#[test]
fn what_the_cache_repositories_do_not_have_is_in_it_and_nothing_else() {
    let monorepo = Monorepo::new();
    let all = expected(&[(1, "base"), (1, "docs"), (2, "api"), (2, "job"), (3, "web")]);
    assert_eq!(monorepo.jobs("one", &[]), all);
    let _ = monorepo.push();
    assert_eq!(monorepo.jobs("two", &[]), []);
    assert_eq!(monorepo.jobs("two", &["--all"]), all);
    monorepo.project.write("api/file", "other");
    assert_eq!(monorepo.jobs("three", &[]), expected(&[(1, "api"), (2, "web")]));
    assert_eq!(monorepo.jobs("three", &["job"]), []);
    // What a store has, that of whoever makes the matrix, the machines of the jobs have not.
    let _ = monorepo.project.brik(["build", "--progress", "quiet"]).store(&monorepo.project.beside("three")).succeeds();
    assert_eq!(monorepo.jobs("three", &[]), expected(&[(1, "api"), (2, "web")]));
    assert_eq!(monorepo.jobs("three", &["--no-remote-cache"]), []);
}

#[test]
fn what_changed_since_a_commit_is_in_it_whatever_the_cache_has() {
    let monorepo = Monorepo::new();
    monorepo.project.git(["init", "--quiet", "--initial-branch=main"]);
    monorepo.project.git(["add", "--all"]);
    monorepo.project.git(["commit", "--quiet", "--message=all"]);
    monorepo.project.write("job/file", "other");
    let _ = monorepo.push();
    assert_eq!(monorepo.jobs("one", &["--since", "HEAD"]), expected(&[(1, "job")]));
    let run = monorepo.matrix("one", &["--since", "HEAD", "--push"]);
    run.says(&["1 of 5 affected since HEAD", "job: ", "1 of 5 services to build: 1 job, 1 wave"]);
    monorepo.project.brik(["matrix", "--since", "HEAD", "--all"]).exits(2).says(&["cannot be used with"]);
}

#[test]
fn github_takes_it_by_from_json_and_an_empty_one_can_be_told() {
    let monorepo = Monorepo::new();
    let outputs = monorepo.project.path("outputs");
    fs::write(&outputs, "before=1\n").unwrap();
    monorepo.project.write("brik.ci.toml", "");
    let run = monorepo.project.brik(["matrix", "--push", "api", "--env", "ci"]).env("GITHUB_OUTPUT", &outputs).succeeds();
    let matrix: Value = serde_json::from_str(&run.stdout).unwrap();
    let entries = matrix["include"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| &entry["services"]).collect::<Vec<_>>(), ["base", "api"]);
    let args = entries[1]["args"].as_str().unwrap();
    let pin = format!("--pin={}/os:1@sha256:", monorepo.registry.host());
    assert!(args.starts_with("--push --env=ci ") && args.contains(&pin) && args.ends_with(" api"), "{args}");
    assert!(entries.iter().all(|entry| entry.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array())));
    let written = fs::read_to_string(&outputs).unwrap();
    assert!(written.starts_with("before=1\n"), "{written}");
    let value = |name: &str| {
        let mut lines = written.lines().skip_while(|line| !line.starts_with(&format!("{name}<<")));
        lines.nth(1).map(str::to_owned)
    };
    assert_eq!((value("jobs"), value("waves"), value("wave_3")), (Some("2".into()), Some("2".into()), None));
    assert_eq!(serde_json::from_str::<Value>(&value("matrix").unwrap()).unwrap(), matrix);
    let second: Value = serde_json::from_str(&value("wave_2").unwrap()).unwrap();
    assert_eq!(second["include"], json!([entries[1]]));

    let _ = monorepo.push();
    fs::write(&outputs, "").unwrap();
    let run = monorepo.project.brik(["matrix", "--push"]).env("GITHUB_OUTPUT", &outputs).succeeds();
    assert_eq!(run.stdout, "{\"include\":[]}\n");
    let written: Vec<String> = fs::read_to_string(&outputs).unwrap().lines().map(str::to_owned).collect();
    assert_eq!((written.len(), &*written[1], &*written[4], &*written[7]), (9, "{\"include\":[]}", "0", "0"));
}

#[test]
fn gitlab_gets_a_pipeline_with_a_stage_a_wave() {
    let monorepo = Monorepo::new();
    let pipeline: Value = serde_json::from_str(&monorepo.matrix("one", &["--push", "--format", "gitlab", "job"]).stdout).unwrap();
    assert_eq!(pipeline["stages"], json!(["wave-1", "wave-2"]));
    assert_eq!(pipeline["brik: job"]["stage"], "wave-2");
    assert!(pipeline["brik: job"]["script"][0].as_str().unwrap().starts_with("brik build --push --pin="));
    let _ = monorepo.push();
    let pipeline: Value = serde_json::from_str(&monorepo.matrix("two", &["--push", "--format", "gitlab"]).stdout).unwrap();
    assert_eq!(pipeline["brik: nothing"]["script"], json!(["echo nothing to build"]));
}

/// Runs a job as CI does: its arguments go through a shell.
fn run_job(monorepo: &Monorepo, runner: &Path, args: &str) -> Run {
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {args}")]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    monorepo.project.brik(["build", "--progress", "json"]).args(words.lines()).store(runner).succeeds()
}

#[test]
fn all_jobs_build_on_the_bases_that_the_matrix_has_seen_and_none_runs_what_another_has() {
    let monorepo = Monorepo::new();
    let matrix: Value = serde_json::from_str(&monorepo.matrix("plan", &["--push"]).stdout).unwrap();
    let mut pushed = Vec::new();
    for (number, entry) in matrix["include"].as_array().unwrap().iter().enumerate() {
        // While jobs run, somebody moves the tag.
        if entry["wave"] == 2 && number == 2 {
            monorepo.move_tag("2");
        }
        let run = run_job(&monorepo, &monorepo.project.beside(&format!("job-{number}")), entry["args"].as_str().unwrap());
        let services = entry["services"].as_str().unwrap();
        let own = run.steps_run().iter().filter(|step| !step.starts_with(&format!("[{services} "))).count();
        assert_eq!(own, 0, "{services} ran {:?}", run.steps_run());
        pushed.push(run.stdout);
    }
    // The last one needs all that the others have built, and finds the same images.
    let web = pushed.last().unwrap().clone();
    for earlier in &pushed {
        let line = earlier.lines().last().unwrap();
        assert!(line.contains("/docs@") || line.contains("/job@") || web.contains(line), "{line} is not in {web}");
    }
}

#[test]
fn bases_that_a_lock_holds_are_not_asked_for() {
    let monorepo = Monorepo::new();
    let _ = monorepo.project.brik(["lock"]).succeeds();
    let run = monorepo.matrix("one", &["--push"]);
    assert!(!run.stdout.contains("--pin"), "{}", run.stdout);
    let run = monorepo.matrix("one", &["--push", "--locked", "docs"]);
    assert!(run.stdout.contains("\"args\":\"--push --locked docs\""), "{}", run.stdout);
}

#[test]
fn shards_are_balanced_by_what_was_measured_last() {
    let registry = Registry::start();
    let toml = format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", registry.host());
    let project = Project::empty().file("brik.toml", toml);
    for (name, sleep) in [("a", "4"), ("b", "0.3"), ("c", "0.3"), ("d", "0.3")] {
        project.write(&format!("{name}/Dockerfile"), format!("FROM {{busybox}}\nCOPY file /\nRUN sleep {sleep}; echo {name}\n"));
        project.write(&format!("{name}/file"), "one");
    }
    let _ = project.brik(["build", "--push", "--jobs", "1", "--progress", "quiet"]).succeeds();
    for name in ["a", "b", "c", "d"] {
        project.write(&format!("{name}/file"), "two");
    }
    let run = project.brik(["matrix", "--push", "--shards", "2", "--format", "json"]).store(&project.beside("fresh")).succeeds();
    let matrix: Value = serde_json::from_str(&run.stdout).unwrap();
    let jobs: Vec<&Value> = matrix["jobs"].as_array().unwrap().iter().map(|job| &job["services"]).collect();
    assert_eq!(jobs, [&json!(["a"]), &json!(["b", "c", "d"])], "{}", run.stdout);
    assert!(matrix["jobs"][0]["seconds"].as_f64().unwrap() >= 4.0);
}

#[test]
fn more_services_than_github_runs_jobs_are_combined_and_it_is_said() {
    let project = (0..300).fold(Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n"), |project, n| {
        project.file(&format!("s{n}/Dockerfile"), format!("FROM scratch\nENV N={n}\n"))
    });
    let run = project.brik(["matrix", "--no-remote-cache"]).succeeds();
    let matrix: Value = serde_json::from_str(&run.stdout).unwrap();
    let entries = matrix["include"].as_array().unwrap();
    assert_eq!(entries.len(), 256);
    assert_eq!(entries.iter().map(|entry| entry["services"].as_str().unwrap().split(' ').count()).sum::<usize>(), 300);
    run.says(&["300 services are more than the 256 jobs that GitHub runs: some jobs build several", "300 of 300 services to build"]);
}

#[test]
fn what_a_matrix_cannot_be_made_of_is_told() {
    let project = || Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n").file("a/Dockerfile", "FROM scratch\nENV A=1\n");
    let gone = format!("FROM {}/gone:1\n", project().prefix());
    project().file("a/Dockerfile", gone).brik(["matrix"]).exits(1).says(&["brik::matrix::base", "there is no", "gone:1", "a/Dockerfile:1"]);
    project().file("a/Dockerfile", "FROM 127.0.0.1:1/x:1\n").brik(["matrix"]).exits(1).says(&["127.0.0.1:1", "a/Dockerfile:1"]);
    project().file("brik.toml", "x = 1\n").brik(["matrix"]).exits(2).says(&["unknown key `x`"]);
    Project::empty().brik(["matrix"]).exits(2).says(&["brik.toml"]);
    project().brik(["matrix", "--image", "x"]).exits(2).says(&["brik.toml"]);
    project().brik(["matrix", "--shards", "0"]).exits(2).says(&["--shards"]);
    project().brik(["matrix", "--since", "main"]).exits(2).says(&["git"]);
    project().brik(["matrix", "--pin", "alpine:3"]).exits(2).says(&["expected a name with its digest"]);
    project().brik(["matrix"]).env("GITHUB_OUTPUT", "/proc/none/x").exits(1).says(&["$GITHUB_OUTPUT cannot be written"]);
    project().brik(["matrix"]).env("XDG_CACHE_HOME", "/proc/none").exits(1).says(&["the store"]);
    let none = Project::monorepo("tags = [\"v1\"]\n").brik(["matrix"]).succeeds();
    assert_eq!(none.stdout, "{\"include\":[]}\n");
    // Facts that git lacks are no matter: not where HEAD is detached, nor in a shallow clone.
    let detached = project().commit();
    detached.git(["checkout", "--quiet", "--detach"]);
    let _ = detached.brik(["matrix"]).succeeds();
}
