//! Archives that mean harm, or are broken, and what layers may say about themselves.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::getxattr;
use tar::{Builder, EntryType, Header};

use super::super::whiteout::OPAQUE;
use super::super::*;
use super::{lenient, no_toc, privileged};

/// A member whose name and link may be anything.
fn member(kind: EntryType, name: &[u8], link: &[u8], size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    let ustar = header.as_ustar_mut().unwrap();
    ustar.name[..name.len()].copy_from_slice(name);
    ustar.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    header
}

pub(super) type Entry<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

/// A tar of (kind, name, link, content).
pub(super) fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        tar.append(&member(*kind, name.as_bytes(), link.as_bytes(), content.len() as u64), *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn pax(records: &[(&str, &[u8])], last: &Header, content: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    tar.append_pax_extensions(records.iter().copied()).unwrap();
    tar.append(last, content).unwrap();
    tar.into_inner().unwrap()
}

pub(super) const FILE: EntryType = EntryType::Regular;
pub(super) const DIR: EntryType = EntryType::Directory;
pub(super) const SYMLINK: EntryType = EntryType::Symlink;
pub(super) const LINK: EntryType = EntryType::Link;

#[test]
fn every_bad_archive_is_refused_for_its_own_reason() {
    let file = member(FILE, b"f", b"", 0);
    let mut broken_sum = tar_of(&[(FILE, "f", "", b"")]);
    broken_sum[0] = b'g';
    let mut huge = member(FILE, b"f", b"", 0);
    huge.set_size(u64::MAX);
    huge.set_cksum();
    let mut long = Header::new_gnu();
    long.set_entry_type(EntryType::GNULongName);
    long.set_size(1 << 40);
    long.set_cksum();
    let mut sparse = Header::new_gnu();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_mode(0);
    sparse.set_size(0);
    sparse.as_gnu_mut().unwrap().name[0] = b'f';
    sparse.as_gnu_mut().unwrap().set_real_size(1 << 60);
    sparse.set_cksum();
    let gzip = libdeflate(&tar_of(&[(FILE, "f", "", &[1; 5000])]));
    let whole = tar_of(&[(FILE, "f", "", &[1; 5000])]);
    let empty: Vec<u8> = Vec::new();

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent name", tar_of(&[(FILE, "../f", "", b"")]), "Escapes"),
        ("parent within a name", tar_of(&[(FILE, "a/../../f", "", b"")]), "Escapes"),
        ("absolute parent name", tar_of(&[(FILE, "/../f", "", b"")]), "Escapes"),
        ("hard link above the root", tar_of(&[(LINK, "l", "../../etc/passwd", b"")]), "Escapes"),
        ("hard link to the root", tar_of(&[(LINK, "l", "/", b"")]), "Escapes"),
        ("hard link to nothing", tar_of(&[(LINK, "l", "etc/passwd", b"")]), "HardlinkOutsideLayer"),
        ("hard link through a link", tar_of(&[(SYMLINK, "s", "/etc", b""), (LINK, "l", "s/passwd", b"")]), "HardlinkOutsideLayer"),
        ("file below a file", tar_of(&[(FILE, "f", "", b""), (FILE, "f/g", "", b"")]), "Create"),
        ("root as a file", tar_of(&[(FILE, "./", "", b"")]), "Malformed"),
        ("whiteout of nothing", tar_of(&[(FILE, ".wh.", "", b"")]), "Malformed"),
        ("whiteout of the parent", tar_of(&[(FILE, "a/.wh...", "", b"")]), "Malformed"),
        ("link with content", tar_of(&[(SYMLINK, "l", "x", b"content")]), "Malformed"),
        ("directory with content", tar_of(&[(DIR, "d", "", b"content")]), "Malformed"),
        ("unknown type", tar_of(&[(EntryType::new(b'Z'), "f", "", b"")]), "Unsupported"),
        ("name with a NUL", pax(&[("path", b"a\0b")], &file, b""), "Malformed"),
        ("size that is no number", pax(&[("size", b"-1")], &file, b""), "Malformed"),
        ("owner that means unchanged", pax(&[("uid", b"4294967295")], &file, b""), "Malformed"),
        ("owner beyond 32 bits", pax(&[("gid", b"4294967296")], &file, b""), "Malformed"),
        ("time that is no number", pax(&[("mtime", b"noon")], &file, b""), "Malformed"),
        ("PAX sparse file without a size", pax(&[("GNU.sparse.map", b"0,1")], &file, b""), "Malformed"),
        ("PAX sparse file of half a piece", pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,2")], &file, b""), "Malformed"),
        ("PAX sparse file with too little content", pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1")], &file, b""), "Malformed"),
        (
            "PAX sparse file whose pieces overlap",
            pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"2,1,0,1")], &file, b""),
            "Malformed",
        ),
        (
            "PAX sparse file of a million terabytes",
            pax(&[("GNU.sparse.size", b"999999999999999999"), ("GNU.sparse.map", b"0,0")], &file, b""),
            "TooLarge",
        ),
        ("PAX sparse file without its map", pax(&sparse_1_0("f", "9"), &file, b""), "Malformed"),
        ("PAX sparse file with a map of words", pax(&sparse_1_0("f", "9"), &member(FILE, b"f", b"", 512), &padded(b"one\n")), "Malformed"),
        (
            "PAX sparse file with a map cut short",
            pax(&sparse_1_0("f", "9"), &member(FILE, b"f", b"", 512), &padded(b"2\n1\n")),
            "Malformed",
        ),
        (
            "PAX sparse file of too many pieces",
            pax(&sparse_1_0("f", "9"), &member(FILE, b"f", b"", 512), &padded(b"9999999999\n")),
            "Malformed",
        ),
        ("bad PAX records", raw(&[member(EntryType::XHeader, b"", b"", 3).as_bytes(), &padded(b"9 a"), file.as_bytes()]), "Malformed"),
        ("extension for nothing", raw(&[member(EntryType::XHeader, b"", b"", 6).as_bytes(), &padded(b"6 a=b\n")]), "Truncated"),
        ("extension of a terabyte", raw(&[long.as_bytes()]), "Malformed"),
        ("size beyond any file's", raw(&[huge.as_bytes()]), "Malformed"),
        ("sparse file without its map", raw(&[sparse.as_bytes()]), "TooLarge"),
        ("wrong checksum", broken_sum, "Malformed"),
        ("single zero block", raw(&[&[0; 512], file.as_bytes()]), "Malformed"),
        ("cut in a header", whole[..100].to_vec(), "Truncated"),
        ("cut in a file", whole[..3000].to_vec(), "Truncated"),
        ("cut gzip", gzip[..gzip.len() - 4].to_vec(), "Decompress"),
        ("gzip with rubbish behind", [&gzip[..], b"rubbish"].concat(), "Decompress"),
        ("rubbish", vec![b'x'; 2000], "Malformed"),
        ("path longer than the kernel's", pax(&[("path", &b"d/".repeat(3000))], &file, b""), "Malformed"),
        ("name longer than the kernel's", pax(&[("path", &[b'n'; 256])], &file, b""), "Create"),
        ("nothing", empty, ""),
    ];
    let outside = tempfile::tempdir().unwrap();
    let dest = outside.path().join("dest");
    for (what, bytes, expected) in cases {
        fs::create_dir(&dest).unwrap();
        let result = unpack_layer(&bytes[..], &dest, &lenient(), &mut no_toc());
        let found = result.as_ref().err().map_or(String::new(), |error| format!("{error:?}"));
        assert!(found.split([' ', '(']).next() == Some(expected), "{what}: {result:?}");
        fs::remove_dir_all(&dest).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{what} left something outside");
    }
}

fn raw(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn padded(bytes: &[u8]) -> [u8; 512] {
    let mut block = [0; 512];
    block[..bytes.len()].copy_from_slice(bytes);
    block
}

fn libdeflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::read::GzEncoder::new(bytes, flate2::Compression::best());
    let mut all = Vec::new();
    out.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn bombs_hit_the_limits() {
    let zeros = vec![0; 4 << 20];
    let dense = zstd::encode_all(&tar_of(&[(FILE, "f", "", &zeros)])[..], 1).unwrap();
    let many = tar_of(&[(FILE, "a", "", b""), (FILE, "b", "", b""), (FILE, "c", "", b"")]);
    for (limits, bytes, expected) in [
        (Limits { ratio: 100, ratio_after: 1 << 20, ..Limits::default() }, &dense, "TooDense"),
        (Limits { bytes: 1 << 20, ..Limits::default() }, &dense, "TooLarge"),
        (Limits { members: 2, ..Limits::default() }, &many, "TooManyMembers"),
        (Limits { names: 8, ..Limits::default() }, &tar_of(&[(DIR, "abc", "", b""), (DIR, "defghi", "", b"")]), "TooManyNames"),
        (Limits { names: 8, ..Limits::default() }, &tar_of(&[(FILE, "abc/def/f", "", b"")]), "TooManyNames"),
    ] {
        let dest = tempfile::tempdir().unwrap();
        let error = unpack_layer(&bytes[..], dest.path(), &UnpackOptions { limits, ..lenient() }, &mut no_toc()).unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{expected}: {error:?}");
    }
}

#[test]
fn links_in_an_archive_never_lead_out_of_it() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    for target in [outside.path().to_str().unwrap(), "..", "../../../../../../../../.."] {
        fs::create_dir(&root).unwrap();
        let tar =
            tar_of(&[(DIR, "d", "", b""), (SYMLINK, "d/s", target, b""), (FILE, "d/s/planted", "", b"x"), (DIR, "d/s/sub/", "", b"")]);
        // Where the target does not exist inside of the root, that is an error; where it does, the file lands inside.
        let _ = extract_archive(&tar[..], &root, b"", &ArchiveOptions { single_uid: true, ..Default::default() });
        let names: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["root"], "{target}");
        fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn a_file_over_a_link_replaces_the_link() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let target = outside.path().to_str().unwrap();
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&tar_of(&[(SYMLINK, "f", target, b""), (FILE, "f", "", b"new")])[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    assert!(dest.path().join("f").symlink_metadata().unwrap().is_file());
    assert_eq!(outside.path().metadata().unwrap().len(), 0);
}

#[test]
fn the_last_member_of_a_name_wins() {
    let dest = tempfile::tempdir().unwrap();
    let entries: [Entry<'_>; 7] = [
        (FILE, "a", "", b"old"),
        (FILE, "a", "", b"new"),
        (FILE, "b", "", b"file"),
        (DIR, "b", "", b""),
        (DIR, "c", "", b""),
        (FILE, "c/below", "", b""),
        (FILE, "c", "", b"file"),
    ];
    unpack_layer(&tar_of(&entries)[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    assert_eq!(fs::read(dest.path().join("a")).unwrap(), b"new");
    assert!(dest.path().join("b").is_dir() && dest.path().join("c").is_file());
}

#[test]
fn what_a_layer_leaves_unsaid_has_fixed_values() {
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&tar_of(&[(FILE, "implied/f", "", b"")])[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    let stat = dest.path().join("implied").metadata().unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o755, 0));
    assert_eq!(dest.path().metadata().unwrap().mtime(), 0);
}

#[test]
fn layers_cannot_set_marks_of_overlayfs_or_brik() {
    let file = member(FILE, b"f", b"", 0);
    let records: [(&str, &[u8]); 3] =
        [("SCHILY.xattr.user.overlay.redirect", b"/etc"), ("SCHILY.xattr.user.brik.owner", b"9:9"), ("SCHILY.xattr.user.fine", b"1")];
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&pax(&records, &file, b"")[..], dest.path(), &UnpackOptions::default(), &mut no_toc())
        .or_else(|_| unpack_layer(&pax(&records, &file, b"")[..], dest.path(), &lenient(), &mut no_toc()))
        .unwrap();
    assert_eq!(xattr_of(&dest.path().join("f"), "user.overlay.redirect"), None);
    assert_ne!(xattr_of(&dest.path().join("f"), OWNER).as_deref(), Some(&b"9:9"[..]));
    assert_eq!(xattr_of(&dest.path().join("f"), "user.fine").as_deref(), Some(&b"1"[..]));
}

pub(super) fn xattr_of(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 100];
    getxattr(path, name, &mut value[..]).ok().map(|length| value[..length].to_vec())
}

#[test]
fn whiteouts_hide_in_the_order_of_the_layer() {
    let dest = tempfile::tempdir().unwrap();
    let entries: [Entry<'_>; 6] = [
        (FILE, ".wh.gone", "", b""),
        (FILE, "late", "", b""),
        (FILE, ".wh.late", "", b""),
        (FILE, ".wh.renewed", "", b""),
        (DIR, "renewed", "", b""),
        (FILE, "opaque/.wh..wh..opq", "", b""),
    ];
    unpack_layer(&tar_of(&entries)[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    for name in ["gone", "late"] {
        let stat = dest.path().join(name).symlink_metadata().unwrap();
        assert!(stat.file_type().is_char_device() && stat.rdev() == 0, "{name}");
    }
    for name in ["renewed", "opaque"] {
        assert_eq!(xattr_of(&dest.path().join(name), OPAQUE).as_deref(), Some(&b"y"[..]), "{name}");
    }
    let plain = tempfile::tempdir().unwrap();
    extract_archive(&tar_of(&entries)[..], plain.path(), b"", &ArchiveOptions { single_uid: true, ..Default::default() }).unwrap();
    assert!(plain.path().join(".wh.gone").is_file(), "an archive's names mean nothing else");
}

#[test]
fn owners_that_cannot_be_set_are_recorded() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root can set every owner");
        return;
    }
    let mut header = member(FILE, b"f", b"", 0);
    header.set_uid(33);
    header.set_gid(44);
    header.set_cksum();
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&pax(&[], &header, b"")[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    assert_eq!(xattr_of(&dest.path().join("f"), OWNER).as_deref(), Some(&b"33:44"[..]));
}

#[test]
fn device_nodes_are_made_where_allowed_but_never_whiteouts() {
    if !privileged() {
        return;
    }
    let mut null = member(EntryType::Char, b"null", b"", 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&null, &b""[..]).unwrap();
    tar.append(&member(EntryType::Char, b"hidden", b"", 0), &b""[..]).unwrap();
    let dest = tempfile::tempdir().unwrap();
    let done = unpack_layer(&tar.into_inner().unwrap()[..], dest.path(), &UnpackOptions::default(), &mut no_toc()).unwrap();
    assert!(dest.path().join("null").metadata().unwrap().file_type().is_char_device());
    assert_eq!((done.extracted.skipped_devices, dest.path().join("hidden").exists()), (1, false));
}

/// The records of GNU tar's newest format, whose map stands before the content.
fn sparse_1_0<'a>(name: &'a str, size: &'a str) -> [(&'static str, &'a [u8]); 4] {
    let version: [(&str, &[u8]); 2] = [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")];
    [version[0], version[1], ("GNU.sparse.name", name.as_bytes()), ("GNU.sparse.realsize", size.as_bytes())]
}

#[test]
fn pax_sparse_files_of_every_version_have_their_holes() {
    let numbers: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", b"1000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"500"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"1000"),
        ("GNU.sparse.numbytes", b"0"),
    ];
    let map: [(&str, &[u8]); 4] =
        [("GNU.sparse.size", b"1000"), ("GNU.sparse.numblocks", b"2"), ("GNU.sparse.name", b"f"), ("GNU.sparse.map", b"500,3,1000,0")];
    let before_content = [&padded(b"2\n500\n3\n1000\n0\n")[..], b"abc"].concat();
    let cases = [
        ("0.0", pax(&numbers, &member(FILE, b"f", b"", 3), b"abc")),
        ("0.1", pax(&map, &member(FILE, b"GNUSparseFile.1/f", b"", 3), b"abc")),
        ("1.0", pax(&sparse_1_0("f", "1000"), &member(FILE, b"GNUSparseFile.1/f", b"", 515), &before_content)),
    ];
    for (version, tar) in cases {
        let dest = tempfile::tempdir().unwrap();
        unpack_layer(&tar[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
        let content = fs::read(dest.path().join("f")).unwrap();
        assert_eq!((content.len(), &content[499..504]), (1000, &b"\0abc\0"[..]), "{version}");
        assert_eq!(fs::read_dir(dest.path()).unwrap().count(), 1, "{version}: a made-up name");
    }
}

#[test]
fn zeros_take_no_space_and_count_all_the_same() {
    let content = [&vec![0; 4 << 20][..], b"middle", &vec![0; 4 << 20]].concat();
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&tar_of(&[(FILE, "f", "", &content)])[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    assert!(fs::read(dest.path().join("f")).unwrap() == content);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&dest.path().join("f").metadata().unwrap());
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}

#[test]
fn an_old_gnu_sparse_file_has_its_holes() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(3);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[0] = b'f';
    gnu.set_real_size(1000);
    gnu.sparse[0].set_offset(500);
    gnu.sparse[0].set_length(3);
    gnu.sparse[1].set_offset(1000);
    gnu.sparse[1].set_length(0);
    header.set_cksum();
    let tar = raw(&[header.as_bytes(), &padded(b"abc"), member(FILE, b"next", b"", 0).as_bytes()]);
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(&tar[..], dest.path(), &lenient(), &mut no_toc()).unwrap();
    let content = fs::read(dest.path().join("f")).unwrap();
    assert_eq!((content.len(), &content[499..504]), (1000, &b"\0abc\0"[..]));
    assert!(dest.path().join("next").exists());
}
