//! Layers that do not say all: what they mean depends on the layers below.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};

use super::super::whiteout::OPAQUE;
use super::super::*;
use super::hostile::{DIR, Entry, FILE, LINK, SYMLINK, tar_of, xattr_of};
use super::{lenient, no_toc};

/// Three layers, uppermost first, that `make` fills.
struct Lowers(tempfile::TempDir);

impl Lowers {
    fn new(make: impl Fn([&Path; 3])) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Self::paths(dir.path());
        for path in &paths {
            fs::create_dir(path).unwrap();
        }
        make([&paths[0], &paths[1], &paths[2]]);
        Self(dir)
    }

    fn paths(dir: &Path) -> Vec<PathBuf> {
        ["top", "middle", "bottom"].map(|name| dir.join(name)).to_vec()
    }

    /// The layer, unpacked over these.
    fn unpack(&self, entries: &[Entry<'_>]) -> Result<tempfile::TempDir, Error> {
        let dest = tempfile::tempdir().unwrap();
        let options = UnpackOptions { lowers: Some(Self::paths(self.0.path())), ..lenient() };
        unpack_layer(&tar_of(entries)[..], dest.path(), &options, &mut no_toc())?;
        Ok(dest)
    }
}

/// A directory with its parents, of this mode, changed at second 1000.
fn directory(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
}

fn mark(path: &Path, name: &str, value: &str) {
    setxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

fn look(path: &Path) -> (u32, i64) {
    let stat = path.symlink_metadata().unwrap();
    (stat.mode() & 0o7777, stat.mtime())
}

/// What stands for a removed name: user namespaces may make it, others need root.
fn whiteout(path: &Path) {
    unpack_layer(
        &tar_of(&[(FILE, &format!(".wh.{}", path.file_name().unwrap().to_str().unwrap()), "", b"")])[..],
        path.parent().unwrap(),
        &lenient(),
        &mut no_toc(),
    )
    .unwrap();
}

#[test]
fn without_the_layers_below_such_layers_are_refused() {
    let cases: [(&[Entry<'_>], &str); 6] = [
        (&[(FILE, "a/b/f", "", b"")], "a/b"),
        (&[(FILE, "a/.wh.f", "", b"")], "a"),
        (&[(SYMLINK, "l", "a", b""), (FILE, "l/f", "", b"")], "l"),
        (&[(LINK, "l", "f", b"")], "f"),
        (&[(LINK, "l", "a/f", b"")], "a"),
        (&[(DIR, "a", "", b""), (FILE, "a/b/f", "", b"")], "a/b"),
    ];
    let options = UnpackOptions { lowers: None, ..lenient() };
    for (entries, expected) in cases {
        let dest = tempfile::tempdir().unwrap();
        let error = unpack_layer(&tar_of(entries)[..], dest.path(), &options, &mut no_toc()).unwrap_err();
        assert!(matches!(&error, Error::NeedsLowers { path } if path == expected), "{entries:?}: {error:?}");
    }
    let whole = tar_of(&[(FILE, "f", "", b""), (DIR, "a", "", b""), (FILE, "a/g", "", b""), (LINK, "a/l", "f", b"")]);
    unpack_layer(&whole[..], tempfile::tempdir().unwrap().path(), &options, &mut no_toc()).unwrap();
}

#[test]
fn an_implied_directory_is_as_the_uppermost_layer_below_has_it() {
    let lowers = Lowers::new(|[top, middle, bottom]| {
        directory(&bottom.join("tmp"), 0o777);
        directory(&middle.join("tmp"), 0o1777);
        mark(&middle.join("tmp"), OWNER, "999:998");
        mark(&middle.join("tmp"), "user.fine", "1");
        mark(&middle.join("tmp"), OPAQUE, "y");
        directory(&top.join("other"), 0o700);
    });
    let dest = lowers.unpack(&[(FILE, "tmp/new", "", b""), (FILE, "none/f", "", b""), (FILE, "other/deep/f", "", b"")]).unwrap();
    let tmp = dest.path().join("tmp");
    assert_eq!(look(&tmp), (0o1777, 1000));
    assert_eq!((xattr_of(&tmp, "user.fine"), xattr_of(&tmp, OPAQUE)), (Some(b"1".to_vec()), None));
    let stat = tmp.metadata().unwrap();
    let owner = xattr_of(&tmp, OWNER).unwrap_or_else(|| format!("{}:{}", stat.uid(), stat.gid()).into_bytes());
    assert_eq!(owner, b"999:998");
    assert_eq!(look(&dest.path().join("none")), (0o755, 0));
    assert_eq!(look(&dest.path().join("other")), (0o700, 1000));
    assert_eq!(look(&dest.path().join("other/deep")), (0o755, 0));
}

#[test]
fn an_entry_decides_over_what_is_below() {
    let lowers = Lowers::new(|[_, _, bottom]| directory(&bottom.join("tmp"), 0o1777));
    let dest = lowers.unpack(&[(FILE, "tmp/new", "", b""), (DIR, "tmp", "", b"")]).unwrap();
    assert_eq!(look(&dest.path().join("tmp")), (0o755, 0));
}

#[test]
fn what_is_hidden_below_does_not_count() {
    if !super::privileged() {
        return;
    }
    let lowers = Lowers::new(|[top, middle, bottom]| {
        for name in ["gone", "opaque/d", "file", "late"] {
            directory(&bottom.join(name), 0o700);
        }
        whiteout(&middle.join("gone"));
        fs::create_dir(middle.join("opaque")).unwrap();
        mark(&middle.join("opaque"), OPAQUE, "y");
        fs::write(middle.join("file"), "").unwrap();
        fs::create_dir_all(top.join("opaque")).unwrap();
    });
    let entries: [Entry<'_>; 5] = [
        (FILE, "gone/f", "", b""),
        (FILE, "opaque/d/f", "", b""),
        (FILE, "file/f", "", b""),
        (FILE, ".wh.late", "", b""),
        (FILE, "late/f", "", b""),
    ];
    let dest = lowers.unpack(&entries).unwrap();
    for name in ["gone", "opaque/d", "file", "late"] {
        assert_eq!(look(&dest.path().join(name)), (0o755, 0), "{name}");
    }
    assert_eq!(xattr_of(&dest.path().join("late"), OPAQUE).as_deref(), Some(&b"y"[..]));
}

#[test]
fn members_go_where_links_below_lead() {
    let lowers = Lowers::new(|[top, middle, bottom]| {
        directory(&bottom.join("usr/bin"), 0o751);
        symlink("usr/bin", middle.join("relative")).unwrap();
        symlink("/usr/bin", middle.join("absolute")).unwrap();
        fs::create_dir(top.join("d")).unwrap();
        symlink("../../../relative/../bin", middle.join("chain")).unwrap();
        fs::create_dir(middle.join("d")).unwrap();
        symlink("../absolute", middle.join("d/up")).unwrap();
    });
    let links = ["relative", "absolute", "chain", "d/up"];
    for link in links {
        let (file, sub, gone) = (format!("{link}/tool"), format!("{link}/sub/f"), format!("{link}/.wh.x"));
        let mut entries: Vec<Entry<'_>> = vec![(FILE, &file, "", b"x"), (FILE, &sub, "", b"")];
        if super::privileged() {
            entries.push((FILE, &gone, "", b""));
        }
        let hard = format!("{link}/tool");
        entries.push((LINK, "hard", &hard, b""));
        let dest = lowers.unpack(&entries).unwrap();
        assert_eq!(fs::read(dest.path().join("usr/bin/tool")).unwrap(), b"x", "{link}");
        assert_eq!(look(&dest.path().join("usr/bin")), (0o751, 1000), "{link}");
        assert!(dest.path().join("usr/bin/sub/f").is_file(), "{link}");
        assert_eq!(dest.path().join("hard").metadata().unwrap().nlink(), 2, "{link}");
        assert!(dest.path().join(link).symlink_metadata().is_err(), "{link} is still the one below");
    }
}

#[test]
fn members_go_where_a_link_of_their_own_layer_leads() {
    let lowers = Lowers::new(|[_, _, bottom]| directory(&bottom.join("tmp"), 0o1777));
    for (target, lands) in [("tmp", "tmp"), ("/tmp", "tmp"), ("../../new", "new")] {
        let dest = lowers.unpack(&[(SYMLINK, "esc", target, b""), (FILE, "esc/x", "", b"x"), (DIR, "esc/d/", "", b"")]).unwrap();
        assert_eq!(fs::read(dest.path().join(lands).join("x")).unwrap(), b"x", "{target}");
        assert_eq!(look(&dest.path().join(lands).join("d")), (0o755, 0), "{target}");
        assert_eq!(look(&dest.path().join(lands)), if lands == "tmp" { (0o1777, 1000) } else { (0o755, 0) }, "{target}");
    }
}

#[test]
fn links_below_never_lead_out_and_loops_end() {
    let outside = tempfile::tempdir().unwrap();
    let lowers = Lowers::new(|[top, _, _]| {
        symlink(outside.path(), top.join("out")).unwrap();
        symlink("b", top.join("a")).unwrap();
        symlink("a", top.join("b")).unwrap();
    });
    let dest = lowers.unpack(&[(FILE, "out/planted", "", b"")]).unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(dest.path().join(outside.path().strip_prefix("/").unwrap()).join("planted").is_file());
    let error = lowers.unpack(&[(FILE, "a/f", "", b"")]).unwrap_err();
    assert!(matches!(error, Error::Create { .. }), "{error:?}");
}

#[test]
fn a_hard_link_out_of_the_layer_is_copied_from_the_layers_below() {
    let lowers = Lowers::new(|[top, middle, bottom]| {
        fs::create_dir(bottom.join("d")).unwrap();
        fs::write(bottom.join("d/original"), "content").unwrap();
        symlink("d", middle.join("l")).unwrap();
        fs::create_dir(top.join("d")).unwrap();
    });
    for target in ["d/original", "l/original"] {
        let dest = lowers.unpack(&[(LINK, "copy", target, b"")]).unwrap();
        assert_eq!(fs::read_to_string(dest.path().join("copy")).unwrap(), "content", "{target}");
    }
    assert_eq!(Lowers::paths(lowers.0.path())[2].join("d/original").metadata().unwrap().nlink(), 1);
    let error = lowers.unpack(&[(LINK, "copy", "d/nothing", b"")]).unwrap_err();
    assert!(matches!(error, Error::HardlinkOutsideLayer { .. }), "{error:?}");
}
