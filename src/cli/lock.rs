//! `brik lock`: pins what is not pinned yet, and drops what is not used any more.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::args::{Format, Global};
use super::failure::Failure;
use super::relock;

pub fn run(global: &Global, format: Format) -> Result<ExitCode, Failure> {
    relock::run(global, format, |_| Ok(BTreeSet::new()))
}
