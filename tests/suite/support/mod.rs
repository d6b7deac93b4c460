//! What the tests are written in: a [`Project`] in a temporary directory, [`Brik`] runs of it, a real [`Registry`] on loopback,
//! the built [`Image`] as an independent reader sees it, a [`trace`] of what brik asked the kernel for, and other people's [`tools`].

mod brik;
mod container;
pub mod git_server;
mod image;
mod project;
mod registry;
pub mod server;
pub mod tools;
pub mod trace;

use std::path::PathBuf;

pub use brik::{Brik, Run};
pub use image::{Entry, Image, Kind};
pub use project::Project;
pub use registry::{PASSWORD, Registry, USER, busybox, shared_registry};

/// The repository of brik: what `tests/run` copied for a user who may not read the real one, else the real one.
pub fn repository() -> PathBuf {
    std::env::var_os("BRIK_TESTS").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}
