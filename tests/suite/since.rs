//! `--since REF`: what is affected by content, told from git objects.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Project, Run, busybox};

const TOML: &str = "members = [\"services/*\"]\ntags = [\"dev\"]\n";

/// `api` and `web` have files of their own and share `shared`; `base` is what `web` is built on. All is committed.
fn repository() -> Project {
    let project = Project::monorepo(TOML)
        .file("services/base/Dockerfile", "FROM scratch\nCOPY base.txt /\n")
        .file("services/base/base.txt", "base")
        .file("services/api/Dockerfile", "ARG LEVEL=1\nFROM scratch\nARG LEVEL\nENV LEVEL=$LEVEL\nCOPY app /app\n")
        .file("services/api/app/main", "api")
        .file("services/api/README.md", "read me")
        .file("services/api/.dockerignore", "**/*.tmp\n")
        .file("services/web/Dockerfile", "FROM base\nCOPY site /site\n")
        .file("services/web/site/index", "web")
        .file("services/job/Dockerfile", "FROM scratch\nCOPY shared /shared\nCOPY services/job/job /job\n")
        .file("services/job/job", "job")
        .file("services/cron/Dockerfile", "FROM scratch\nCOPY shared /shared\n")
        .file("shared/lib", "lib");
    let toml = fs::read_to_string(project.path("brik.toml")).unwrap();
    let tables = "[services.job]\ncontext = \".\"\ndockerfile = \"services/job/Dockerfile\"\n\
                  [services.cron]\ncontext = \".\"\ndockerfile = \"services/cron/Dockerfile\"\n\
                  [services.web]\ncontexts = { base = \"service:base\" }\n";
    project.file("brik.toml", format!("{toml}{tables}")).commit()
}

fn since(project: &Project, name: &str) -> Run {
    project.brik(["build", "--since", name, "--format", "json", "--progress", "json"]).succeeds()
}

/// Names of the services that were built or taken from the cache, sorted.
fn services(run: &Run) -> Vec<String> {
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let mut names: Vec<String> =
        document["rows"].as_array().unwrap().iter().map(|row| row["service"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn notices(run: &Run) -> Vec<String> {
    run.events_of("notice").iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// What git sees of the work tree, and the bytes of the index.
fn state(project: &Project) -> (Vec<u8>, Vec<u8>) {
    let mut git = Command::new("git");
    git.args(["--no-optional-locks", "status", "--porcelain", "--ignored"]).current_dir(project.path("")).env("HOME", project.home());
    let status = git.stdin(Stdio::null()).output().unwrap();
    assert!(status.status.success());
    (status.stdout, fs::read(project.path(".git/index")).unwrap())
}

fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files_below(&entry));
        }
        found.push(entry);
    }
    found.sort();
    found
}

#[test]
fn a_change_affects_the_services_whose_keys_it_changes_and_no_other() {
    type Change = fn(&Project);
    let changes: &[(&str, Change, &[&str])] = &[
        ("nothing", |_| {}, &[]),
        ("a file that no COPY selects", |p| p.write("services/api/README.md", "other"), &[]),
        ("a file that is ignored", |p| p.write("services/api/app/x.tmp", "x"), &[]),
        ("a file of one service", |p| p.write("services/api/app/main", "other"), &["api"]),
        ("an untracked file that a COPY selects", |p| p.write("services/api/app/new", "new"), &["api"]),
        ("a shared file", |p| p.write("shared/lib", "other"), &["cron", "job"]),
        ("a file of a base", |p| p.write("services/base/base.txt", "other"), &["base", "web"]),
        ("an argument", |p| append(p, "[services.api.args]\nLEVEL = \"2\"\n"), &["api"]),
        ("an argument for all", |p| prepend(p, "args = { LEVEL = \"2\" }\n"), &["api"]),
        ("a comment in brik.toml", |p| append(p, "# nothing\n"), &[]),
        ("a comment in a Dockerfile", |p| p.write("services/base/Dockerfile", "# new\nFROM scratch\nCOPY base.txt /\n"), &[]),
        ("what an ignore file takes away", |p| p.write("services/api/.dockerignore", "app/main\n"), &["api"]),
        ("an ignore file that takes nothing away", |p| p.write("services/api/.dockerignore", "nothing\n"), &[]),
        ("a label", |p| append(p, "[services.base.labels]\nlevel = \"2\"\n"), &["base", "web"]),
    ];
    for (what, change, expected) in changes {
        let project = repository();
        change(&project);
        let before = state(&project);
        let objects = files_below(&project.path(".git"));
        let run = since(&project, "HEAD");
        assert_eq!(services(&run), *expected, "{what}: {:?}", notices(&run));
        assert_eq!(state(&project), before, "{what}");
        assert_eq!(files_below(&project.path(".git")), objects, "{what}");
    }
}

fn append(project: &Project, toml: &str) {
    let text = fs::read_to_string(project.path("brik.toml")).unwrap();
    project.write("brik.toml", text + "\n" + toml);
}

fn prepend(project: &Project, toml: &str) {
    let text = fs::read_to_string(project.path("brik.toml")).unwrap();
    project.write("brik.toml", toml.to_owned() + &text);
}

#[test]
fn commits_count_as_what_is_not_committed_does() {
    let project = repository();
    project.write("services/api/app/main", "two");
    project.git(["commit", "--quiet", "--all", "--message=two"]);
    assert_eq!(services(&since(&project, "HEAD")), [""; 0]);
    assert_eq!(services(&since(&project, "HEAD~1")), ["api"]);
    project.write("services/api/app/main", "api");
    assert_eq!(services(&since(&project, "HEAD~1")), [""; 0], "as it was");
    assert_eq!(services(&since(&project, "HEAD")), ["api"]);
}

#[test]
fn a_branch_is_not_affected_by_what_happened_elsewhere_since_it_left() {
    let project = repository();
    project.git(["checkout", "--quiet", "-b", "topic"]);
    project.write("shared/lib", "topic");
    project.git(["commit", "--quiet", "--all", "--message=topic"]);
    project.git(["checkout", "--quiet", "main"]);
    project.write("services/api/app/main", "main");
    project.git(["commit", "--quiet", "--all", "--message=main"]);
    project.git(["checkout", "--quiet", "topic"]);
    assert_eq!(services(&since(&project, "main")), ["cron", "job"]);
}

#[test]
fn where_nothing_is_affected_nothing_runs_and_it_is_said() {
    let project = repository();
    let run = project.brik(["build", "--since", "main", "--push", "--progress", "json"]).succeeds();
    assert_eq!(run.stdout, "");
    assert!(notices(&run).iter().any(|notice| notice.starts_with("nothing is affected since main (")), "{}", run.stderr);
    assert!(run.events_of("step_started").is_empty() && run.events_of("service_finished").is_empty());
}

#[test]
fn only_what_is_affected_is_pushed_and_its_reason_is_told() {
    let project = repository();
    project.write("services/web/site/index", "other");
    let run = project.brik(["build", "--since", "main", "--push", "--progress", "json"]).succeeds();
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    assert!(run.stdout.starts_with(&format!("{}/web", project.prefix())), "{}", run.stdout);
    let notices = notices(&run);
    assert!(
        notices.iter().any(|notice| notice.contains("web: [") && notice.contains("COPY site /site: files site changed")),
        "{notices:?}"
    );
}

#[test]
fn another_base_affects_its_users() {
    let project = Project::monorepo(TOML)
        .file("services/api/Dockerfile", "FROM {busybox}\nENV A=1\n")
        .file("services/web/Dockerfile", "FROM {busybox}\nENV B=1\n")
        .commit();
    assert_eq!(services(&since(&project, "HEAD")), [""; 0]);
    project.write("services/api/Dockerfile", "FROM scratch\nENV A=1\n");
    let run = since(&project, "HEAD");
    assert_eq!(services(&run), ["api"]);
    let notices = notices(&run);
    assert!(notices.iter().any(|notice| notice.contains("api: base image is gone")), "{notices:?} {}", busybox());
}

#[test]
fn what_was_not_there_or_could_not_be_planned_is_affected() {
    let project = repository();
    project.write("services/api/Dockerfile", "FROM scratch\nCOPPY app /app\n");
    project.write("services/base/Dockerfile", "FROM scratch\nCOPY missing /\n");
    fs::remove_dir_all(project.path("services/cron")).unwrap();
    project.write(
        "brik.toml",
        fs::read_to_string(project.path("brik.toml"))
            .unwrap()
            .replace("[services.cron]\ncontext = \".\"\ndockerfile = \"services/cron/Dockerfile\"\n", ""),
    );
    project.git(["commit", "--quiet", "--all", "--message=broken"]);
    project.git(["checkout", "--quiet", "HEAD~1", "--", "."]);
    let run = since(&project, "HEAD");
    assert_eq!(services(&run), ["api", "base", "cron", "web"]);
    let said = notices(&run).join("\n");
    for part in [
        "api: it could not be planned then: services/api/Dockerfile:2:1: ",
        "base: it could not be planned then: services/base/Dockerfile:2:6: \"/missing\": not found",
        "cron: there was none",
        "web: it could not be planned then: ",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn without_a_brik_toml_that_can_be_read_then_everything_is_affected() {
    let project = repository();
    let text = fs::read_to_string(project.path("brik.toml")).unwrap();
    project.write("brik.toml", "nonsense = 1\n");
    project.git(["commit", "--quiet", "--all", "--message=broken"]);
    project.write("brik.toml", text);
    let run = since(&project, "HEAD");
    assert_eq!(services(&run), ["api", "base", "cron", "job", "web"]);
    assert!(notices(&run).iter().any(|notice| notice.contains("brik.toml:1:1: ")), "{:?}", notices(&run));
}

#[test]
fn named_services_are_compared_and_no_others() {
    let project = repository();
    project.write("services/base/base.txt", "other");
    project.write("services/api/app/main", "other");
    let run = project.brik(["build", "api", "job", "--since", "HEAD", "--format", "json", "--progress", "json"]).succeeds();
    assert_eq!(services(&run), ["api"]);
}

#[test]
fn one_image_is_compared_without_a_brik_toml() {
    let project = Project::dockerfile("FROM scratch\nCOPY file /\n").file("file", "x").file("README", "x").commit();
    project.write("README", "y");
    let run = project.build(["--since", "HEAD"]).succeeds();
    assert!(notices(&run)[0].starts_with("nothing is affected"), "{:?}", notices(&run));
    assert!(!project.out().exists());
    project.write("file", "y");
    let _ = project.build(["--since", "HEAD"]).succeeds();
    assert_eq!(project.built().text("/file"), "y");
}

#[test]
fn a_clone_without_the_history_names_the_fix() {
    let project = repository();
    project.git(["checkout", "--quiet", "-b", "topic"]);
    for message in ["one", "two"] {
        project.git(["commit", "--quiet", "--allow-empty", "--message", message]);
    }
    let clone = project.beside("clone");
    let url = format!("file://{}", project.path("").display());
    let at = clone.to_str().unwrap().to_owned();
    project.git(["clone", "--quiet", "--depth=1", "--branch=topic", &url, &at]);
    let build = |name: &str| project.brik(["-C", &at, "build", "--since", name]).exits(2);
    build("main").says(&["is no commit that git knows here", "fetch-depth: 0", "git fetch --unshallow"]);
    project.git(["-C", &at, "fetch", "--quiet", "--depth=1", "origin", "main:main"]);
    build("main").says(&["in this clone, which is shallow", "fetch-depth: 0", "git fetch --unshallow"]);
    project.git(["-C", &at, "fetch", "--quiet", "--unshallow"]);
    let run = project.brik(["-C", &at, "build", "--since", "main", "--progress", "json"]).succeeds();
    assert!(notices(&run)[0].starts_with("nothing is affected"), "{:?}", notices(&run));
}

#[test]
fn a_ref_that_git_does_not_know_is_an_error() {
    let project = repository();
    project.git(["update-ref", "refs/remotes/origin/trunk", "HEAD"]);
    project
        .brik(["build", "--since", "missing"])
        .exits(2)
        .says(&["\"missing\" is no commit that git knows here", "git fetch origin missing"]);
    project.brik(["build", "--since", "trunk"]).exits(2).says(&["did you mean origin/trunk?"]);
    Project::monorepo(TOML)
        .file("services/api/Dockerfile", "FROM scratch\nENV A=1\n")
        .brik(["build", "--since", "main"])
        .exits(2)
        .says(&["is in no git repository"]);
}

#[test]
fn plan_shows_only_what_is_affected_and_because_of_what() {
    let project = repository();
    let plan = || project.brik(["plan", "--since", "HEAD"]).succeeds().stdout;
    project.write("services/api/README.md", "read me again");
    assert!(plan().starts_with("nothing is affected since HEAD (") && !plan().contains("push"), "{}", plan());
    project.write("shared/lib", "changed");
    let told = plan();
    assert!(told.starts_with("2 of 5 affected since HEAD ("), "{told}");
    assert!(told.contains("  cron: ") && told.contains("  job: ") && !told.contains("api ("), "{told}");
    assert_eq!(told.matches("  push ").count(), 2, "{told}");
}

#[test]
fn a_base_that_the_lock_has_moved_affects_its_users() {
    let project = repository();
    let name = format!("{}/moved", project.prefix());
    let push = |version: &str| {
        let base = Project::dockerfile(&format!("FROM scratch\nCOPY <<E /version\n{version}\nE\n"));
        let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
    };
    push("one");
    project.write("services/api/Dockerfile", format!("FROM {name}:1\nCOPY app /app\n"));
    let _ = project.brik(["lock"]).succeeds();
    let project = project.commit();
    push("two");
    let _ = project.brik(["update"]).succeeds();
    let told = project.brik(["plan", "--since", "HEAD"]).succeeds().stdout;
    assert!(told.starts_with("1 of 5 affected since HEAD (") && told.contains("  api: "), "{told}");
}
