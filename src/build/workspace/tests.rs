//! What a Step does to a tree, and the upper directory that comes of it: tables, as any user.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::apply::apply;
use super::collect::Collector;
use super::merged_tree::MergedTree;
use super::scan::Scan;
use crate::build::error::Error;
use crate::image::{Found, is_opaque, read_xattrs};
use crate::source::Tree;
use crate::source::tree::NodeKind;

/// The tree before every case.
fn original(root: &Path) {
    for directory in ["dir/sub", "other", "a"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["file", "dir/x", "dir/sub/y", "a/b", "a-b", "one"] {
        fs::write(root.join(file), file).unwrap();
    }
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    symlink("file", root.join("link")).unwrap();
}

/// Every path of a tree: `d/` a directory, `d/!` an opaque one, `-p` a whiteout, `p=content` a file, `p->target` a link; the mode if it
/// is not the usual one, and `&n` for a file of n names.
fn list(root: &Path) -> Vec<String> {
    fn walk(root: &Path, path: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(root.join(path)).unwrap().map(Result::unwrap) {
            let (path, metadata) = (path.join(entry.file_name()), entry.metadata().unwrap());
            let (name, mode) = (path.display(), metadata.mode() & 0o7777);
            let mode = if [0o755, 0o644, 0o777].contains(&mode) { String::new() } else { format!(" {mode:o}") };
            if metadata.is_dir() {
                let opaque = is_opaque(&read_xattrs(fs::File::open(entry.path()).unwrap()).unwrap());
                found.push(format!("{name}/{}{mode}", if opaque { "!" } else { "" }));
                walk(root, &path, found);
            } else if metadata.is_symlink() {
                found.push(format!("{name}->{}", fs::read_link(entry.path()).unwrap().display()));
            } else if metadata.is_file() {
                let names = if metadata.nlink() > 1 { format!(" &{}", metadata.nlink()) } else { String::new() };
                found.push(format!("{name}={}{mode}{names}", fs::read_to_string(entry.path()).unwrap()));
            } else {
                found.push(format!("-{name}"));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, Path::new(""), &mut found);
    found.sort();
    found
}

/// The paths of a merged tree, and the content of its files.
fn list_merged(tree: &MergedTree, path: &[u8], found: &mut Vec<String>) {
    for name in tree.children(path).unwrap() {
        let path = if path.is_empty() { name } else { [path, b"/", &name].concat() };
        let text = String::from_utf8(path.clone()).unwrap();
        match tree.lookup(&path).unwrap().unwrap().kind {
            NodeKind::Directory => {
                found.push(format!("{text}/"));
                list_merged(tree, &path, found);
            }
            NodeKind::File => found.push(format!("{text}={}", std::io::read_to_string(tree.open(&path).unwrap()).unwrap())),
            _ => found.push(text),
        }
    }
}

/// As if it had been compared: none of the cases changes a file of several names without a trace.
fn same(_: &Found<'_>) -> Result<bool, Error> {
    Ok(true)
}

/// The upper directory of what `step` does, with the files copied or `take`n; its snapshot gives the changed tree again, applied or merged.
fn upper_of(step: fn(&Path), take: bool) -> Vec<String> {
    let room = tempfile::tempdir().unwrap();
    let [below, tree, upper] = ["below", "tree", "upper"].map(|name| {
        fs::create_dir(room.path().join(name)).unwrap();
        room.path().join(name)
    });
    original(&below);
    apply(&below, &tree).unwrap();
    assert_eq!(list(&tree), list(&below));
    let before = Scan::of(&tree).unwrap();
    step(&tree);
    let after: Vec<String> = list(&tree).into_iter().map(|line| line.replace('!', "")).collect();
    let mut collector = Collector::new(&tree, &upper, take).unwrap();
    before.changes(&tree, &BTreeSet::from([b"other".to_vec()]), same, |change| collector.add(&change)).unwrap();
    collector.finish().unwrap();
    if take {
        return list(&upper);
    }

    let without_names = |line: String| line.split(" &").next().unwrap_or_default().to_owned();
    let mut merged = Vec::new();
    list_merged(&MergedTree::open(vec![upper.clone(), below.clone()]).unwrap(), b"", &mut merged);
    let plain = |line: &String| line.split([' ', '-']).next().unwrap_or_default().to_owned();
    merged.sort();
    let (mut merged, mut expected): (Vec<_>, Vec<_>) = (merged.iter().map(plain).collect(), after.iter().map(plain).collect());
    merged.sort();
    expected.sort();
    assert_eq!(merged, expected, "merged");
    apply(&upper, &below).unwrap();
    let applied: Vec<String> = list(&below).into_iter().map(without_names).collect();
    assert_eq!(applied, after.into_iter().map(without_names).collect::<Vec<_>>(), "applied");
    list(&upper)
}

#[test]
fn a_change_becomes_the_upper_directory_that_overlayfs_would_make() {
    type Case = (&'static str, fn(&Path), &'static [&'static str]);
    let cases: [Case; 23] = [
        ("nothing", |_| {}, &[]),
        ("create", |t| fs::write(t.join("dir/sub/new"), "1").unwrap(), &["dir/", "dir/sub/", "dir/sub/new=1"]),
        (
            "create and delete",
            |t| {
                fs::write(t.join("dir/new"), "1").unwrap();
                fs::remove_file(t.join("dir/new")).unwrap();
            },
            &["dir/"],
        ),
        ("delete", |t| fs::remove_file(t.join("dir/x")).unwrap(), &["-dir/x", "dir/"]),
        ("delete a directory", |t| fs::remove_dir_all(t.join("dir")).unwrap(), &["-dir"]),
        (
            "delete what stands first, last and between",
            |t| {
                fs::remove_dir_all(t.join("a")).unwrap();
                ["two", "a-b", "link"].into_iter().for_each(|file| fs::remove_file(t.join(file)).unwrap());
            },
            &["-a", "-a-b", "-link", "-two"],
        ),
        ("write in place, of one size", |t| fs::write(t.join("file"), "FILE").unwrap(), &["file=FILE"]),
        ("write the same", |t| fs::write(t.join("file"), "file").unwrap(), &["file=file"]),
        (
            "replace by renaming",
            |t| {
                fs::write(t.join("new"), "new").unwrap();
                fs::rename(t.join("new"), t.join("file")).unwrap();
            },
            &["file=new"],
        ),
        (
            "a file that comes back",
            |t| {
                fs::remove_file(t.join("file")).unwrap();
                fs::write(t.join("file"), "file").unwrap();
            },
            &["file=file"],
        ),
        (
            "a directory that comes back",
            |t| {
                fs::remove_dir_all(t.join("dir")).unwrap();
                fs::create_dir_all(t.join("dir/sub")).unwrap();
                fs::write(t.join("dir/sub/z"), "z").unwrap();
            },
            &["dir/!", "dir/sub/", "dir/sub/z=z"],
        ),
        (
            "a file becomes a directory",
            |t| {
                fs::remove_file(t.join("file")).unwrap();
                fs::create_dir(t.join("file")).unwrap();
            },
            &["file/!"],
        ),
        (
            "a directory becomes a file",
            |t| {
                fs::remove_dir_all(t.join("dir")).unwrap();
                fs::write(t.join("dir"), "now").unwrap();
            },
            &["dir=now"],
        ),
        (
            "a directory becomes a link",
            |t| {
                fs::remove_dir_all(t.join("dir")).unwrap();
                symlink("other", t.join("dir")).unwrap();
            },
            &["dir->other"],
        ),
        ("rename a file", |t| fs::rename(t.join("file"), t.join("other/moved")).unwrap(), &["-file", "other/moved=file"]),
        (
            "rename a directory",
            |t| fs::rename(t.join("dir"), t.join("moved")).unwrap(),
            &["-dir", "moved/", "moved/sub/", "moved/sub/y=dir/sub/y", "moved/x=dir/x"],
        ),
        ("chmod", |t| fs::set_permissions(t.join("dir/x"), Permissions::from_mode(0o600)).unwrap(), &["dir/", "dir/x=dir/x 600"]),
        ("chmod of a directory", |t| fs::set_permissions(t.join("dir"), Permissions::from_mode(0o2700)).unwrap(), &["dir/ 2700"]),
        ("chmod to what it is", |t| fs::set_permissions(t.join("file"), Permissions::from_mode(0o644)).unwrap(), &["file=file"]),
        (
            "an attribute",
            |t| {
                rustix::fs::setxattr(t.join("file"), "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
            },
            &["file=file"],
        ),
        ("one of two names goes", |t| fs::remove_file(t.join("two")).unwrap(), &["-two"]),
        ("a second name", |t| fs::hard_link(t.join("file"), t.join("more")).unwrap(), &["file=file &2", "more=file &2"]),
        (
            "a new file of two names",
            |t| {
                fs::write(t.join("new"), "").unwrap();
                fs::hard_link(t.join("new"), t.join("dir/new")).unwrap();
            },
            &["dir/", "dir/new= &2", "new= &2"],
        ),
    ];
    for (name, step, expected) in cases {
        let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        // It was said to be untouched, which concerns its own entry alone.
        if name == "rename a file" {
            expected.push("other/".to_owned());
        }
        expected.sort();
        for take in [false, true] {
            assert_eq!(upper_of(step, take), expected, "{name}, taken: {take}");
        }
    }
}

#[test]
fn a_file_of_several_names_that_is_written_to_changes_under_all_of_them() {
    assert_eq!(upper_of(|t| fs::write(t.join("one"), "x").unwrap(), false), ["one=x &2", "two=x &2"]);
}

#[test]
fn attributes_that_steer_overlayfs_reach_no_layer() {
    let mark = |t: &Path| rustix::fs::setxattr(t.join("dir"), "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(upper_of(mark, false), ["dir/"]);
}

#[test]
fn a_path_that_is_untouched_is_no_change() {
    let touch = |t: &Path| fs::set_permissions(t.join("other"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(upper_of(touch, false), [""; 0]);
}

/// Whether the layer of what `step` does has all of it.
fn has_all(step: impl FnOnce(&Path)) -> bool {
    let room = tempfile::tempdir().unwrap();
    let [tree, upper] = ["tree", "upper"].map(|name| {
        fs::create_dir(room.path().join(name)).unwrap();
        room.path().join(name)
    });
    original(&tree);
    let before = Scan::of(&tree).unwrap();
    step(&tree);
    let mut collector = Collector::new(&tree, &upper, false).unwrap();
    before.changes(&tree, &BTreeSet::new(), same, |change| collector.add(&change)).unwrap();
    collector.finish().unwrap()
}

#[test]
fn what_no_layer_has_is_told() {
    let set = |path: &Path, name: &str| rustix::fs::setxattr(path, name, b"1", rustix::fs::XattrFlags::empty()).unwrap();
    assert!(has_all(|t| fs::write(t.join("file"), "other").unwrap()));
    assert!(!has_all(|t| drop(std::os::unix::net::UnixListener::bind(t.join("socket")).unwrap())));
    assert!(!has_all(|t| set(&t.join("dir"), "user.brik.opaque")));
    assert!(!has_all(|t| set(&t.join("file"), "user.x")));
}

#[test]
fn a_file_of_several_names_is_never_taken_away() {
    let taken = upper_of(|t| fs::hard_link(t.join("file"), t.parent().unwrap().join("elsewhere")).unwrap(), true);
    assert_eq!(taken, ["file=file"]);
}
