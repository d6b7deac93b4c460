//! Layers and archives that mean harm: nothing outside of the store and the image is created, changed or read, memory stays bounded, and
//! the end is the right image or an error that names the layer and the entry.

use std::fs;

use tar::EntryType;

use crate::support::server::{Layer, digest, gzip, serve_base};
use crate::support::tarball::{Member, directory, file, hardlink, member, node, symlink, tar};
use crate::support::{Kind, Outside, Project, Run};

/// A registry with the image `base` of these layers; what it is, and its layers' digests.
fn serve(layers: &[Vec<u8>]) -> (String, Vec<String>) {
    let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let served = layers.iter().zip(&blobs).map(|(tar, blob)| Layer { promised: blob, diff_id: digest(tar), served: blob });
    (format!("{}/base", serve_base(&served.collect::<Vec<_>>())), blobs.iter().map(|blob| digest(blob)).collect())
}

/// Ends as a build may end.
#[track_caller]
fn ended(what: &str, run: &Run) {
    assert!(matches!(run.code, Some(0 | 1)), "{what}: {run:?}");
}

/// A member of which only the header is there, and says this size.
fn header_alone(kind: u8, size: u64) -> Vec<u8> {
    let mut member = member(EntryType::new(kind), b"f", b"").size(size);
    member.header().set_cksum();
    member.header().as_bytes().to_vec()
}

fn sparse(version: &[(&str, &str)], content: &[u8]) -> Vec<Member> {
    let file = file("sparse", content);
    vec![version.iter().fold(file, |file, (key, value)| file.pax(key, value))]
}

/// What no layer and no archive may say, with the words of the error.
fn refused(outside: &Outside) -> Vec<(&'static str, Vec<Vec<u8>>, &'static str)> {
    let (climbing, absolute) = (outside.climbing(), outside.text());
    let one = |members: &[Member]| vec![tar(members)];
    let mut old_sparse = member(EntryType::GNUSparse, b"f", b"");
    old_sparse.header().as_gnu_mut().unwrap().set_real_size(1 << 62);
    let map_before_content: [u8; 512] = std::array::from_fn(|at| *b"1\n0\n0\n".get(at).unwrap_or(&0));
    let newest = |size| [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "f"), ("GNU.sparse.realsize", size)];
    let long = [b'n'; 300];
    vec![
        ("parent", one(&[file(format!("{climbing}/new"), "x")]), "leads out"),
        ("parent within", one(&[file(format!("a/../{climbing}/new"), "x")]), "leads out"),
        ("absolute parent", one(&[file(format!("/{climbing}/new"), "x")]), "leads out"),
        ("parent as a directory", one(&[directory(&climbing).mode(0o700)]), "leads out"),
        ("parent as a link", one(&[symlink(format!("{climbing}/new"), "x")]), "leads out"),
        ("parent as a whiteout", one(&[file(format!("{climbing}/.wh.secret"), "")]), "leads out"),
        ("parent as an opaque mark", one(&[file(format!("{climbing}/.wh..wh..opq"), "")]), "leads out"),
        ("parent as a fifo", one(&[node(EntryType::Fifo, "../../fifo", (0, 0))]), "leads out"),
        ("hard link out", one(&[hardlink("l", format!("{climbing}/secret"))]), "leads out"),
        ("hard link to an absolute name", one(&[hardlink("l", format!("{absolute}/secret"))]), "is a hard link to"),
        ("hard link through a link", one(&[symlink("s", absolute), hardlink("l", "s/secret")]), "is a hard link to"),
        ("hard link through a climbing link", one(&[symlink("s", &climbing), hardlink("l", "s/secret")]), "is a hard link to"),
        ("hard link through a link below", vec![tar(&[symlink("s", absolute)]), tar(&[hardlink("l", "s/secret")])], "is a hard link to"),
        ("hard link to a whiteout", one(&[file(".wh.w", ""), hardlink("l", "w")]), "is a hard link to"),
        ("hard link to what is removed", vec![tar(&[file("w", "")]), tar(&[file(".wh.w", ""), hardlink("l", "w")])], "is a hard link to"),
        ("hard link to a directory", one(&[directory("d"), hardlink("l", "d")]), "cannot create"),
        ("hard link in a circle", one(&[hardlink("a", "b"), hardlink("b", "a")]), "is a hard link to"),
        ("link loop as a directory", one(&[symlink("a", "b"), symlink("b", "a"), file("a/f", "x")]), "cannot create"),
        ("file below a file", one(&[file("f", "x"), file("f/g", "x")]), "cannot create"),
        ("file below a fifo", one(&[node(EntryType::Fifo, "f", (0, 0)), file("f/g", "x")]), "cannot create"),
        ("root as a file", one(&[file("./", "x")]), "the root can only be"),
        ("root as a link", one(&[symlink("/", absolute)]), "the root can only be"),
        ("name longer than any", one(&[file(long, "x")]), "cannot create"),
        ("path longer than any", one(&[file("d/".repeat(3000), "x")]), "more than 4096 bytes"),
        ("link longer than any", one(&[symlink("l", "d/".repeat(3000))]), "more than 4096 bytes"),
        ("PAX header of a GiB", vec![header_alone(b'x', 1 << 30)], "more than 1 MiB"),
        ("global PAX header of a GiB", vec![header_alone(b'g', 1 << 30)], "more than 1 MiB"),
        ("long name of 8 EiB", vec![header_alone(b'L', i64::MAX as u64)], "more than 1 MiB"),
        ("long link of a TiB", vec![header_alone(b'K', 1 << 40)], "more than 1 MiB"),
        ("name with a NUL", one(&[file("f", "x").pax("path", b"a\0b")]), "a NUL in the name"),
        ("owner beyond 32 bits", one(&[file("f", "x").owner(1 << 32, 0)]), "user id is out of range"),
        ("owner far beyond", one(&[file("f", "x").owner(0, u64::MAX >> 8)]), "group id is out of range"),
        ("owner that means unchanged", one(&[file("f", "x").pax("uid", "4294967295")]), "user id is out of range"),
        ("negative owner", one(&[file("f", "x").pax("gid", "-1")]), "group id is out of range"),
        ("time that is none", one(&[file("f", "x").pax("mtime", "noon")]), "the time is no number"),
        ("time beyond all", one(&[file("f", "x").pax("mtime", "99999999999999999999")]), "the time is no number"),
        ("size of 8 EiB", vec![header_alone(b'0', i64::MAX as u64)], "unpacks to more than"),
        ("size beyond 8 EiB", vec![header_alone(b'0', u64::MAX)], "the size is negative or beyond"),
        ("negative size", one(&[file("f", "x").pax("size", "-1")]), "the size is no number"),
        ("sparse file of 4 EiB, old", one(&[old_sparse]), "unpacks to more than"),
        (
            "sparse file of 8 EiB, 0.1",
            one(&sparse(&[("GNU.sparse.size", "9223372036854775807"), ("GNU.sparse.map", "0,0")], b"")),
            "unpacks to",
        ),
        ("sparse file of 8 EiB, 1.0", one(&sparse(&newest("9223372036854775807"), &map_before_content)), "unpacks to more than"),
        ("sparse file of 400 GiB", one(&sparse(&newest("429496729600"), &map_before_content)), "times its own size"),
        ("sparse file of 600 GiB", one(&sparse(&newest("644245094400"), &map_before_content)), "unpacks to more than"),
        ("sparse file beyond 16 EiB", one(&sparse(&newest("18446744073709551616"), &map_before_content)), "bad map"),
        ("device with content", vec![header_alone(b'3', 512)], "content in a member"),
        ("unknown kind", one(&[member(EntryType::new(b'Z'), b"f", b"")]), "needs member type"),
    ]
}

/// What is refused of a layer only: an archive has no whiteouts.
fn refused_of_layers() -> Vec<(&'static str, Vec<Vec<u8>>, &'static str)> {
    let whiteout = |name: &str| vec![tar(&[file(name, "")])];
    vec![
        ("whiteout of nothing", whiteout(".wh."), "a whiteout of nothing"),
        ("whiteout of itself", whiteout(".wh.."), "a whiteout of nothing"),
        ("whiteout of the parent", whiteout(".wh..."), "a whiteout of nothing"),
        ("whiteout of the parent, below", whiteout("a/b/.wh..."), "a whiteout of nothing"),
        ("capabilities that are none", vec![tar(&[file("f", "x").pax("SCHILY.xattr.security.capability", "x")])], "cannot create"),
    ]
}

#[test]
fn layers_that_lie_or_lead_out_are_refused_by_name() {
    let project = Project::empty();
    let outside = Outside::beside(&project);
    let cases: Vec<_> = refused(&outside).into_iter().chain(refused_of_layers()).collect();
    for (what, layers, says) in &cases {
        let (base, digests) = serve(layers);
        project.write("Dockerfile", format!("FROM {base} AS base\nFROM scratch\nCOPY --from=base / /copied/\n"));
        let run = project.build::<&str>([]).run();
        assert!(run.code == Some(1) && !run.stderr.contains("panicked"), "{what}: {run:?}");
        for part in [says, digests.last().unwrap().as_str(), base.as_str()] {
            assert!(run.has_said(part), "{what}: {part:?} is not in {}", run.stderr);
        }
        let seen = project.brik(["inspect", &base, "--files"]).run();
        ended(what, &seen);
        assert!(!seen.stderr.contains("panicked"), "{what}: {seen:?}");
        outside.is_untouched(what, &[&run, &seen]);
        outside.is_not_in(&project.out());
    }
    println!("{} hostile layers were refused", cases.len());
}

#[test]
fn archives_that_lie_or_lead_out_are_refused_by_name() {
    let project = Project::empty();
    let outside = Outside::beside(&project);
    let cases: Vec<_> = refused(&outside).into_iter().filter(|(_, layers, _)| layers.len() == 1).collect();
    for (n, (what, layers, says)) in cases.iter().enumerate() {
        // An archive begins with a member that is one.
        let archive = [tar(&[file("first", "x")])[..1024].to_vec(), layers[0].clone()].concat();
        let name = format!("archive-{n}.tar");
        project.write(&name, archive);
        project.write("Dockerfile", format!("FROM scratch\nADD {name} /added/\n"));
        let run = project.build::<&str>([]).run();
        assert!(run.code == Some(1) && !run.stderr.contains("panicked"), "{what}: {run:?}");
        for part in [says, name.as_str()] {
            assert!(run.has_said(part), "{what}: {part:?} is not in {}", run.stderr);
        }
        outside.is_untouched(what, &[&run]);
        fs::remove_file(project.path(&name)).unwrap();
    }
    println!("{} hostile archives were refused", cases.len());
}

/// A layer of everything that is odd and can be done: a directory of it and another one over it.
fn odd(outside: &Outside) -> [Vec<u8>; 2] {
    let (climbing, absolute) = (outside.climbing(), outside.text());
    let overlay = |member: Member, name: &str, value: &str| member.pax(&format!("SCHILY.xattr.{name}"), value);
    let below = vec![
        directory("./").mode(0o755).owner(7, 8),
        file("/absolute", "x"),
        file("a/../textual", "x"),
        directory("real"),
        symlink("relative", "real"),
        symlink("rooted", "/real"),
        file("relative/one", "1"),
        file("rooted/two", "2"),
        symlink("out-absolute", absolute),
        symlink("out-climbing", &climbing),
        symlink("replaced", format!("{absolute}/secret")),
        file("replaced", "mine"),
        symlink("hard-to-link", "real"),
        hardlink("same-link", "hard-to-link"),
        file("setuid", "#!").mode(0o6755).owner(1000, 50),
        file("sticky", "x").mode(0o1777).owner(65_534, 65_534),
        file("twice", "old"),
        file("twice", "new"),
        file("file-then-directory", "x"),
        directory("file-then-directory"),
        directory("directory-then-file"),
        file("directory-then-file/below", "x"),
        file("directory-then-file", "x"),
        file("slash/", "x"),
        directory("many//slashes///"),
        file("new\nline", "x"),
        file(b"invalid-\xff\xfe", "x"),
        file(format!("{}/{}", "n".repeat(200), "m".repeat(250)), "x"),
        file("old", "x").pax("mtime", "-1000000000.5"),
        file("young", "x").pax("mtime", "4000000000"),
        overlay(directory("marked"), "user.overlay.opaque", "y"),
        overlay(file("redirected", "mine"), "user.overlay.redirect", "/real/one"),
        overlay(overlay(file("meta", "mine"), "user.overlay.metacopy", ""), "trusted.overlay.metacopy", ""),
        overlay(overlay(file("mine", "x"), "user.brik.owner", "0:0"), "trusted.overlay.redirect", "/x"),
        overlay(file("plain-attribute", "x"), "user.fine", "1"),
        node(EntryType::Char, "no-whiteout", (0, 0)),
        node(EntryType::Char, "zero", (1, 5)),
        node(EntryType::Block, "disk", (7, 0)),
        node(EntryType::Fifo, "fifo", (0, 0)),
        file("gone/deep/file", "x"),
        file("renewed/old", "x"),
        file("opaque/old", "x"),
        file("merged/old", "x"),
    ];
    let above = vec![
        member(EntryType::XGlobalHeader, b"g", b""),
        file("out-absolute/planted", "x"),
        file("out-climbing/planted", "x"),
        file("relative/three", "3"),
        file(".wh.gone", ""),
        file("gone/new", "x"),
        file("opaque/new", "x"),
        file("opaque/.wh..wh..opq", ""),
        directory("renewed"),
        file("renewed/new", "x"),
        file(".wh.renewed", ""),
        directory("renewed"),
        file("merged/.wh.missing", ""),
        file("merged/.wh..wh.plnk", ""),
        file("merged/new", "x"),
        overlay(directory("merged"), "user.overlay.opaque", "y"),
        overlay(directory("merged"), "trusted.overlay.opaque", "y"),
        hardlink("linked-below", "twice"),
    ];
    [tar(&below), tar(&above)]
}

const LOOK: &str = "cd / && cat relative/one relative/two relative/three replaced twice redirected meta && echo && ls opaque merged gone renewed \
    && ls -ld setuid | cut -c1-10 && stat -c %u:%g:%a setuid sticky && ls no-whiteout; head -c 1 zero; head -c 1 disk; ls -1 | wc -l";

#[test]
fn odd_layers_become_what_they_say_and_nothing_more() {
    let project = Project::empty();
    let outside = Outside::beside(&project);
    let (base, _) = serve(&odd(&outside));
    let tools = "/busybox mkdir /.tools; /busybox --install -s /.tools; export PATH=/.tools";
    project.write(
        "Dockerfile",
        format!(
            "FROM {base} AS base\nFROM base AS run\nCOPY --from={{busybox}} /bin/busybox /busybox\n\
             RUN [\"/busybox\", \"sh\", \"-c\", \"{tools}; ({LOOK}) >/.out 2>/.err; true\"]\n\
             FROM scratch\nCOPY --from=run /.out /.err /\nCOPY --from=base / /copied/\n"
        ),
    );
    let run = project.build::<&str>([]).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    outside.is_untouched("odd layers", &[&run]);
    outside.is_not_in(&project.out());
    let image = project.built();
    let out = image.text("/.out");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "123minenewminemine", "{out}\n{}", image.text("/.err"));
    let lists = out.split_once('\n').unwrap().1;
    assert!(lists.starts_with("gone:\nnew\n\nmerged:\nnew\nold\n\nopaque:\nnew\n\nrenewed:\n"), "{out}");
    assert!(lists.contains("-rwsr-sr-x") && lists.contains("1000:50:6755") && lists.contains("65534:65534:1777"), "{out}");
    // Device nodes are no way to the host's devices, and 0:0 is no whiteout.
    let errors = image.text("/.err");
    for device in ["zero", "disk", "no-whiteout"] {
        assert!(errors.contains(device), "{device} could be used: {errors}");
    }
    assert!(matches!(image.entry("/copied/replaced").kind, Kind::File(_)));
    assert_eq!(image.entry("/copied/setuid").mode, 0o6755);
    for path in ["/copied/meta", "/copied/redirected", "/copied/marked", "/copied/mine", "/copied/merged"] {
        assert!(image.entry(path).xattrs.is_empty(), "{path}: {:?}", image.entry(path).xattrs);
    }
    let planted = outside.text();
    assert!(image.has(&format!("/copied{planted}/planted")), "what a link of an image means is in the image: {:?}", image.paths());
    println!("{} odd members", odd(&outside).iter().map(|layer| tar::Archive::new(&layer[..]).entries().unwrap().count()).sum::<usize>());
    let seen = project.brik(["inspect", &base, "--files"]).succeeds();
    assert!(!seen.stdout.contains(|c: char| c.is_control() && c != '\n'), "{}", seen.stdout);
}

#[test]
fn the_paths_of_a_step_lead_through_the_links_of_a_layer_and_not_out() {
    let project = Project::empty();
    let outside = Outside::beside(&project);
    let (climbing, absolute) = (outside.climbing(), outside.text());
    let links: Vec<Member> = ["etc", "srv", "run", "home", "w", "x", "cache"]
        .iter()
        .map(|name| symlink(name, if name.len() % 2 == 0 { absolute } else { &climbing }))
        .collect();
    let (base, _) = serve(&[tar(&links)]);
    let steps = "COPY here /x/\nCOPY here /etc/passwd\nADD archive.tar /w/\nWORKDIR /home/below\nCOPY --link here /srv/\n\
        COPY --chown=app:app here /run/\nCOPY --parents here /cache/\n";
    project.write("here", "x");
    project.write("archive.tar", tar(&[file("unpacked", "x"), symlink("s", absolute), file("s/planted", "x")]));
    let busybox = "COPY --from={busybox} /bin/busybox /busybox\n";
    let mounts = "--mount=type=secret,id=s,target=/run/below/s --mount=type=cache,target=/cache/c --mount=type=tmpfs,target=/srv/t";
    let run_step =
        format!("RUN {mounts} [\"/busybox\", \"sh\", \"-c\", \"echo x > /etc/new; echo x > /cache/c/new; /busybox cat /etc/secret\"]\n");
    let files = |steps: &str| format!("FROM {base}\n{steps}");
    for (what, text) in [
        ("steps", files(steps)),
        ("run", files(&format!("{busybox}{run_step}"))),
        ("copy from", format!("FROM {base} AS b\nFROM scratch\nCOPY --from=b /etc/secret* /\nCOPY --from=b /x /x\n")),
    ] {
        project.write("Dockerfile", text);
        let run = project.build(["--secret", "id=s,src=here"]).run();
        ended(what, &run);
        outside.is_untouched(what, &[&run]);
        outside.is_not_in(&project.out());
    }
    // Layers gone, their tables of contents here: the lazy path.
    let (mut gone, blobs) = (0, project.store().join("blobs/sha256"));
    for blob in fs::read_dir(&blobs).unwrap().flatten() {
        if fs::read(blob.path()).is_ok_and(|bytes| bytes.starts_with(&[0x1f, 0x8b])) {
            fs::remove_file(blob.path()).unwrap();
            gone += 1;
        }
    }
    assert!(gone > 0);
    fs::rename(project.store().join("snapshots"), project.beside("of-another-time")).unwrap();
    project.write("Dockerfile", files("COPY archive.tar /x/lazy\nCOPY here /etc/passwd\nWORKDIR /home/below\n"));
    let run = project.build(["--no-cache"]).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    outside.is_untouched("lazy", &[&run]);
    outside.is_not_in(&project.out());
    let image = project.built();
    assert!(image.has(&format!("{}/lazy", outside.text())), "{:?}", image.paths());
    let _ = fs::rename(project.beside("of-another-time"), project.store().join("snapshots/old"));
}

#[test]
fn account_files_that_are_anything_else_hold_nothing_up() {
    let project = Project::empty();
    let outside = Outside::beside(&project);
    let many = format!("{}app:x:1:1::/:/bin/sh\n", "x:x:9:9::/:/bin/sh\n".repeat(20_000));
    for (what, members) in [
        ("fifo", vec![node(EntryType::Fifo, "etc/passwd", (0, 0)), node(EntryType::Fifo, "etc/group", (0, 0))]),
        ("directory", vec![directory("etc/passwd"), directory("etc/group")]),
        (
            "link out",
            vec![symlink("etc/passwd", format!("{}/secret", outside.text())), symlink("etc/group", format!("{}/open", outside.climbing()))],
        ),
        ("link loop", vec![symlink("etc/passwd", "group"), symlink("etc/group", "passwd")]),
        ("devices", vec![node(EntryType::Char, "etc/passwd", (1, 5)), node(EntryType::Char, "etc/group", (1, 5))]),
        ("long", vec![file("etc/passwd", &many), file("etc/group", &many)]),
        ("mounted on", vec![symlink("etc/resolv.conf", format!("{}/new", outside.text())), symlink("etc/hosts", outside.climbing())]),
        ("proc", vec![symlink("proc", outside.text())]),
        ("dev", vec![symlink("dev", outside.climbing())]),
        ("sys", vec![file("sys", "x")]),
    ] {
        let (base, _) = serve(&[tar(&members)]);
        let run_step = "USER app\nRUN [\"/busybox\", \"true\"]\n";
        let text = format!("FROM {base}\nCOPY --from={{busybox}} /bin/busybox /busybox\nCOPY --chown=app:app here /here\n{run_step}");
        project.write("here", "x");
        project.write("Dockerfile", text);
        let (run, _) = project.build::<&str>([]).watched();
        ended(what, &run);
        outside.is_untouched(what, &[&run]);
    }
}

#[test]
fn an_opaque_mark_at_the_root_hides_all_that_is_below() {
    let layers = [tar(&[file("old", "x"), file("etc/old", "x")]), tar(&[file("new", "x"), file(".wh..wh..opq", ""), file("etc/new", "x")])];
    let (base, _) = serve(&layers);
    let project = Project::dockerfile(&format!("FROM {base} AS b\nFROM scratch\nCOPY --from=b / /\n"));
    assert_eq!(project.image::<&str>([]).paths(), ["/etc", "/etc/new", "/new"]);
}
