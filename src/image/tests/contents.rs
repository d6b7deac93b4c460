//! Tables of contents beside the layers that they are of.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::super::*;
use super::hostile::{DIR, Entry, FILE, LINK, SYMLINK, tar_of};
use super::{lenient, options, privileged};

/// The tree at `dir`, links not followed: path, type, mode, owner, attributes and where links lead.
fn list(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(dir, |found| {
        let link = found.link_target().map(|target| lossy(&target)).unwrap_or_default();
        let xattrs = match found.directory() {
            Some(fd) => read_xattrs(fd).unwrap(),
            None => found.open().map(|fd| read_xattrs(fd).unwrap()).unwrap_or_default(),
        };
        let times = if found.directory().is_some() { (found.stat.st_mtime, found.stat.st_mtime_nsec) } else { (0, 0) };
        let (mode, owner) = (found.stat.st_mode, (found.stat.st_uid, found.stat.st_gid));
        lines.push(format!("{} {mode:o} {owner:?} {times:?} {xattrs:?} {link}", lossy(found.path)));
        Ok::<(), Error>(())
    })
    .unwrap();
    lines
}

/// Layers unpacked, uppermost first, and their tables of contents, lowest first.
fn unpacked(layers: &[Vec<u8>], into: &Path) -> (Vec<std::path::PathBuf>, Vec<Toc>) {
    let (mut made, mut tocs) = (Vec::new(), Vec::new());
    for (n, layer) in layers.iter().enumerate() {
        let dest = into.join(format!("layer-{n}"));
        fs::create_dir(&dest).unwrap();
        let mut toc = TocWriter::new(Vec::new()).unwrap();
        unpack_layer(&layer[..], &dest, &UnpackOptions { lowers: Some(made.clone()), ..lenient() }, &mut toc).unwrap();
        tocs.push(Toc::read(&toc.finish().unwrap()[..]).unwrap());
        made.insert(0, dest);
    }
    (made, tocs)
}

fn skeletons(tocs: &[Toc], path: &str, into: &Path) -> Vec<std::path::PathBuf> {
    let into = into.join(path.replace('/', "_"));
    fs::create_dir(&into).unwrap();
    unpack_tocs(tocs, path.as_bytes(), false, &into, true).unwrap().unwrap()
}

#[test]
fn a_hard_link_to_itself_is_nothing_in_a_table_of_contents_too() {
    let dir = tempfile::tempdir().unwrap();
    let layer = tar_of(&[(DIR, "d", "", b""), (FILE, "d/f", "", b""), (LINK, "d", "d", b""), (LINK, "gone", "./gone", b"")]);
    let (made, tocs) = unpacked(&[layer], dir.path());
    let shown = skeletons(&tocs, "/", dir.path());
    assert_eq!(list(&shown[0]), list(&made[0]));
    assert!(made[0].join("d/f").is_file() && !made[0].join("gone").exists());
}

#[test]
fn a_table_of_contents_is_the_same_whoever_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("usr/bin")).unwrap();
    fs::write(at("usr/bin/tool"), "content").unwrap();
    fs::hard_link(at("usr/bin/tool"), at("usr/alias")).unwrap();
    symlink("/usr/bin/tool", at("link")).unwrap();
    fs::hard_link(at("link"), at("same-link")).unwrap();
    symlink("t".repeat(300), at("long-target")).unwrap();
    fs::create_dir_all(at(&"d".repeat(200))).unwrap();
    fs::create_dir_all(at("etc")).unwrap();
    fs::write(at("etc/passwd"), "root:x:0:0").unwrap();
    fs::hard_link(at("etc/passwd"), at("etc/earlier")).unwrap();
    fs::write(at("etc/group"), "root:x:0").unwrap();
    fs::set_permissions(at("usr"), fs::Permissions::from_mode(0o2750)).unwrap();
    make_whiteout(File::open(dir.path()).unwrap(), b"gone").unwrap();
    mark_opaque(File::open(at("usr/bin")).unwrap()).unwrap();
    let (mut tar, mut written) = (Vec::new(), TocWriter::new(Vec::new()).unwrap());
    write_layer(dir.path(), &BorrowedFiles::default(), &options(), &mut tar, &mut written).unwrap();
    let (dest, mut read) = (tempfile::tempdir().unwrap(), TocWriter::new(Vec::new()).unwrap());
    unpack_layer(&tar[..], dest.path(), &lenient(), &mut read).unwrap();
    let written = written.finish().unwrap();
    assert!(written == read.finish().unwrap());
    let skeleton = tempfile::tempdir().unwrap();
    let made = unpack_tocs(&[Toc::read(&written[..]).unwrap()], b"/x", true, skeleton.path(), true).unwrap().unwrap();
    for (path, content) in [("etc/passwd", "root:x:0:0"), ("etc/group", "root:x:0")] {
        assert_eq!(fs::read_to_string(made[0].join(path)).unwrap(), content);
    }
    assert!(!made[0].join("usr").exists());
}

#[test]
fn names_are_not_looked_up_where_a_link_may_lead_elsewhere() {
    let passwd: Entry = (FILE, "etc/passwd", "", b"");
    for (names, entries) in [
        (true, vec![passwd, (SYMLINK, "elsewhere", "etc", b"")]),
        (false, vec![(SYMLINK, "etc/passwd", "users", b"")]),
        (false, vec![passwd, (SYMLINK, "elsewhere", "etc", b""), (FILE, "elsewhere/passwd", "", b"")]),
    ] {
        let (tocs, work) = ([Toc::read(&tar_of(&entries)[..]).unwrap()], tempfile::tempdir().unwrap());
        assert_eq!(unpack_tocs(&tocs, b"/x", true, work.path(), true).unwrap().is_some(), names, "{entries:?}");
    }
}

#[test]
fn unpacked_tables_of_contents_look_like_their_layers() {
    let member = |kind, name, link| -> Entry { (kind, name, link, b"") };
    let file = |name| -> Entry { (FILE, name, "", b"content") };
    let layers = [
        vec![
            member(DIR, "app/", ""),
            file("app/f"),
            member(LINK, "app/also", "app/f"),
            member(SYMLINK, "to-app", "app"),
            member(LINK, "to-app-too", "to-app"),
            member(DIR, "usr/lib/", ""),
            member(SYMLINK, "lib", "usr/lib"),
            file("app/sub/implied"),
            file("srv/file"),
        ],
        // Through a link of the layer below, in a directory that has no member here.
        vec![file("lib/x"), file("app/.wh.f"), file("app/sub/.wh..wh..opq"), file("app/sub/new"), file("srv/.wh.file")],
        vec![member(DIR, "app/f/", ""), file("usr/.wh.lib"), file("app/f/below"), file("app/f"), member(DIR, "srv/file/", "")],
    ]
    .map(|entries| tar_of(&entries));
    let work = tempfile::tempdir().unwrap();
    let (real, tocs) = unpacked(&layers, work.path());
    let whole: Vec<Vec<String>> = real.iter().map(|dir| list(dir)).collect();
    // A link on the way, or a layer that writes through one, makes everything matter.
    for path in ["/to-app/x", "/app", "/srv/file", "/", "/app/../srv"] {
        let lists: Vec<Vec<String>> = skeletons(&tocs, path, work.path()).iter().map(|dir| list(dir)).collect();
        assert_eq!(lists, whole, "{path}");
    }
    // Without such a layer, what is neither on the way nor below is left out.
    let app = ["", "app", "app/f", "app/also", "app/sub", "app/sub/implied"];
    for (path, kept) in [
        ("/app/.", &app[..]),
        ("/app/sub/x", &["", "app", "app/sub", "app/sub/implied"]),
        ("/new/x", &[""]),
        ("/srv/", &["", "srv", "srv/file"]),
        ("/usr/x", &["", "usr", "usr/lib"]),
    ] {
        let expected = whole[2].iter().filter(|line| line.split(' ').next().is_some_and(|name| kept.contains(&name)));
        let made = list(&skeletons(&tocs[..1], path, work.path())[0]);
        assert_eq!(made.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{path}");
    }
}

#[test]
fn devices_and_owners_are_there_where_they_can_be() {
    if !privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    std::os::unix::fs::chown(dir.path().join("d"), Some(1000), Some(50)).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("d/null"), kind, rustix::fs::Mode::from(0o666), device).unwrap();
    let mut tar = Vec::new();
    write_layer(dir.path(), &BorrowedFiles::default(), &options(), &mut tar, &mut super::no_toc()).unwrap();
    let work: TempDir = tempfile::tempdir().unwrap();
    let (real, tocs) = unpacked(&[tar], work.path());
    assert_eq!(list(&skeletons(&tocs, "/d", work.path())[0]), list(&real[0]));
}

#[test]
fn what_is_no_table_of_contents_is_refused() {
    for layer in [tar_of(&[(FILE, "f", "", b"content")]), tar_of(&[(FILE, "f", "", b""), (LINK, "g", "f", b"")]), b"no tar".to_vec()] {
        assert!(Toc::read(&layer[..]).is_err());
    }
    let long = vec![b'x'; (1 << 20) + 1];
    assert!(Toc::read(&tar_of(&[(FILE, "etc/passwd", "", &long)])[..]).is_err());
    assert!(Toc::read(&tar_of(&[(FILE, "./etc/group", "", &long[1..])])[..]).is_ok());
    let deep = |members: usize| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut file = tar::Header::new_gnu();
        file.set_size(0);
        (0..members).for_each(|n| tar.append_data(&mut file, format!("{}{n}", "d/".repeat(2000)), &b""[..]).unwrap());
        tar.into_inner().unwrap()
    };
    assert!(Toc::read(&deep(1100)[..]).err().unwrap().to_string().contains("does not go that deep"));
    assert!(Toc::read(&deep(100)[..]).is_ok());
    let climbing = tar_of(&[(FILE, "../f", "", b"")]);
    assert!(matches!(Toc::read(&climbing[..]), Err(Error::Escapes { .. })));
}

/// overlayfs does not make them: they are a RUN's, which sees what is below all the same.
#[test]
fn brik_s_own_marks_in_what_overlayfs_made_mean_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let marked = dir.path().join("d");
    fs::create_dir(&marked).unwrap();
    rustix::fs::setxattr(&marked, "user.brik.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(marked.join("one")).unwrap());
    fs::set_permissions(marked.join("one"), fs::Permissions::from_mode(SOCKET_MODE)).unwrap();
    let mut tar = Vec::new();
    let options = LayerOptions { own_marks: false, ..options() };
    let summary = write_layer(dir.path(), &BorrowedFiles::default(), &options, &mut tar, &mut super::no_toc()).unwrap();
    assert_eq!(summary.entries, 1);
    assert_eq!(super::hostile::xattr_of(&marked, "user.brik.opaque"), None);
    assert!(!marked.join("one").exists());
}
