//! The sandbox, as whoever runs the tests: root on the root rung, everybody else in a user namespace.

use crate::support::{Project, tools};

#[test]
fn the_rung_that_is_used_is_told_once() {
    let run = Project::dockerfile("FROM {busybox}\nRUN true\nRUN true && true\n").build::<&str>([]).succeeds();
    let told = run.events_of("sandbox");
    let expected = if tools::is_root() { "root with own namespaces" } else { "rootless: user namespace" };
    assert!(told.len() == 1 && told[0]["description"].as_str().unwrap().starts_with(expected), "{told:?}");
}

#[test]
fn a_run_is_root_in_its_own_eyes() {
    assert_eq!(Project::dockerfile("FROM {busybox}\nRUN id -u > /out\n").image::<&str>([]).text("/out"), "0\n");
}

#[test]
fn files_keep_the_owners_that_a_run_gives_them() {
    if single_id() {
        return;
    }
    let image = Project::dockerfile("FROM {busybox}\nRUN touch /a && chown 1234:50 /a\nUSER guest\nRUN touch /tmp/b\n").image::<&str>([]);
    assert_eq!((image.entry("/a").owner, image.entry("/tmp/b").owner), ((1234, 50), (1000, 1000)));
}

/// Without subordinate ids every file belongs to root.
fn single_id() -> bool {
    let user = std::env::var("USER").unwrap_or_default();
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let single = !tools::is_root() && !ranges.lines().any(|line| line.starts_with(&format!("{user}:")));
    if single {
        tools::skipped(&format!("{user:?} has no subordinate ids in /etc/subuid"));
    }
    single
}

#[test]
fn the_host_s_name_processes_and_mounts_are_out_of_sight() {
    let project =
        Project::dockerfile("FROM {busybox}\nRUN { ls /proc | grep -c '^[0-9]'; grep -c ' /oldroot' /proc/mounts; } > /out; true\n");
    let text = project.image::<&str>([]).text("/out");
    let processes: u32 = text.lines().next().unwrap().parse().unwrap();
    assert!(processes < 8, "{processes} processes are visible");
}

#[test]
fn root_and_everybody_else_build_the_same_layer() {
    let text = "FROM scratch\nCOPY --chown=1:2 a /a\nENV A=1\n";
    let image = Project::dockerfile(text).file("a", "a").image::<&str>([]);
    assert_eq!(image.manifest["layers"][0]["digest"], "sha256:8c64f76b9e3d2d3cce94cf1ddfd9370c380ab36f176388a02d87e54a087d3dfc");
}
