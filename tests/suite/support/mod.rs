//! What the tests are written in: a [`Project`] in a temporary directory, [`Brik`] runs of it, a real [`Registry`] on loopback,
//! a [`Proxy`] before it that has faults, the built [`Image`] as an independent reader sees it, a [`trace`] of what brik asked the kernel for, the [`Screen`] that a person would see, what is left afterwards
//! ([`aftermath`]), and other people's [`tools`].

pub mod aftermath;
mod brik;
mod container;
pub mod git_server;
mod image;
pub mod outside;
mod project;
pub mod proxy;
mod registry;
mod screen;
#[path = "../../../src/registry/tests/scripted.rs"]
#[allow(dead_code, reason = "the unit tests of the registry room use the rest")]
pub mod scripted;
pub mod server;
pub mod tarball;
pub mod tools;
pub mod trace;
mod trials;
mod watched;

use std::path::PathBuf;

pub use brik::{Brik, Run};
pub use image::{Entry, Image, Kind};
pub use outside::Outside;
pub use project::Project;
pub use proxy::{Ask, Fault, Proxy};
pub use registry::{PASSWORD, Registry, USER, busybox, shared_registry};
pub use screen::Screen;
pub use trials::{random, trials};

/// The repository of brik: what `tests/run` copied for a user who may not read the real one, else the real one.
pub fn repository() -> PathBuf {
    std::env::var_os("BRIK_TESTS").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Writes to a file whatever its mode, which stays.
pub fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).expect("a file").permissions();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its owner");
    std::fs::write(path, bytes).expect("room");
    std::fs::set_permissions(path, mode).expect("its owner");
}
