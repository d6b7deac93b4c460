//! Bad input: one clear error, the right exit code, no panic, no partial tag, and a store that works on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;

use crate::support::server::{digest, gzip};
use crate::support::{Project, Registry, Run, busybox, server, tools};

/// Builds the Dockerfile, which has to fail so; then a good one in the same store, which has to work.
#[track_caller]
fn fails(project: &Project, code: i32, says: &[&str]) {
    project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).exits(code).says(says);
    works_on(project);
}

#[track_caller]
fn works_on(project: &Project) {
    project.write("good/Dockerfile", "FROM {busybox}\nRUN echo good > /good\n");
    let _ = project.build(["--context", "good"]).succeeds();
    assert_eq!(project.built().text("/good"), "good\n");
}

#[test]
fn dockerfiles_that_cannot_be_read_are_pointed_at() {
    let table: [(&[u8], &[&str]); 13] = [
        (b"", &["Dockerfile"]),
        (b"# only a comment\n", &["Dockerfile"]),
        (b"RUN true\n", &["FROM"]),
        (b"FROM scratch\nFETCH x\n", &["FETCH", "Dockerfile:2"]),
        (b"FROM UPPER/case\n", &["UPPER", "Dockerfile:1"]),
        (b"FROM scratch\nCOPY one\n", &["COPY", "Dockerfile:2"]),
        (b"FROM scratch\nCOPY --chwn=1 a /a\n", &["chwn", "chown"]),
        (b"FROM scratch\nRUN --mount=type=secert,id=a true\n", &["secert", "Dockerfile:2"]),
        (b"FROM scratch\nCOPY <<EOF /a\nno end\n", &["EOF"]),
        (b"FROM scratch\nCOPY --from=7 /x /x\n", &["7", "Dockerfile:2"]),
        (b"FROM scratch\nONBUILD ONBUILD RUN true\n", &["ONBUILD"]),
        (b"FROM scratch\nENV \xff\xfe\n", &["UTF-8"]),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00", &["Dockerfile"]),
    ];
    for (dockerfile, says) in table {
        let project = Project::empty().file("Dockerfile", dockerfile);
        let run = project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).run();
        let shown = String::from_utf8_lossy(dockerfile);
        assert!(matches!(run.code, Some(1 | 2)) && !run.stderr.contains("panicked"), "{shown:?}: {run:?}");
        run.says(says);
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let project = Project::empty().file("Dockerfile", "FROM scratch\nCOPY gone /x\n");
    project.brik(["build", "--image", "localhost/app", "--dockerfile", "none"]).exits(2).says(&["none"]);
    project.brik(["build", "--image", "localhost/app", "--context", "none"]).exits(2).says(&["none"]);
    fails(&project, 1, &["gone", "Dockerfile:2"]);
    let project = Project::empty().file("Dockerfile", "FROM scratch\nCOPY link /x\n");
    std::os::unix::fs::symlink("/etc/passwd", project.path("link")).unwrap();
    fails(&project, 1, &["\"/link\": not found", "it is a link, to /etc/passwd of the context: no link leads out of that"]);
}

#[test]
fn the_file_of_a_secret_that_is_not_there_is_named() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=a true\n");
    let run = project.brik(["build", "--image", "localhost/app", "--secret", "id=a,src=none"]).run();
    assert_eq!(run.code, Some(2), "{run:?}");
    run.says(&["none", "--secret:1:1", "`--secret id=a,src=FILE` stands in for it"]);
}

#[test]
fn names_of_images_that_are_invalid_are_usage_errors() {
    let project = Project::dockerfile("FROM scratch\n");
    for name in ["a/UPPER", "", "a b", "x:bad tag", "x@sha256:short", "-x/y"] {
        let _ = project.brik(["build", &format!("--image={name}")]).exits(2);
    }
}

#[test]
fn a_base_that_does_not_exist_is_named() {
    let name = busybox().replace("busybox", "nothing");
    fails(&Project::dockerfile(&format!("FROM {name}:v9\nRUN true\n")), 1, &[&name, "v9"]);
}

#[test]
fn a_registry_that_is_down_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails(&Project::dockerfile(&format!("FROM 127.0.0.1:{port}/base\nRUN true\n")), 1, &[&format!("127.0.0.1:{port}")]);
}

#[test]
fn a_registry_that_answers_garbage_is_named() {
    let answers =
        BTreeMap::from([("/v2/".to_owned(), server::ok(b"")), ("/v2/base/manifests/latest".to_owned(), server::ok(b"<html>hello</html>"))]);
    let host = server::serve(answers);
    fails(&Project::dockerfile(&format!("FROM {host}/base\nRUN true\n")), 1, &[&host]);
}

#[test]
fn a_registry_that_refuses_is_named() {
    let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    let host = server::serve(BTreeMap::from([("/v2/base/manifests/latest".to_owned(), refusal)]));
    fails(&Project::dockerfile(&format!("FROM {host}/base\nRUN true\n")), 1, &[&host]);
}

/// A registry with one image, `base`, whose one layer is `served` where `promised` is what its manifest speaks of.
fn registry_of(promised: &[u8], diff_id: &str, served: &[u8]) -> String {
    server::serve_base(&[server::Layer { promised, diff_id: diff_id.to_owned(), served }])
}

/// An uncompressed archive of these entries: name, content, or target where it begins with `->`.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        // Written as bytes: the crate would refuse the names that these tests are about.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        let body = match content.strip_prefix("->") {
            Some(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
                ""
            }
            None => content,
        };
        header.set_size(body.len() as u64);
        header.set_cksum();
        archive.append(&header, body.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn layers_that_are_not_what_their_manifest_says_are_refused() {
    let plain = archive(&[("file", "content")]);
    let layer = gzip(&plain);
    let mut corrupt = layer.clone();
    *corrupt.last_mut().unwrap() ^= 1;
    let garbage = b"this is no gzip stream at all".to_vec();
    let table = [
        ("truncated", registry_of(&layer, &digest(&plain), &layer[..layer.len() / 2]), "sha256:"),
        ("corrupt", registry_of(&layer, &digest(&plain), &corrupt), "sha256:"),
        ("another diff id", registry_of(&layer, &digest(b"other"), &layer), "sha256:"),
        ("no archive", registry_of(&garbage, &digest(&garbage), &garbage), "archive"),
    ];
    for (name, host, says) in table {
        let project = Project::dockerfile(&format!("FROM {host}/base\nCOPY a /a\nRUN true\n")).file("a", "a");
        let run = project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).run();
        assert!(run.code == Some(1) && !run.stderr.contains("panicked"), "{name}: {run:?}");
        run.says(&[says]);
        works_on(&project);
    }
}

#[test]
fn layers_and_archives_cannot_write_outside_of_the_image() {
    let table: [&[(&str, &str)]; 4] = [
        &[("../../../../../../../../../tmp/brik-escaped", "x")],
        &[("/tmp/../../../../../tmp/brik-escaped", "x")],
        &[("link", "->/tmp"), ("link/brik-escaped", "x")],
        &[("link", "->../../../../../../../../tmp"), ("link/brik-escaped", "x")],
    ];
    let outside = std::path::Path::new("/tmp/brik-escaped");
    for entries in table {
        let plain = archive(entries);
        let added = Project::dockerfile("FROM scratch\nADD a.tar /x/\n").file("a.tar", &plain);
        let layer = gzip(&plain);
        let host = registry_of(&layer, &digest(&plain), &layer);
        let based = Project::dockerfile(&format!("FROM {host}/base AS b\nFROM scratch\nCOPY --from=b / /x/\n"));
        for project in [added, based] {
            let run = project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).run();
            assert!(matches!(run.code, Some(0 | 1)) && !run.stderr.contains("panicked"), "{entries:?}: {run:?}");
            assert!(!outside.exists(), "{entries:?} has written to {}", outside.display());
        }
    }
}

#[test]
fn an_archive_that_is_cut_off_fails() {
    let plain = archive(&[("file", &"content".repeat(1000))]);
    let layer = gzip(&plain);
    let project = Project::dockerfile("FROM scratch\nADD a.tgz /x/\n").file("a.tgz", &layer[..layer.len() / 2]);
    fails(&project, 1, &["a.tgz", "Dockerfile:2"]);
}

#[test]
fn a_socket_of_a_context_becomes_an_empty_file() {
    let project = Project::dockerfile("FROM scratch\nCOPY data /data\n").file("data/file", "f");
    let _socket = std::os::unix::net::UnixListener::bind(project.path("data/socket")).unwrap();
    let image = project.image::<&str>([]);
    assert_eq!((image.text("/data/file"), image.text("/data/socket")), ("f".to_owned(), String::new()));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    if tools::is_root() {
        tools::skipped("root may read everything");
        return;
    }
    let project = Project::dockerfile("FROM scratch\nCOPY data /data\n").file("data/private", "p");
    fs::set_permissions(project.path("data/private"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    fails(&project, 1, &["private"]);
}

#[test]
fn what_another_user_has_made_in_the_store_is_refused() {
    if !tools::is_root() {
        tools::skipped("only root can be given another user's directory");
        return;
    }
    let project = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let _ = project.image::<&str>([]);
    let own = |owner| std::os::unix::fs::chown(project.store().join("records"), Some(owner), None).unwrap();
    own(65534);
    project.build([""; 0]).exits(1).says(&["records was made by another user", "chown -R", "--store"]);
    own(0);
    works_on(&project);
}

#[test]
fn names_that_are_no_text_are_copied_as_they_are() {
    let project = Project::dockerfile("FROM {busybox}\nCOPY data /data\nRUN printf %s /data/* | od -An -tx1 > /out\n");
    fs::create_dir(project.path("data")).unwrap();
    fs::write(project.path("data").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    assert_eq!(project.image::<&str>([]).text("/out").trim(), "2f 64 61 74 61 2f 63 61 66 e9");
}

#[test]
fn a_full_disk_is_told_and_leaves_no_tag() {
    if !tools::is_root() {
        tools::skipped("only root can mount a small file system");
        return;
    }
    let registry = Registry::start();
    let project = Project::dockerfile("FROM scratch\nCOPY big /big\n");
    let noise: Vec<u8> = (0u64..1_000_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).to_le_bytes()).collect();
    project.write("big", noise);
    let store = project.beside("small");
    fs::create_dir(&store).unwrap();
    let brik = std::env::var("BRIK_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_brik").to_owned());
    let script = "mount -t tmpfs -o size=2m none \"$1\" && exec \"$2\" --store \"$1\" build --push --image \"$3\"";
    let mut small = std::process::Command::new("unshare");
    small
        .current_dir(project.path(""))
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&store)
        .arg(brik)
        .arg(format!("{}/app:v1", registry.host()));
    let run = Run::of(small.output().unwrap());
    assert!(run.code == Some(1) && !run.stderr.contains("panicked"), "{run:?}");
    run.says(&["space left on"]);
    assert_eq!(registry.tags("app"), [""; 0]);
}

#[test]
fn a_service_that_fails_gets_no_tag_and_is_not_in_the_results() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("bad/Dockerfile", "FROM {busybox}\nRUN exit 1\n").file("good/Dockerfile", "FROM scratch\nENV A=1\n");
    let run = project.brik(["build", "--push"]).exits(1);
    assert!(!run.stdout.contains("/bad"), "{}", run.stdout);
    let (_, namespace) = project.prefix().split_once('/').map(|(host, rest)| (host.to_owned(), rest.to_owned())).unwrap();
    assert_eq!(crate::support::shared_registry().tags(&format!("{namespace}/bad")), [""; 0]);
}

/// A brik whose RUN has begun, and will not end by itself.
fn started(project: &Project) -> std::process::Child {
    let mut child = project.brik(["build", "--image", "localhost/app", "--progress", "json"]).start();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("step_output") {
            break;
        }
    }
    child
}

const ENDLESS: &str = "FROM {busybox}\nRUN echo begun; sleep 1000\n";

#[test]
fn an_interrupt_ends_every_process_and_exits_130() {
    let project = Project::dockerfile(ENDLESS);
    let mut child = started(&project);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    works_on(&project);
}

#[test]
fn a_kill_leaves_a_store_that_works() {
    let project = Project::dockerfile(ENDLESS);
    let mut child = started(&project);
    child.kill().unwrap();
    child.wait().unwrap();
    works_on(&project);
}

#[test]
fn kills_at_any_moment_change_no_result() {
    let text = "FROM {busybox}\nRUN head -c 3000000 /dev/zero > /zeros && rm /etc/group\nCOPY data /data\nRUN cat /data/* > /all\n";
    let project = || Project::dockerfile(text).file("data/one", "1".repeat(300_000)).file("data/two", "2".repeat(300_000));
    let (killed, calm) = (project(), project());
    for delay in [5u64, 20, 40, 80, 120, 180, 250] {
        let mut child = killed.build::<&str>([]).start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(killed.build::<&str>([]).succeeds().digests(), calm.build::<&str>([]).succeeds().digests());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]").file("app/Dockerfile", "FROM scratch\nENV A=1\n");
    for args in [&["check"][..], &["check", "--format", "json"], &["build"], &["cache", "du"], &["cache", "prune"]] {
        let mut child = project.brik(args).start();
        drop(child.stdout.take());
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}
