//! Tests that need several files of the room.

mod contents;
mod export;
mod hostile;
mod over_lowers;
mod round_trip;

use std::io;

use super::*;

const EPOCH: i64 = 1_700_000_000;

fn options() -> LayerOptions {
    LayerOptions { mtime: Mtime::Normalized(EPOCH), owner_xattr: true, own_marks: true }
}

/// What works for every user, for a lowest layer.
fn lenient() -> UnpackOptions {
    UnpackOptions { single_uid: true, lowers: Some(Vec::new()), ..Default::default() }
}

/// Where nobody wants a table of contents.
fn no_toc() -> TocWriter<io::Sink> {
    TocWriter::new(io::sink()).unwrap()
}

/// Whether this process may make devices and give files away; says so where not.
fn privileged() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (node, kind) = (dir.path().join("null"), rustix::fs::FileType::CharacterDevice);
    let device = rustix::fs::makedev(1, 3);
    let able = rustix::fs::mknodat(rustix::fs::CWD, &node, kind, rustix::fs::Mode::from(0o600), device).is_ok();
    if !able {
        eprintln!("skipped: chown and mknod need real root");
    }
    able
}
