//! What a RUN may not reach: the host's devices, and the host's files through links of an image.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::StatVfsMountFlags;
use rustix::process::{Pid, Signal};

use crate::support::aftermath::process_tree;
use crate::support::{Project, tools};

fn mode_of_the_hosts(device: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(device).unwrap().permissions().mode()
}

#[test]
fn devices_are_the_runs_own() {
    let before = mode_of_the_hosts("/dev/full");
    // In a user namespace the chmod is refused, as root it concerns a node that only this RUN sees.
    let project =
        Project::dockerfile("FROM {busybox}\nRUN chmod 600 /dev/full || true; echo x > /dev/null; head -c 3 /dev/zero | wc -c > /out\n");
    assert_eq!(project.image::<&str>([]).text("/out").trim(), "3");
    assert_eq!(mode_of_the_hosts("/dev/full"), before);
}

#[test]
fn the_source_of_a_mount_is_looked_up_inside_its_image() {
    let project = Project::dockerfile(
        "FROM {busybox} AS from\nRUN mkdir /etc/here && echo image > /etc/here/file && ln -s /etc /link\n\
         FROM {busybox}\nRUN --mount=type=bind,from=from,source=/link/here,target=/mnt cat /mnt/file > /out\n",
    );
    assert_eq!(project.image::<&str>([]).text("/out").trim(), "image");
    let project = Project::dockerfile(
        "FROM {busybox} AS from\nRUN ln -s /proc/1/root /link\n\
         FROM {busybox}\nRUN --mount=type=bind,from=from,source=/link,target=/mnt ls /mnt > /out\n",
    );
    let run = project.build::<&str>([]).run();
    assert!(run.code == Some(1) && run.stderr.contains("not found"), "{run:?}");
}

/// The masks of /proc are null devices, and the name /dev/null may be a RUN's own.
#[test]
fn what_a_run_mounts_on_dev_is_nothing_that_brik_itself_looks_into() {
    for mount in ["--mount=type=bind,from=evil,source=/evil,target=/dev", "--mount=type=bind,from=evil,source=/evil/null,target=/dev/null"]
    {
        let project = Project::dockerfile("FROM scratch\n");
        let victim = project.beside("victim");
        std::fs::write(&victim, "of the host\n").unwrap();
        let (path, parent) = (victim.display().to_string(), victim.parent().unwrap().display().to_string());
        let text = format!(
            "FROM {{busybox}} AS evil\nRUN mkdir /evil && ln -s {path} /evil/null\n\
             FROM {{busybox}}\nRUN mkdir -p {parent} && echo decoy > {path}\n\
             RUN {mount} cat /proc/keys; echo written >> /proc/keys; cat /proc/keys /proc/interrupts /proc/timer_list | wc -c\n"
        );
        project.write("Dockerfile", text);
        let run = project.build::<&str>([]).run();
        assert!(!run.stderr.contains("of the host"), "{run:?}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "of the host\n");
        if mount.ends_with("/dev") {
            run.says(&["\"text\":\"0\""]);
        }
    }
}

/// What is behind a descriptor of brik is the host's: standard input is none that a RUN's own /dev leads to.
#[test]
fn what_a_run_mounts_on_dev_does_not_become_its_standard_input() {
    let project = Project::dockerfile("FROM scratch\n");
    let victim = project.beside("victim");
    std::fs::write(&victim, "of the host\n").unwrap();
    let numbers: Vec<u32> = (3..40).collect();
    let links: Vec<String> =
        numbers.iter().map(|number| format!("mkdir -p /evil/{number} && ln -s /proc/self/fd/{number} /evil/{number}/null")).collect();
    let mut text = format!("FROM {{busybox}} AS evil\nRUN {}\n", links.join(" && "));
    for number in &numbers {
        let (mount, up) = (format!("--mount=type=bind,from=evil,source=/evil/{number},target=/dev"), "../".repeat(25));
        text += &format!("FROM {{busybox}} AS s{number}\nRUN {mount} cd /proc/self/fd/0/ && cat ./{up}{}; : > /done\n", victim.display());
    }
    text += "FROM {busybox}\n";
    numbers.iter().for_each(|number| text += &format!("COPY --from=s{number} /done /{number}\n"));
    project.write("Dockerfile", text);
    let run = project.build::<&str>([]).succeeds();
    assert!(!run.stderr.contains("of the host"), "{run:?}");
}

#[test]
fn a_here_document_is_written_nowhere_but_where_it_is_run() {
    let project = Project::dockerfile("FROM scratch\n");
    let outside = project.beside("outside");
    let above = format!("{}{}", "../".repeat(25), outside.display());
    for name in [outside.display().to_string(), above, "..".to_owned(), "a/b".to_owned(), "n".repeat(256)] {
        project.write("Dockerfile", format!("FROM {{busybox}}\nRUN <<\"{name}\"\n#!/bin/sh\ntrue\n{name}\n"));
        project.build::<&str>([]).exits(1).says(&["here-document", "is no file name", "Dockerfile:2"]);
        assert!(!outside.exists(), "{name}");
    }
}

/// A RUN on nothing sees a stack, too, not the directory in which overlayfs takes its notes.
#[test]
fn a_run_on_scratch_makes_no_whiteouts() {
    if !tools::is_root() {
        return tools::skipped("only real root can make devices");
    }
    let project = Project::dockerfile(
        "FROM scratch\nRUN --mount=from={busybox},source=/bin,target=/bin [\"/bin/busybox\", \"sh\", \"-c\", \
         \"/bin/busybox mkdir /d; /bin/busybox mknod /d/gone c 0 0 || /bin/busybox touch /refused\"]\n",
    );
    let image = project.image::<&str>([]);
    assert_eq!(image.layer(0), ["/d", "/refused"]);
}

#[test]
fn a_mount_point_that_a_link_of_another_mount_leads_to_is_none() {
    let text = "FROM {busybox} AS other\nRUN mkdir /other && ln -s /etc /other/link\nFROM {busybox}\n";
    let project =
        Project::dockerfile(&format!("{text}RUN --mount=from=other,source=/other,target=/m --mount=type=tmpfs,target=/m/link/new true\n"));
    project.build::<&str>([]).exits(1).says(&["/m/link/new", "leads to /etc/new", "Dockerfile:4"]);
    // With /proc that link leads to a file of the sandbox: whoever asks for a secret there would not get it.
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=s,required=true,target=/dev/stdin true\n");
    project.build(["--secret", "id=s,src=Dockerfile"]).exits(1).says(&["/dev/stdin", "/proc"]);
}

#[test]
fn nothing_is_mounted_on_what_leads_to_the_root() {
    let text = "FROM {busybox} AS other\nRUN mkdir /other && ln -s / /other/up\nFROM {busybox}\nRUN ln -s / /l\n";
    for mounts in
        ["--mount=from=other,source=/other,target=/l", "--mount=from=other,source=/other,target=/m --mount=type=tmpfs,target=/m/up"]
    {
        let project = Project::dockerfile(&format!("{text}RUN {mounts} true\n"));
        project.build::<&str>([]).exits(1).says(&["leads to the root directory"]);
    }
}

#[test]
fn nothing_is_mounted_in_proc() {
    Project::dockerfile("FROM {busybox}\nRUN --mount=type=tmpfs,target=/proc/sys true\n")
        .build::<&str>([])
        .exits(1)
        .says(&["/proc", "Dockerfile:2"]);
}

#[test]
fn what_a_run_puts_in_the_place_of_a_mount_s_directory_leads_nowhere() {
    let project = Project::dockerfile("FROM scratch\n").file("file", "x");
    let victim = project.beside("victim");
    std::fs::create_dir_all(victim.join("sub/empty")).unwrap();
    std::fs::write(victim.join("sub/lock"), "").unwrap();
    let mounts = "--mount=type=tmpfs,target=/a/sub/empty --mount=type=bind,source=file,target=/a/sub/lock";
    let text = format!("FROM {{busybox}}\nRUN {mounts} mv /a /z && ln -s {} /a\n", victim.display());
    project.write("Dockerfile", text);
    let _ = project.build::<&str>([]).succeeds();
    assert!(victim.join("sub/empty").is_dir() && victim.join("sub/lock").is_file());
}

#[test]
fn nobody_can_write_to_brik_through_what_a_run_finds_of_it() {
    let project = Project::dockerfile("FROM {busybox}\nRUN sleep 4321\n");
    let mut child = project.build::<&str>([]).start();
    let runs = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("4321"));
    let begun = Instant::now();
    while !process_tree(child.id()).into_iter().any(runs) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the RUN has not begun");
        thread::sleep(Duration::from_millis(20));
    }
    let program = |pid: u32| fs::metadata(format!("/proc/{pid}/exe")).map(|file| (file.dev(), file.ino())).ok();
    let briks: Vec<u32> = process_tree(child.id()).into_iter().filter(|pid| program(*pid) == program(child.id())).collect();
    let read_only = |pid: &u32| rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap().f_flag.contains(StatVfsMountFlags::RDONLY);
    // The first is outside of the sandbox, and a RUN sees nothing of it.
    let inside: Vec<bool> = briks[1..].iter().map(read_only).collect();
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let _ = child.wait();
    assert!(!inside.is_empty() && inside.iter().all(|read_only| *read_only), "{inside:?}");
}

/// `taker` and `giver` are a RUN each, at the same time, with `/hand` and a cache for its socket.
fn handing(taker: &str, giver: &str, rest: &str) -> Option<Project> {
    let mount = "RUN --mount=type=cache,id=hand,target=/c";
    let text = format!(
        "FROM {{busybox}} AS both\nCOPY hand /hand\n\
         FROM both AS taker\n{mount} {taker}\nFROM both AS giver\n{mount} {giver}\nFROM giver\nCOPY --from=taker /taken /\n{rest}"
    );
    let project = Project::dockerfile(&text);
    tools::made_static("confinement/hand.c", &project.path("hand")).then_some(project)
}

#[test]
fn a_run_changes_no_root_of_another_run_that_has_ended() {
    let giver = "mkdir /d && echo GOOD > /d/tool && /hand give /c/s /d";
    let Some(project) = handing("/hand write /c/s > /taken", giver, "RUN cp /d/tool /seen\n") else { return };
    let image = project.image(["--jobs", "4"]);
    assert_eq!(image.text("/taken").trim(), "Read-only file system");
    // What was written before the end is part of it, for everybody.
    assert_eq!(image.text("/seen"), image.text("/d/tool"));
}

#[test]
fn a_root_that_somebody_still_writes_to_becomes_no_layer() {
    let giver = "echo GOOD > /tool && /hand give /c/s /tool";
    let Some(project) = handing("/hand map /c/s; true > /taken", giver, "") else { return };
    project.build(["--jobs", "4"]).exits(1).says(&["still holds a file of the root of this RUN open", "Dockerfile:6"]);
}
