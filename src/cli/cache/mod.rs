//! `brik cache`: what the store holds, what it takes, whether it is whole, and how it is made smaller. One file a subcommand;
//! the same of cache repositories in `remote`.

mod args;
mod du;
mod ls;
mod prune;
mod remote;
mod verify;

use std::process::ExitCode;

pub use args::CacheCommand;
use remote::Remote;

use super::args::Global;
use super::build;
use super::environment;
use super::failure::Failure;
use super::print;
use super::size;
use crate::store::Store;

pub fn run(global: &Global, command: &CacheCommand) -> Result<ExitCode, Failure> {
    match command {
        CacheCommand::Ls(args) if args.remote.remote => remote::ls::run(&Remote::new(global, &args.remote)?, args),
        CacheCommand::Du(args) if args.remote.remote => remote::du::run(&Remote::new(global, &args.remote)?, args),
        CacheCommand::Prune(args) if args.remote.remote => remote::prune::run(&Remote::new(global, &args.remote)?, args),
        CacheCommand::Verify(args) if args.remote.remote => remote::verify::run(&Remote::new(global, &args.remote)?, args),
        CacheCommand::Ls(args) => ls::run(&open(global)?, args),
        CacheCommand::Du(args) => du::run(&open(global)?, args.format),
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

/// The first line of a text, without what would move a cursor, and no longer than a reader wants it.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_says_moves_no_cursor() {
        assert_eq!(one_line("RUN \u{1b}[2Jx"), "RUN  [2Jx");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), 101);
    }
}
