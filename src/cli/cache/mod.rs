//! `brik cache`: what the store holds, what it takes, whether it is whole, and how it is made smaller. One file a subcommand.

mod du;
mod ls;
mod prune;
mod verify;

use std::process::ExitCode;

use super::args::{CacheCommand, Global};
use super::build;
use super::environment;
use super::failure::Failure;
use super::print;
use super::size;
use crate::store::Store;

pub fn run(global: &Global, command: &CacheCommand) -> Result<ExitCode, Failure> {
    match command {
        CacheCommand::Ls(args) => ls::run(&open(global)?, args),
        CacheCommand::Du { format } => du::run(&open(global)?, *format),
        // Snapshots hold files of subordinate ids, which only their user namespace may remove.
        CacheCommand::Prune(args) => match (prune::budget(args)?, build::enter_sandbox(&[])?) {
            (_, build::Entered::Ran(code)) => Ok(code),
            (budget, build::Entered::Here(_)) => prune::run(&open(global)?, args, &budget),
        },
        CacheCommand::Verify(args) => verify::run(&open(global)?, args),
    }
}

fn open(global: &Global) -> Result<Store, Failure> {
    Store::open(&global.store_path(&environment())?).map_err(|e| Failure::failed(e.to_string()))
}

/// `3 blobs`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
