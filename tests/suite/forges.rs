//! Logs of GitHub Actions and GitLab CI: what folds, what stands open, and what a RUN cannot make the runner do.

use crate::support::{Project, Run};

const SERVICES: &str = "members = [\"*\"]\ntags = [\"v1\"]";

/// What GitHub's runner does with a line: a `::command` where it begins, or `##[command]` anywhere, unless commands are stopped.
fn commands(log: &str) -> Vec<(String, String)> {
    let mut stopped: Option<String> = None;
    let mut commands = Vec::new();
    for line in log.lines() {
        let new = line.trim_start().strip_prefix("::").and_then(|rest| rest.split_once("::"));
        let old = || line.split_once("##[")?.1.split_once(']');
        let Some((command, data)) = new.or_else(old) else { continue };
        match &stopped {
            Some(token) if command == token => stopped = None,
            Some(_) => {}
            None if command == "stop-commands" => stopped = Some(data.to_owned()),
            None => commands.push((command.to_owned(), data.to_owned())),
        }
    }
    assert_eq!(stopped, None, "commands stay off");
    commands
}

fn in_actions(project: &Project, args: &[&str]) -> Run {
    project.brik(["build"]).args(args).env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", project.path("")).run()
}

fn names(commands: &[(String, String)]) -> Vec<&str> {
    commands.iter().map(|(command, _)| command.as_str()).collect()
}

const HOSTILE: &str = "RUN echo '::error::not meant'; echo '  ::set-output name=a::b'; echo 'x ##[add-mask]y'; echo ::endgroup::\n";

#[test]
fn what_a_step_said_folds_and_none_of_it_is_a_command() {
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", format!("FROM {{busybox}}\n{HOSTILE}RUN true '##[error]name'\n"));
    let run = in_actions(&project, &["-j1"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let commands = commands(&run.stderr);
    assert_eq!(names(&commands), ["group", "endgroup", "notice "], "{}", run.stderr);
    assert!(commands[0].1.starts_with("[api stage-0 1/2] RUN echo"), "{commands:?}");
    assert_eq!(commands[2].1, "[CACHE] MISS api (0 of 2 steps cached)");
    run.says(&["| ::error::not meant", "x ##[add-mask]y"]);
    let again = in_actions(&project, &[]);
    again.says(&["::notice ::[CACHE] HIT api (2 of 2 steps cached)"]);
}

#[test]
fn what_failed_stands_open_and_its_line_is_annotated() {
    let dockerfile = format!("FROM {{busybox}}\nRUN echo fine\n{}", HOSTILE.replace("echo ::endgroup::", "exit 3"));
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", dockerfile);
    let run = in_actions(&project, &["-j1"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let all = commands(&run.stderr);
    let names: Vec<&str> = all.iter().map(|(command, _)| command.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["group", "endgroup", "error"], "{}", run.stderr);
    let (_, after) = run.stderr.split_once("::endgroup::\n").unwrap();
    assert!(after.contains("\n| ::error::not meant\n"), "{after}");
    let (properties, message) = &all[2];
    assert!(properties.starts_with("error file=api/Dockerfile,line=3,"), "{properties}");
    assert!(message.contains("exit code 3"), "{message}");
}

#[test]
fn what_failed_is_annotated_wherever_brik_was_started() {
    let project = Project::empty().file("deep/svc/a/Dockerfile", "FROM {busybox}\nRUN exit 3\n");
    let toml = Project::monorepo("members = [\"svc/*\"]\ntags = [\"v1\"]");
    let project = project.file("deep/brik.toml", std::fs::read(toml.path("brik.toml")).unwrap()).commit();
    let absolute = project.path("deep").display().to_string();
    let one = ["-C", "deep", "build", "-t", "localhost/a", "svc/a"];
    for args in [&["-C", "deep", "build"][..], &["--config", "deep/brik.toml", "build"], &["build", "-C", &absolute], &one] {
        let run = project.brik(args).env("GITHUB_ACTIONS", "true").exits(1);
        let errors: Vec<_> = commands(&run.stderr).into_iter().filter(|(command, _)| command.starts_with("error")).collect();
        let [(properties, _)] = &errors[..] else { panic!("{args:?}: {errors:?}") };
        assert!(properties.starts_with("error file=deep/svc/a/Dockerfile,line=2,"), "{args:?}: {properties}");
    }
}

#[test]
fn a_warning_about_a_file_is_annotated_there() {
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", "FROM scratch\nCOPY Dockerfile /\nCMD echo hello\n");
    let run = in_actions(&project, &[]);
    let warnings: Vec<_> = commands(&run.stderr).into_iter().filter(|(command, _)| command.starts_with("warning")).collect();
    let [(properties, message)] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(properties, "warning file=api/Dockerfile,line=3");
    assert!(message.contains("JSONArgsRecommended"), "{message}");
}

#[test]
fn a_mode_that_is_asked_for_is_kept() {
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", "FROM {busybox}\nRUN echo hello\n");
    let run = in_actions(&project, &["--progress", "plain"]);
    assert_eq!(commands(&run.stderr), []);
    run.says(&["api stage-0 1/1│ hello"]);
}

#[test]
fn sections_of_gitlab_are_whole_and_hold_one_step_each() {
    let run = "RUN for i in 1 2 3 4 5 6 7 8; do echo {}-$i; done\n";
    let dockerfile = |name: &str| format!("FROM {{busybox}}\n{}", run.replace("{}", name));
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", dockerfile("api")).file("web/Dockerfile", dockerfile("web"));
    let run = project.brik(["build", "-j2"]).env("GITLAB_CI", "true").succeeds();
    let sections: Vec<&str> = run.stderr.split("section_start:").skip(1).collect();
    assert_eq!(sections.len(), 2, "{:?}", run.stderr);
    for section in sections {
        let name = section.split_once(':').unwrap().1.split_once('[').unwrap().0;
        let (log, end) = section.split_once("\x1b[0Ksection_end:").unwrap();
        assert!(end.split_once(':').unwrap().1.starts_with(&format!("{name}\r\x1b[0K\n")), "{section:?}");
        assert_eq!(log.matches("\n| ").count(), 8, "{section:?}");
        let other = if log.contains("[api ") { "| web-" } else { "| api-" };
        assert!(!log.contains(other), "{section:?}");
    }
}
