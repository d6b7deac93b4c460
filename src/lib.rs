//! brik: daemonless, rootless container builds for monorepos.

pub mod build;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dockerfile;
pub mod image;
pub mod oci;
pub mod plan;
pub mod registry;
pub mod report;
pub mod source;
pub mod store;
