//! Contexts, and the files that describe a build, that mean harm or change while they are read: nothing outside of a context comes into an
//! image, nothing waits for ever, and what cannot be built is named.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, makedev, mkdirat, mknodat, openat, renameat_with};

use crate::support::outside::CANARY;
use crate::support::tarball::{file, tar};
use crate::support::{Kind, Outside, Project, tools, trials};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

fn built(project: &Project, dockerfile: &str) -> crate::support::Run {
    project.write("Dockerfile", dockerfile);
    let _ = fs::remove_dir_all(project.out());
    let (run, _) = project.build::<&str>([]).watched();
    assert!(matches!(run.code, Some(0 | 1)), "{dockerfile}: {run:?}");
    run
}

#[test]
fn no_link_of_a_context_leads_out_of_it() {
    let project = Project::empty().file("c/file", "x").file("c/real/deep/file", "x");
    let outside = Outside::beside(&project);
    let secret = format!("{}/secret", outside.text());
    let (archive, beside) = (project.path("c/archive"), project.beside("archive.tar"));
    fs::write(&beside, tar(&[file("unpacked", CANARY)])).unwrap();
    let (climbing, below) = (outside.climbing(), format!("{}/below", outside.text()));
    for (target, link) in [
        (secret.as_str(), "out"),
        (&format!("{climbing}/secret"), "climbing"),
        (&below, "directory"),
        (&below, "real/deep/directory"),
        ("loop-b", "loop-a"),
        ("loop-a", "loop-b"),
        ("..", "real/up"),
        (".", "self"),
        ("/proc/self/environ", "proc"),
        ("/dev/zero", "zero"),
        ("real/deep", "in"),
        ("missing", "dangling"),
    ] {
        symlink(target, project.path("c").join(link)).unwrap();
    }
    symlink(&beside, &archive).unwrap();
    let sources = [
        ("out", false),
        ("climbing", false),
        ("directory", false),
        ("directory/", false),
        ("directory/secret", false),
        ("real/deep/directory/secret", false),
        ("../../../outside/secret", false),
        ("dir*/secret", false),
        ("dir*/*", false),
        ("*/*/directory/secret", false),
        ("loop-a", false),
        ("loop-a/file", false),
        ("proc", false),
        ("zero", false),
        ("dangling", false),
        ("archive", false),
        ("real/up/up/file", false),
        ("real/up/file", true),
        ("self/self/self/file", true),
        ("in/file", true),
        (".", true),
        ("real", true),
    ];
    let mut tried = 0;
    for (n, (source, possible)) in sources.into_iter().enumerate() {
        for instruction in [["COPY", "COPY --parents"], ["ADD", "COPY --link --chown=1:1"]][n % 2] {
            let run = built(&project, &format!("FROM scratch\n{instruction} c/{source} /x/\n"));
            // A pattern may stand for nothing.
            if instruction != "COPY --parents" && !source.contains('*') {
                assert_eq!(run.code == Some(0), possible, "{instruction} {source}: {run:?}");
            }
            outside.is_untouched(source, &[&run]);
            outside.is_not_in(&project.out());
            assert!(!fs::read(&beside).unwrap().is_empty());
            tried += 1;
        }
    }
    let _ = built(&project, "FROM scratch\nCOPY c /x/\n");
    assert_eq!(project.built().entry("/x/out").kind, Kind::Symlink(secret));
    println!("{tried} sources through links");
}

#[test]
fn nodes_of_every_kind_and_name_come_as_they_are() {
    let project = Project::empty().file("c/file", "x");
    let c = project.path("c");
    fifo(&c.join("fifo"));
    let _socket = UnixListener::bind(c.join("socket")).unwrap();
    let names: [&[u8]; 5] = [b"new\nline", b"tab\t", b"\xff\xfe", b"\x1b[2J", b" blank "];
    for name in names {
        fs::write(c.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    fs::write(c.join("n".repeat(255)), "x").unwrap();
    fs::hard_link(c.join("file"), c.join("linked")).unwrap();
    if tools::is_root() {
        for (name, kind, device) in [("zero", FileType::CharacterDevice, makedev(1, 5)), ("disk", FileType::BlockDevice, makedev(7, 0))] {
            mknodat(CWD, c.join(name), kind, Mode::from_raw_mode(0o666), device).unwrap();
        }
    } else {
        tools::skipped("devices: only root makes device nodes");
    }
    let run = built(&project, "FROM scratch\nCOPY c /c\nADD c/fifo c/socket /added/\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    let image = project.built();
    assert_eq!(image.entry("/c/fifo").kind, Kind::Other(tar::EntryType::Fifo));
    assert_eq!(image.text("/c/socket"), "");
    assert!(image.has("/c/new\nline") && image.has(&format!("/c/{}", "n".repeat(255))), "{:?}", image.paths());
    assert_eq!(image.entry("/c/file").inode, image.entry("/c/linked").inode);
    if tools::is_root() {
        assert_eq!(image.entry("/c/zero").kind, Kind::Other(tar::EntryType::Char));
    }
    // Where one of them is read, it is not waited for.
    for source in ["fifo", "socket", "zero"] {
        let _ = built(
            &project,
            &format!("FROM {{busybox}}\nCOPY c/{source}* /x/\nRUN --mount=source=c,target=/m ls /m >/dev/null; head -c1 /m/zero || true\n"),
        );
    }
}

#[test]
fn what_may_not_be_read_is_named_where_it_is_asked_for_and_only_there() {
    if tools::is_root() {
        tools::skipped("root may read everything");
        return;
    }
    let project = Project::empty().file("c/file", "x").file("c/closed/file", "x").file("c/blind/file", "x");
    let closed =
        |mode: u32| ["c/closed", "c/blind"].map(|name| fs::set_permissions(project.path(name), fs::Permissions::from_mode(mode)).unwrap());
    closed(0o000);
    fs::set_permissions(project.path("c/blind"), fs::Permissions::from_mode(0o400)).unwrap();
    for (source, says) in
        [("c", "c/"), ("c/closed", "closed"), ("c/closed/file", "closed"), ("c/blind", "blind"), ("c/blind/file", "blind")]
    {
        let run = built(&project, &format!("FROM scratch\nCOPY {source} /x/\n"));
        assert!(run.code == Some(1) && run.has_said(says) && run.has_said("denied"), "{source}: {run:?}");
    }
    assert_eq!(built(&project, "FROM scratch\nCOPY c/file /x/\n").code, Some(0));
    project.write(".dockerignore", "c/closed\nc/blind\n");
    assert_eq!(built(&project, "FROM scratch\nCOPY c /x/\n").code, Some(0));
    closed(0o700);
}

/// Something else that goes on until this is dropped.
struct Meanwhile(std::sync::Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

fn meanwhile(mut act: impl FnMut() + Send + 'static) -> Meanwhile {
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let thread = thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            act();
        }
    });
    Meanwhile(ended, Some(thread))
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map(thread::JoinHandle::join);
    }
}

fn swapping(one: PathBuf, other: PathBuf) -> Meanwhile {
    meanwhile(move || {
        let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        thread::sleep(Duration::from_micros(fastrand::u64(0..300)));
    })
}

#[test]
fn what_is_swapped_with_a_link_out_while_it_is_read_never_comes_into_an_image() {
    let (mut succeeded, mut tried) = (0, 0);
    for (what, place, instruction) in [
        ("file", "c/a/file-7", "COPY c /x/"),
        ("file by name", "c/a/secret", "COPY c/a/secret /x/"),
        ("directory", "c/a", "COPY c /x/"),
        ("directory on the way", "c/a", "COPY c/a/secret /x/"),
        ("top", "c", "COPY c /x/"),
        ("archive", "c/a/archive.tar", "ADD c/a/archive.tar /x/"),
        ("fifo", "c/a/file-7", "COPY c /x/"),
        ("mounted", "c/a", "RUN --mount=source=c,target=/m cp -r /m /x"),
    ] {
        let project = Project::empty();
        let outside = Outside::beside(&project);
        for n in 0..20 {
            project.write(&format!("c/a/file-{n}"), "mine");
            project.write(&format!("c/b/file-{n}"), "mine");
        }
        project.write("c/a/secret", "mine");
        project.write("c/a/archive.tar", tar(&[file("unpacked", "mine")]));
        let other = project.beside("other");
        let below = outside.path().join("below");
        match what {
            "fifo" => fifo(&other),
            "archive" => {
                fs::write(project.beside("theirs.tar"), tar(&[file("unpacked", CANARY)])).unwrap();
                symlink(project.beside("theirs.tar"), &other).unwrap();
            }
            _ if place.ends_with("7") || place.ends_with("secret") => symlink(outside.path().join("secret"), &other).unwrap(),
            _ => symlink(&below, &other).unwrap(),
        }
        let swap = swapping(project.path(place), other);
        for _ in 0..trials(2) {
            let base = if instruction.starts_with("RUN") { "{busybox}" } else { "scratch" };
            let run = built(&project, &format!("FROM {base}\n{instruction}\n"));
            outside.is_untouched(what, &[&run]);
            outside.is_not_in(&project.out());
            tried += 1;
            succeeded += usize::from(run.code == Some(0));
        }
        drop(swap);
    }
    println!("{tried} builds while a path was swapped, {succeeded} of them succeeded");
}

#[test]
fn what_changes_while_it_is_read_is_told_or_whole() {
    const SIZE: usize = 2 << 20;
    let (mut succeeded, mut tried) = (0, 0);
    for (what, instructions) in [
        ("borrowed", "FROM scratch\nCOPY c /x/\n"),
        ("copied", "FROM {busybox}\nCOPY c /x/\nRUN true\n"),
        ("added", "FROM scratch\nADD c/f /x/f\n"),
    ] {
        for change in ["rewritten", "grows", "shrinks"] {
            let project = Project::empty().file("c/f", vec![b'a'; SIZE]);
            let mut letter = b'a';
            let open = File::options().write(true).open(project.path("c/f")).unwrap();
            let act = meanwhile(move || {
                letter = if letter == b'z' { b'a' } else { letter + 1 };
                match change {
                    "rewritten" => open.write_all_at(&vec![letter; SIZE], 0).unwrap(),
                    "grows" => open.write_all_at(b"a", open.metadata().unwrap().len()).unwrap(),
                    // Never longer again: it would end in zeros, rightly.
                    _ => open.set_len(open.metadata().unwrap().len() - 1).unwrap(),
                }
                thread::sleep(Duration::from_millis(fastrand::u64(0..40)));
            });
            for _ in 0..trials(2) {
                let run = built(&project, instructions);
                tried += 1;
                if run.code == Some(0) {
                    succeeded += 1;
                    let text = project.built().text("/x/f");
                    assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]), "{what}, {change}: a file that never was");
                } else {
                    assert!(run.has_said("changed while"), "{what}, {change}: {run:?}");
                }
            }
            drop(act);
        }
    }
    println!("{tried} builds while a file changed, {succeeded} of them succeeded");
}

#[test]
fn many_files_take_little_memory() {
    let count = trials(2) * 1000;
    let project = Project::empty();
    for n in 0..count {
        if n % 1000 == 0 {
            fs::create_dir_all(project.path(&format!("c/{}", n / 1000))).unwrap();
        }
        fs::write(project.path(&format!("c/{}/{n}", n / 1000)), "").unwrap();
    }
    project.write("Dockerfile", "FROM scratch\nCOPY c /c\n");
    let (run, memory) = project.build::<&str>([]).watched();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(project.built().paths().len(), 1 + count + count.div_ceil(1000));
    println!("{count} files of a context: {} MiB", memory >> 20);
    assert!(memory < (256 << 20) + count as u64 * 2048, "{memory} bytes");
}

/// A directory within a directory, so deep.
fn nest(top: &Path, depth: usize) {
    let mut here = openat(CWD, top, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn a_context_may_be_deep_and_is_refused_where_no_path_leads_there() {
    let project = Project::empty().file("c/file", "x");
    nest(&project.path("c"), 1000);
    let run = built(&project, "FROM {busybox}\nCOPY c /c\nRUN rm -r /c/d\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = built(&project, "FROM scratch\nCOPY c /c\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(project.built().has(&format!("/c{}", "/d".repeat(1000))));
    fs::create_dir(project.path("c/e")).unwrap();
    nest(&project.path("c/e"), 5000);
    let run = built(&project, "FROM scratch\nCOPY c /c\n");
    assert!(run.code == Some(1) && run.has_said("name too long"), "{run:?}");
    assert_eq!(built(&project, "FROM scratch\nCOPY c/file /c\n").code, Some(0));
    project.write(".dockerignore", "c/e\n");
    assert_eq!(built(&project, "FROM scratch\nCOPY c /c\n").code, Some(0));
    // What the store has of it can be counted and removed.
    let _ = project.brik(["cache", "du"]).succeeds();
    let _ = project.brik(["cache", "prune"]).succeeds();
    assert!(Command::new("rm").args(["-rf"]).arg(project.path("c")).status().unwrap().success());
}

#[test]
fn files_that_describe_a_build_are_files_of_a_sensible_size_that_lie_here() {
    let mut tried = 0;
    for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore", "brik.toml", "brik.lock", "app/Dockerfile"] {
        for kind in
            ["fifo", "directory", "zeros", "link to zeros", "link out", "link to a device", "link to a fifo", "link loop", "rubbish"]
        {
            let monorepo = name.starts_with("brik") || name.starts_with("app");
            let project = match monorepo {
                true => {
                    Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n").file("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
                }
                false => Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n"),
            };
            let outside = Outside::beside(&project);
            let (path, beside) = (project.path(name), project.beside("special"));
            let _ = fs::remove_file(&path);
            let zeros = |path: &Path| File::create(path).unwrap().set_len(1 << 30).unwrap();
            match kind {
                "fifo" => fifo(&path),
                "directory" => fs::create_dir(&path).unwrap(),
                "zeros" => zeros(&path),
                "link to zeros" => {
                    zeros(&beside);
                    symlink(&beside, &path).unwrap();
                }
                "link out" => symlink(outside.path().join("secret"), &path).unwrap(),
                "link to a device" => symlink("/dev/zero", &path).unwrap(),
                "link to a fifo" => {
                    fifo(&beside);
                    assert!(beside.metadata().unwrap().file_type().is_fifo());
                    symlink(&beside, &path).unwrap();
                }
                "link loop" => symlink(&path, &path).unwrap(),
                _ => fs::write(&path, b"\xff\xfe\0[[[[\x1b[2J".repeat(1000)).unwrap(),
            }
            let run = match monorepo {
                true => project.brik(["check"]),
                false => project.brik(["build", "--image", "localhost/app", "--progress", "json"]),
            };
            let (run, memory) = run.watched();
            let what = format!("{name} as {kind}");
            // An ignore file that leads nowhere is none.
            let expected = if name.ends_with("ignore") { 0..=3 } else { 1..=3 };
            assert!(run.code.is_some_and(|code| expected.contains(&code)), "{what}: {run:?}");
            assert!(memory < 256 << 20, "{what}: {memory} bytes");
            assert!(!run.stderr.contains(CANARY) && !run.stdout.contains(CANARY), "{what}: {run:?}");
            if !name.ends_with("ignore") {
                outside.is_untouched(&what, &[&run]);
            }
            tried += 1;
        }
    }
    println!("{tried} files that describe a build and are none");
}
