//! What whoever starts brik leaves to it without a word: a umask, and open files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Project, Registry, tools};

/// A shell that does `first` before it becomes brik.
fn shell(first: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{first}; exec \"$@\""), "sh"]);
    shell
}

/// A program that fails when it has told of its open files, and a PATH on which it is found first. They are told in a file.
fn spy(project: &Project, name: &str) -> (String, PathBuf) {
    let (bin, told) = (project.beside("bin"), project.beside("told"));
    project.write(&format!("../bin/{name}"), format!("#!/bin/sh\nls -l /proc/$$/fd > {}\nexit 1\n", told.display()));
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    (format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()), told)
}

#[test]
fn a_script_is_run_by_any_user_whatever_the_umask() {
    let text = "FROM {busybox}\nUSER guest\nRUN <<E\n#!/bin/sh\necho run > /tmp/out\nE\n";
    for in_container in [false, true] {
        if in_container && !tools::is_root() {
            continue;
        }
        let project = Project::dockerfile(text);
        let build = project.build::<&str>([]);
        let build = if in_container { build.in_container() } else { build };
        let _ = build.under(shell("umask 077")).succeeds();
        assert_eq!(project.built().text("/tmp/out"), "run\n");
    }
}

#[test]
fn an_open_file_may_be_a_secret_and_is_no_runs() {
    let text = "FROM {busybox}\nRUN --mount=type=secret,id=s,required=true wc -c < /run/secrets/s > /out; ls /proc/self/fd >> /out\n";
    let project = Project::dockerfile(text).file("given", "12345");
    let build = project.build(["--secret", "id=s,src=/dev/fd/7"]);
    let _ = build.under(shell(&format!("exec 7< {}", project.path("given").display()))).succeeds();
    assert_eq!(project.built().text("/out"), "5\n0\n1\n2\n3\n");
}

#[test]
fn programs_that_brik_starts_have_none_of_the_open_files() {
    let registry = Registry::with_password();
    let project = Project::dockerfile("FROM scratch\n").file("given", "");
    let (path, told) = spy(&project, "docker-credential-spy");
    project.write("../home/.docker/config.json", "{\"credsStore\": \"spy\"}");
    let build = project.brik(["build", "--push", "--tags", "v1", "--image", &format!("{}/app", registry.host())]).env("PATH", path);
    let _ = build.under(shell(&format!("exec 7< {}", project.path("given").display()))).exits(1);
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains(" 0 -> ") && !told.contains("given"), "{told}");
}

#[test]
fn slirp_has_none_of_the_open_files() {
    if !tools::have_slirp() {
        return;
    }
    let project = Project::dockerfile("FROM {busybox}\nRUN true\n").file("given", "");
    let (path, told) = spy(&project, "slirp4netns");
    let build = project.build(["--network", "private"]).env("PATH", path);
    let _ = build.under(shell(&format!("exec 7< {}", project.path("given").display()))).exits(1);
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains(" 0 -> ") && !told.contains("given"), "{told}");
}
