//! Tests that need several files of the room.

mod export;
mod hostile;
mod round_trip;

use super::*;

const EPOCH: i64 = 1_700_000_000;

fn options() -> LayerOptions {
    LayerOptions { mtime: Mtime::Normalized(EPOCH), owner_xattr: true }
}

/// What works for every user.
fn lenient() -> UnpackOptions {
    UnpackOptions { single_uid: true, ..Default::default() }
}

/// Whether this process may make devices and give files away; says so where not.
fn privileged() -> bool {
    let able = rustix::process::geteuid().is_root();
    if !able {
        eprintln!("skipped: chown and mknod need root");
    }
    able
}
