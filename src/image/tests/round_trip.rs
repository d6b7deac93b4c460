//! Trees to layers and back.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use tempfile::TempDir;

use super::super::*;
use super::{EPOCH, lenient, no_toc, options, privileged};

fn layer_of(dir: &Path, options: &LayerOptions) -> Vec<u8> {
    let mut tar = Vec::new();
    write_layer(dir, &BorrowedFiles::default(), options, &mut tar, &mut no_toc()).unwrap();
    tar
}

fn unpacked(blob: &[u8]) -> TempDir {
    let dest = tempfile::tempdir().unwrap();
    unpack_layer(blob, dest.path(), &lenient(), &mut no_toc()).unwrap();
    dest
}

/// A tree of what an unprivileged user can make.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("usr/bin")).unwrap();
    fs::write(at("usr/bin/tool"), vec![7; 100_000]).unwrap();
    fs::set_permissions(at("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at("usr/bin/tool"), at("usr/alias")).unwrap();
    symlink("/usr/bin/tool", at("link")).unwrap();
    symlink("t".repeat(300), at("long-target")).unwrap();
    fs::create_dir_all(at(&format!("deep/{}/{}", "d".repeat(120), "e".repeat(200)))).unwrap();
    fs::write(at(&format!("deep/{}/{}/file\nname", "d".repeat(120), "e".repeat(200))), "x").unwrap();
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), "").unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(at("attributes"), "x").unwrap();
    setxattr(at("attributes"), c"user.note", b"line\nline\0", XattrFlags::empty()).unwrap();
    setxattr(at("usr"), c"user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    fs::create_dir(at("tmp")).unwrap();
    fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(at("sealed")).unwrap();
    fs::write(at("sealed/inside"), "").unwrap();
    fs::set_permissions(at("sealed"), fs::Permissions::from_mode(0o555)).unwrap();
    dir
}

fn unseal(dir: &TempDir) {
    fs::set_permissions(dir.path().join("sealed"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Names and kinds of a tar, by a reader that is not ours.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries.map(|e| format!("{:?} {}", e.header().entry_type(), lossy(&e.path_bytes()))).collect()
}

#[test]
fn a_tree_survives_the_way_into_a_layer_and_back() {
    let source = tree();
    let tar = layer_of(source.path(), &options());
    let copy = unpacked(&tar);
    assert!(layer_of(copy.path(), &options()) == tar, "{:#?}\n{:#?}", listing(&tar), listing(&layer_of(copy.path(), &options())));
    let stat = |path: &str| fs::symlink_metadata(copy.path().join(path)).unwrap();
    assert_eq!(stat("usr/bin/tool").ino(), stat("usr/alias").ino());
    assert_eq!((stat("usr/bin/tool").mode() & 0o7777, stat("tmp").mode() & 0o7777), (0o4755, 0o1777));
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!((stat("link").mtime(), stat("usr").mtime()), (EPOCH, EPOCH));
    unseal(&source);
    unseal(&copy);
}

#[test]
fn times_are_kept_to_the_nanosecond_where_asked() {
    let source = tree();
    let keep = LayerOptions { mtime: Mtime::Preserve, ..options() };
    let tar = layer_of(source.path(), &keep);
    let copy = unpacked(&tar);
    assert!(layer_of(copy.path(), &keep) == tar);
    unseal(&source);
    unseal(&copy);
}

#[test]
fn a_normalised_directory_equals_its_unpacked_layer() {
    let source = tree();
    let normalised = layer_of(source.path(), &options());
    let keep = LayerOptions { mtime: Mtime::Preserve, ..options() };
    assert!(layer_of(source.path(), &keep) == normalised);
    unseal(&source);
}

#[test]
fn another_reader_sees_relative_sorted_names() {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["b", "a"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
        fs::write(dir.path().join(sub).join("f"), sub).unwrap();
    }
    fs::hard_link(dir.path().join("a/f"), dir.path().join("b/g")).unwrap();
    setxattr(dir.path().join("b"), c"user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    let tar = layer_of(dir.path(), &options());
    assert_eq!(listing(&tar), ["Directory a/", "Regular a/f", "Directory b/", "Regular b/.wh..wh..opq", "Regular b/f", "Link b/g"]);
    let mut archive = tar::Archive::new(&tar[..]);
    let link = archive.entries().unwrap().map(Result::unwrap).last().unwrap();
    assert_eq!(link.link_name_bytes().as_deref(), Some(&b"a/f"[..]));
}

#[test]
fn no_change_is_a_layer_of_1024_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Vec::new();
    let summary = write_layer(dir.path(), &BorrowedFiles::default(), &options(), &mut tar, &mut no_toc()).unwrap();
    assert_eq!((summary.entries, tar), (0, vec![0; 1024]));
}

#[test]
fn recorded_owners_become_owners_and_large_ids_survive() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    setxattr(dir.path().join("f"), c"user.brik.owner", b"3000000000:33", XattrFlags::empty()).unwrap();
    let tar = layer_of(dir.path(), &options());
    let mut archive = tar::Archive::new(&tar[..]);
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (3_000_000_000, 33));
    assert!(layer_of(unpacked(&tar).path(), &options()) == tar);
}

#[test]
fn an_overlay_that_redirects_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    setxattr(dir.path().join("d"), c"user.overlay.redirect", b"/old", XattrFlags::empty()).unwrap();
    let result = write_layer(dir.path(), &BorrowedFiles::default(), &options(), io::sink(), &mut no_toc());
    assert!(matches!(result, Err(Error::OverlayFeature { .. })), "{result:?}");
}

#[test]
fn whiteouts_devices_capabilities_and_owners_survive() {
    if !privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    mknodat(CWD, at("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    fs::hard_link(at("gone"), at("gone-too")).unwrap();
    mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from(0o666), rustix::fs::makedev(1, 3)).unwrap();
    fs::write(at("ping"), "x").unwrap();
    std::os::unix::fs::chown(at("ping"), Some(1000), Some(2_500_000)).unwrap();
    // cap_dac_override and cap_fowner: a newline in the value.
    let capability = [&[1, 0, 0, 2, 10][..], &[0; 15]].concat();
    setxattr(at("ping"), c"security.capability", &capability, XattrFlags::empty()).unwrap();
    let tar = layer_of(dir.path(), &options());
    assert_eq!(listing(&tar)[..2], ["Regular .wh.gone", "Regular .wh.gone-too"]);
    let copy = tempfile::tempdir().unwrap();
    let done = unpack_layer(&tar[..], copy.path(), &UnpackOptions::default(), &mut no_toc()).unwrap();
    assert_eq!(done.extracted.skipped_devices, 0);
    assert!(layer_of(copy.path(), &options()) == tar);
}

#[test]
fn a_compressed_layer_unpacks_with_its_diff_id_and_no_other() {
    let source = tree();
    for codec in [Codec::default(), Codec::Zstd { level: 1 }, Codec::None] {
        let mut writer = LayerWriter::new(codec, Vec::new());
        write_layer(source.path(), &BorrowedFiles::default(), &options(), &mut writer, &mut no_toc()).unwrap();
        let (bytes, tar) = writer.finish().unwrap();
        let dest = tempfile::tempdir().unwrap();
        let expect = UnpackOptions { expected_diff_id: Some(tar.diff_id), ..lenient() };
        let done = unpack_layer(&bytes[..], dest.path(), &expect, &mut no_toc()).unwrap();
        assert_eq!((done.diff_id, done.uncompressed), (tar.diff_id, tar.size));
        unseal(&dest);
        let wrong = UnpackOptions { expected_diff_id: Some(crate::oci::DiffId(crate::oci::Digest::of(b""))), ..lenient() };
        let result = unpack_layer(&bytes[..], tempfile::tempdir().unwrap().path(), &wrong, &mut no_toc());
        assert!(matches!(result, Err(Error::DiffIdMismatch { .. })), "{codec:?}");
    }
    unseal(&source);
}

#[test]
fn archives_are_known_and_unpacked_in_every_compression() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), "text").unwrap();
    let tar = layer_of(dir.path(), &options());
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(&tar).unwrap();
        out.finish().unwrap()
    };
    let bzip2 = {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        out.write_all(&tar).unwrap();
        out.finish().unwrap()
    };
    let xz = {
        let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
        out.write_all(&tar).unwrap();
        out.finish().unwrap()
    };
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for (name, bytes) in [("plain", &tar), ("gzip", &gzip), ("bzip2", &bzip2), ("xz", &xz), ("zstd", &zstd)] {
        assert!(is_archive(&bytes[..]), "{name}");
        let root = tempfile::tempdir().unwrap();
        let options = ArchiveOptions { single_uid: true, ..Default::default() };
        extract_archive(&bytes[..], root.path(), b"opt/app", &options).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("opt/app/d/f")).unwrap(), "text", "{name}");
    }
    for (name, bytes) in [("empty", &b""[..]), ("text", b"hello"), ("gzipped text", b"\x1f\x8b\x08\0rubbish"), ("zeros", &[0; 1024])] {
        assert!(!is_archive(bytes), "{name}");
    }
}

#[test]
fn what_a_layer_does_not_keep_is_removed_from_its_tree() {
    let dir = tree();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir(at("run")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("run/db.sock")).unwrap();
    for path in ["run", "sealed/inside"] {
        setxattr(at(path), c"user.note", b"x", XattrFlags::empty()).unwrap();
    }
    let tar = layer_of(dir.path(), &options());
    let unpacked = unpacked(&tar);
    let attributes = |path: PathBuf| read_xattrs(fs::File::open(path).unwrap()).unwrap();
    for path in ["run", "sealed/inside", "attributes", "usr"] {
        let overlays = |all: Xattrs| all.into_iter().filter(|(name, _)| !is_private_xattr(name)).collect::<Vec<_>>();
        assert_eq!(overlays(attributes(at(path))), overlays(attributes(unpacked.path().join(path))), "{path}");
    }
    assert!(!at("socket").exists() && !at("run/db.sock").exists());
    assert_eq!(fs::metadata(at("run")).unwrap().mtime(), EPOCH, "a directory's time is that of its layer");
    assert_eq!(layer_of(dir.path(), &options()), tar);
    unseal(&dir);
    unseal(&unpacked);
}

#[test]
fn a_path_that_could_not_be_unpacked_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut here = std::os::fd::OwnedFd::from(fs::File::open(dir.path()).unwrap());
    for _ in 0..20 {
        rustix::fs::mkdirat(&here, "d".repeat(250), Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d".repeat(250), rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let refused = write_layer(dir.path(), &BorrowedFiles::default(), &options(), io::sink(), &mut no_toc());
    assert!(matches!(refused, Err(Error::LongPath { limit: 4096, .. })), "{refused:?}");
    crate::store::remove_tree(dir.path());
}
