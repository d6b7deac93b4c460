//! Ctrl-C: exit code 130, what was finished is kept and told, nothing else is left.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::aftermath::process_tree;
use crate::support::{Project, Run, tools};

/// Waits for a line of stderr with `part`.
fn wait_for(stderr: &mut impl BufRead, part: &str) {
    let mut line = String::new();
    while stderr.read_line(&mut line).unwrap() > 0 {
        if line.contains(part) {
            return;
        }
        line.clear();
    }
    panic!("{part:?} was never said");
}

/// Interrupts it: its exit code, and the rest of what it says.
fn interrupted(child: &mut Child, mut stderr: impl Read, signal: Signal) -> (Option<i32>, String) {
    kill_process(Pid::from_child(child), signal).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

#[track_caller]
fn nothing_is_left(project: &Project) {
    let left: Vec<_> = fs::read_dir(project.store().join("tmp")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&project.store().display().to_string()), "{mounts}");
}

fn running(mark: &str) -> usize {
    tools::output("sh", &["-c", &format!("pgrep -f 'sleep {mark}' | wc -l")]).trim().parse::<usize>().unwrap().saturating_sub(1)
}

#[test]
fn an_interrupt_says_what_was_kept_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n")
            .file("a/Dockerfile", "FROM {busybox}\nRUN echo a > /a\n")
            .file("b/Dockerfile", "FROM a\nRUN echo begun; sleep 312801\n");
        let mut child = project.brik(["build", "--progress", "plain"]).start();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        wait_for(&mut stderr, "│ begun");
        let (code, rest) = interrupted(&mut child, stderr, signal);
        assert_eq!(code, Some(130), "{rest}");
        let says = "interrupted: kept for the next run: 1 step that ran and 1 service (a); nothing else is left behind\n";
        assert!(rest.ends_with(says), "{rest}");
        assert!(rest.contains("not finished: b\n"), "{rest}");
        nothing_is_left(&project);
        project.write("b/Dockerfile", "FROM a\nRUN echo b > /b\n");
        assert_eq!(project.brik(["build", "--progress", "json"]).succeeds().steps_run().len(), 1, "a was kept");
    }
    assert_eq!(running("312801"), 0);
}

#[test]
fn an_interrupt_is_an_event_where_all_is_events() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo begun; sleep 312802\n");
    let mut child = project.brik(["build", "--image", "localhost/app", "--progress", "json"]).start();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut stderr, "\"text\":\"begun\"");
    let (code, rest) = interrupted(&mut child, stderr, Signal::INT);
    let run = Run { code, stdout: String::new(), stderr: rest };
    let errors = run.events_of("error");
    assert_eq!((run.code, errors.len()), (Some(130), 1), "{}", run.stderr);
    assert!(errors[0]["message"].as_str().unwrap().starts_with("interrupted: nothing was finished yet"), "{}", run.stderr);
    nothing_is_left(&project);
}

/// A registry that takes connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

#[test]
fn who_waits_for_the_network_is_not_waited_for_and_leaves_nothing() {
    let (_listener, host) = silent();
    let dockerfile = "FROM {busybox}\nRUN echo begun > /x; head -c 1000000 /dev/urandom > /big\n";
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n").file("a/Dockerfile", dockerfile);
    project.write("b/Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,target=/c echo kept > /c/x; echo begun; sleep 312802\n");
    let mut child = project.brik(["build", "--progress", "plain", &format!("--cache-to={host}/cache")]).start();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut stderr, "│ begun");
    let started = Instant::now();
    let (code, rest) = interrupted(&mut child, stderr, Signal::INT);
    assert_eq!(code, Some(130), "{rest}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(rest.matches("interrupted: ").count(), 1, "{rest}");
    nothing_is_left(&project);
    assert_eq!(running("312802"), 0);
    // What a RUN has put into a cache is there.
    project.write("b/Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,target=/c cat /c/x\n");
    let run = project.brik(["build", "b", "--progress", "plain"]).succeeds();
    assert!(run.stderr.contains("kept"), "{}", run.stderr);
}

#[test]
fn an_interrupt_before_anything_runs_leaves_nothing() {
    let (listener, host) = silent();
    let project = Project::dockerfile(&format!("FROM {host}/base\nRUN true\n"));
    let mut child = project.brik(["build", "--image", "localhost/app"]).start();
    let _connection = listener.accept().unwrap();
    let stderr = child.stderr.take().unwrap();
    let (code, rest) = interrupted(&mut child, stderr, Signal::INT);
    assert_eq!((code, rest.as_str()), (Some(130), "interrupted: nothing has run yet\n"));
    nothing_is_left(&project);
}

/// As the kernel does where memory ends.
#[test]
fn a_brik_that_is_killed_inside_its_sandbox_is_told_of_by_the_one_outside() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo begun; sleep 312877\n");
    let mut child = project.brik(["build", "--progress", "plain", "--image", "localhost/app"]).start();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut stderr, "│ begun");
    let inner = process_tree(child.id())[1];
    kill_process(Pid::from_raw(inner as i32).unwrap(), Signal::KILL).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("brik was killed inside its sandbox"), "{rest}");
}

#[test]
fn what_nohup_has_a_build_ignore_does_not_end_it() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n")
        .file("a/Dockerfile", "FROM {busybox}\nRUN echo begun; sleep 3; echo done\n");
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let mut child = project.brik(["build", "--progress", "plain"]).under(nohup).start();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut stderr, "│ begun");
    let (code, rest) = interrupted(&mut child, stderr, Signal::HUP);
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("│ done"), "{rest}");
}
