//! Rung 3: root in a container that refuses namespaces and mounts builds the same images as root that may make them.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::aftermath::process_tree;
use crate::support::{Project, tools};

const BUILD: [&str; 5] = ["build", "--image", "localhost/app", "--progress", "json"];

/// Only root has anything to lose.
fn root() -> bool {
    if !tools::is_root() {
        tools::skipped("only root can be root in a container");
    }
    tools::is_root()
}

/// Builds twice, on rung 1 and on rung 3, and compares the digests.
#[track_caller]
fn same(instructions: &str, args: &[&str]) {
    if !root() {
        return;
    }
    let project = Project::dockerfile(&format!("FROM {{busybox}}\n{instructions}\n"));
    let project = project.file("data/file", "from the context").file("data/deep/er", "x").file("../token", "0123456789");
    let above = project.brik(BUILD).args(args).succeeds();
    let here = project.brik(BUILD).args(args).store(&project.beside("third")).in_container().succeeds();
    assert!(here.events_of("sandbox")[0]["description"].as_str().unwrap().contains("without namespaces"), "{here:?}");
    assert_eq!(here.digests(), above.digests(), "{instructions}");
    assert_eq!(here.steps_run(), above.steps_run());
}

#[test]
fn files_that_come_change_and_go() {
    same(
        "RUN echo 1 > /etc/new && echo '#' >> /etc/passwd && chmod 600 /etc/group && chown 7:8 /bin/busybox\n\
         RUN rm /etc/new && mv /etc/group /grp && ln -s /grp /etc/group\n\
         RUN touch /tmp/gone && rm /tmp/gone\n\
         RUN true\n\
         RUN mkdir -p /a/b/c && echo x > /a/b/c/d && chmod 2750 /a/b\n\
         RUN rm -rf /a/b && mkdir /a/b && echo y > /a/b/e\n\
         RUN rm -rf /a && echo file > /a\n\
         RUN rm /a && mkdir -p /a/b && rm -rf /home\n\
         RUN mkfifo /fifo && mknod /null c 1 3 && ln /fifo /same",
        &[],
    );
}

#[test]
fn a_device_like_a_whiteout_is_nothing_and_hides_what_it_replaces() {
    let text = "FROM {busybox}\nRUN mkdir /d && echo x > /d/a && echo x > /d/b\n\
                RUN rm /d/a && mknod /d/a c 0 0 && mknod /d/new c 0 0\nRUN ls /d > /out\n";
    if !root() {
        return;
    }
    let project = Project::dockerfile(text);
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!(project.built().text("/out"), "b\n");
}

#[test]
fn names_of_one_file() {
    same(
        "RUN echo 1 > /one && ln /one /two && ln /one /tmp/three\n\
         RUN rm /two\n\
         RUN ln /etc/passwd /etc/again && mkdir /d && cp /one /d/one && ln /d/one /d/two",
        &[],
    );
}

#[test]
fn users_working_directories_scripts_and_variables() {
    same(
        "ENV A=1\nWORKDIR /w/x\nRUN <<EOF\necho $A > here\npwd >> here\nEOF\n\
         RUN <<EOF\n#!/usr/bin/awk -f\nBEGIN { print 6 * 7 > \"/w/awk\" }\nEOF\n\
         USER guest\nRUN id > /tmp/id; echo $HOME >> /tmp/id; echo out > /dev/stdout; echo null > /dev/null; head -c 9 /dev/zero > /tmp/zeros\n\
         USER 4242:17\nRUN touch /tmp/numbers && stat -c '%u %g' /tmp/numbers > /tmp/stat",
        &[],
    );
}

#[test]
fn copies_from_everywhere() {
    same(
        "RUN mkdir /made && echo 1 > /made/one && ln /made/one /made/two && ln -s one /made/link && rm -rf /etc/group\n\
         FROM {busybox} AS next\nCOPY --from=0 /made /etc/ /got/\nCOPY data /data\nCOPY --chown=3:4 --chmod=640 data/file /data/\n\
         COPY --link data /linked\nCOPY --from=0 --link /made /also\nADD data/* /flat/\nCOPY <<EOF /etc/conf\ntext\nEOF\n\
         RUN ls -lR /got /data /linked /also /flat | grep -v total | awk '{print $1,$3,$4,$5,$9}' > /list",
        &[],
    );
}

#[test]
fn all_kinds_of_mounts() {
    same(
        "RUN --mount=type=bind,source=data,target=/in cat /in/file > /out && find /in >> /out\n\
         RUN --mount=type=bind,source=data/file,target=/etc/passwd,rw cat /etc/passwd >> /out && echo gone > /etc/passwd\n\
         RUN --mount=type=cache,target=/c --mount=type=cache,target=/also,id=/c touch /c/x && ls /also >> /out\n\
         RUN --mount=type=cache,target=/c ls /c >> /out && stat -c %a /c >> /out\n\
         RUN --mount=type=tmpfs,target=/etc ls -a /etc >> /out; echo x > /etc/lost\n\
         RUN --mount=type=tmpfs,target=/a/b --mount=type=tmpfs,target=/a touch /a/b/x\n\
         RUN --mount=type=secret,id=token,mode=0440,uid=5 cat /run/secrets/token >> /out; stat -c '%a %u' /run/secrets/token >> /out\n\
         RUN --mount=type=secret,id=token,target=/deep/er/token mkdir /deep/own\n\
         RUN cat /etc/passwd | wc -l >> /out && echo '#' >> /etc/hosts || true",
        &["--secret", "id=token,src=../token"],
    );
    same(
        "RUN mkdir -p /made/sub && echo 1 > /made/sub/file && chmod 700 /made && rm /etc/group\n\
         FROM {busybox}\nRUN --mount=from=0,target=/stage,rw cat /stage/made/sub/file > /out && ls /stage/etc >> /out && rm -rf /stage/made\n\
         RUN --mount=from=0,source=/made,target=/made stat -c %a /made >> /out && ls /made/sub >> /out",
        &[],
    );
}

#[test]
fn what_a_mount_covers_is_as_it_was() {
    same(
        "COPY data/file /etc/hosts\nCOPY data/file /etc/resolv.conf\nCOPY data /c/\nCOPY data /dev/\n\
         RUN --mount=type=cache,target=/c rm -rf /c/* && echo x > /c/x && grep -c db.internal /etc/hosts > /out && echo x > /dev/lost\n\
         RUN ls -l /c > /tmp/list",
        &["--add-host", "db.internal:10.1.2.3"],
    );
}

#[test]
fn an_agents_socket_is_there() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && stat -c %a $SSH_AUTH_SOCK > /out\n");
    let socket = project.beside("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let _ = project.build(["--ssh", &format!("default={}", socket.display())]).in_container().succeeds();
    assert_eq!(project.built().text("/out"), "600\n");
}

#[test]
fn a_failing_run_says_the_same_and_leaves_the_store_usable() {
    if !root() {
        return;
    }
    let project =
        Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nRUN --mount=type=cache,target=/c echo words; touch /c/x; exit 42\n");
    project.brik(BUILD).in_container().exits(1).says(&["words", "exit code 42"]);
    project.write("Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,target=/c ls /c > /out\n");
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!(project.built().text("/out"), "x\n");
    assert_eq!(fs::read_dir(project.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_lost_is_told() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM {busybox}\nRUN --network=none true\n");
    project.brik(BUILD).in_container().exits(1).says(&["--network=none", "network namespace"]);
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=bind,source=.,target=/in true\n");
    project.brik(BUILD).in_container().succeeds().says(&["read-only mounts can be written to", "seccomp=unconfined"]);
}

/// Processes whose command line has this word.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    processes.filter(|path| fs::read(path).is_ok_and(|text| text.split(|b| *b == 0).any(|part| part == word.as_bytes()))).count()
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_outlives_its_run() {
    if !root() {
        return;
    }
    let orphans = "for i in 1 2 3; do setsid sh -c 'sleep 312701 & sleep 312701' & done; sleep 0.2";
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN {orphans}; echo started > /out\n"));
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!((project.built().text("/out").as_str(), running("312701")), ("started\n", 0));
}

#[test]
fn an_interrupted_brik_ends_what_runs() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM {busybox}\nRUN setsid sleep 312702 & sleep 312702\n");
    let mut brik = project.brik(BUILD).in_container().start();
    wait_until("the RUN starts", || running("312702") > 0);
    kill_process(Pid::from_child(&brik), Signal::INT).unwrap();
    assert_eq!(brik.wait().unwrap().code(), Some(130));
    assert_eq!(running("312702"), 0);
}

#[test]
fn a_killed_brik_leaves_neither_processes_nor_secrets_and_loses_no_cache() {
    if !root() {
        return;
    }
    let text = "FROM {busybox}\nRUN --mount=type=cache,target=/c --mount=type=secret,id=token echo kept > /c/x; \
                ln /run/secrets/token /linked; sleep 312703\n";
    let project = Project::dockerfile(text).file("../token", "only-in-this-secret");
    let mut brik = project.brik(BUILD).args(["--secret", "id=token,src=../token"]).in_container().start();
    wait_until("the RUN starts", || running("312703") > 0);
    let secrets = || tools::output("find", &[&project.store().join("tmp").display().to_string(), "-name", "token"]);
    assert!(!secrets().is_empty());
    brik.kill().unwrap();
    brik.wait().unwrap();
    wait_until("the guard ends what runs", || running("312703") == 0);
    wait_until("the guard removes the secret", || secrets().is_empty());
    let tmp = project.store().join("tmp").display().to_string();
    assert_eq!(
        tools::output("sh", &["-c", &format!("grep -rl only-in-this-secret {tmp}; true")]),
        "",
        "also under a name that the RUN gave it"
    );
    project.write("Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,target=/c cat /c/x > /out\n");
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!(project.built().text("/out"), "kept\n");
}

#[test]
fn a_cache_that_a_run_replaces_or_moves_stays_a_directory_of_the_store() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM scratch\n");
    let outside = project.beside("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("theirs"), "of the host").unwrap();
    let store = project.beside("third");
    let cases = [
        (format!("rm -rf /c; ln -s {} /c", outside.display()), "! test -e /c/theirs"),
        ("rm -rf /c; echo file > /c".to_owned(), "test -d /c"),
        ("mv /c /elsewhere; touch /elsewhere/kept".to_owned(), "test -e /c/kept"),
    ];
    for (n, (harm, then)) in cases.iter().enumerate() {
        let run = |command: &str| {
            let text = format!("FROM {{busybox}}\nRUN --mount=type=cache,id=c{n},target=/c {command}\n");
            project.write("Dockerfile", text);
            project.brik(BUILD).store(&store)
        };
        let _ = run(harm).in_container().succeeds();
        let _ = run(&format!("{then} && touch /c/ours")).succeeds();
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written outside of the store");
}

/// A directory of the host, and a Dockerfile's beginning in which a user owns one of the image.
fn guest(project: &Project) -> (std::path::PathBuf, String) {
    let outside = project.beside("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("theirs"), "of the host").unwrap();
    (outside, "FROM {busybox}\nRUN mkdir -p /home/app && chown 1000:1000 /home/app\nUSER guest\nWORKDIR /home/app\n".to_owned())
}

#[test]
fn a_link_in_the_way_of_a_secret_removes_nothing_outside() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM scratch\n").file("../token", "0123456789");
    let (outside, begin) = guest(&project);
    let mount = "--mount=type=secret,id=token,target=/home/app/d/theirs,uid=1000";
    project.write("Dockerfile", format!("{begin}RUN {mount} mv d e && ln -s {} d\n", outside.display()));
    let _ = project.brik(BUILD).args(["--secret", "id=token,src=../token"]).in_container().succeeds();
    assert_eq!(fs::read_to_string(outside.join("theirs")).unwrap(), "of the host");
}

#[test]
fn what_is_called_like_a_cache_that_was_removed_is_none() {
    if !root() {
        return;
    }
    let project = Project::dockerfile("FROM scratch\n");
    let (outside, begin) = guest(&project);
    let run = |command: &str| {
        project.write("Dockerfile", format!("{begin}RUN --mount=type=cache,id=c,target=/home/app/c,uid=1000 {command}\n"));
        let _ = project.brik(BUILD).in_container().succeeds();
    };
    run(&format!("rmdir c && ln -s {} 'c (deleted)'", outside.display()));
    let caches = fs::read_dir(project.store().join("mounts/root")).into_iter().flatten().flatten();
    assert!(caches.map(|cache| cache.file_type().unwrap()).all(|kind| kind.is_dir()), "a link of a RUN is a cache");
    run("test ! -e c/theirs && touch c/ours");
    run("test -e c/ours");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written outside of the store");
}

#[test]
fn a_secret_in_a_cache_is_gone_though_everything_was_killed() {
    if !root() {
        return;
    }
    let mounts = "--mount=type=cache,id=c,target=/c --mount=type=secret,id=token,target=/c/settings";
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN {mounts} sleep 312704\n")).file("../token", "only-in-this-secret");
    let mut brik = project.brik(BUILD).args(["--secret", "id=token,src=../token"]).in_container().start();
    wait_until("the RUN starts", || running("312704") > 0);
    let all = process_tree(brik.id());
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in all.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }
    brik.wait().unwrap();
    let store = project.store().display().to_string();
    let found = || tools::output("sh", &["-c", &format!("grep -rl only-in-this-secret {store}; true")]);
    assert!(!found().is_empty(), "the guard was killed, too");
    project.write("Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,id=c,target=/c ls /c > /out\n");
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!((project.built().text("/out").as_str(), found().as_str()), ("", ""));
}

#[test]
fn a_file_in_the_place_of_a_moved_mount_point_is_part_of_the_image() {
    if !root() {
        return;
    }
    let mounts = "--mount=type=secret,id=token,target=/app/cfg --mount=type=secret,id=token,target=/x/y/cfg";
    let project = Project::dockerfile(&format!(
        "FROM {{busybox}}\nRUN mkdir -p /app /x/y && echo old > /app/cfg && echo old > /x/y/cfg\n\
         RUN {mounts} mv /app /app2 && mkdir /app && echo new > /app/cfg && mv /x /x2 && mkdir -p /x/y && echo new > /x/y/cfg\n"
    ));
    let project = project.file("../token", "0123456789");
    let _ = project.build(["--secret", "id=token,src=../token"]).in_container().succeeds();
    let image = project.built();
    let texts = ["/app/cfg", "/x/y/cfg", "/app2/cfg", "/x2/y/cfg"].map(|path| image.text(path));
    assert_eq!(texts, ["new\n", "new\n", "old\n", "old\n"]);
}

#[test]
fn who_asks_for_namespaces_runs_nothing_without() {
    if !root() {
        return;
    }
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n[build]\nisolation = \"namespaces\"\n");
    let project = project.file("app/Dockerfile", "FROM {busybox}\nRUN true\n");
    let run = project.brik(["build", "--progress", "json"]).in_container().exits(1);
    run.says(&["brik::sandbox::refused", "isolation = \"namespaces\"", "seccomp=unconfined"]);
    assert!(!run.stderr.contains("step_started"), "{run:?}");
    let _ = project.brik(["build"]).succeeds();
}
