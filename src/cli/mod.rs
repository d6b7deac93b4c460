//! Commands, one file each; arguments, diagnostics and exit codes. Nobody uses this room.

mod annotations;
mod args;
mod bases;
mod build;
mod cache;
mod cache_places;
mod check;
mod columns;
mod dashboard;
mod doctor;
mod evidence;
mod excerpt;
mod explain;
mod failure;
mod foreign_flags;
mod github_output;
mod graph;
mod handover;
mod help;
mod host_network;
mod image_args;
mod init;
mod inspect;
mod interrupt;
mod lint;
mod list;
mod lock;
mod login;
mod logout;
mod matrix;
mod offline;
mod one_image;
mod outdated;
mod output;
mod places;
mod planning;
mod policy;
mod preview;
mod print;
mod reasons;
mod refused;
mod relock;
mod remote_context;
mod request;
mod sarif;
mod secrets;
mod select;
mod session;
mod set_instead;
mod since;
mod size;
mod source_facts;
mod surroundings;
mod tagging;
mod tags;
mod unbuilt;
mod ungiven_secrets;
mod unused_args;
mod update;
mod why;
mod workspace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use args::{Command, Global};
use failure::{Failure, Voice};

use crate::build::sandbox;
use crate::config::LoadOptions;

/// Parses, runs, tells what went wrong, and says how it ended.
pub fn main() -> ExitCode {
    sandbox::keep_inherited_descriptors();
    sandbox::keep_ended_children();
    if let Some(code) = interrupt::reclaim() {
        return code;
    }
    // Where that is not allowed there are none to be had, or more than this to fear.
    let _ = sandbox::forbid_core_dumps();
    // A file that grows beyond `ulimit -f` is then an error with a name, as on a full disk, and not the end.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let cli = match help::parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            help::hint(&error).into_iter().for_each(|hint| print::err(&format!("\nhelp: {hint}\n")));
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let voice = match &cli.command {
        Command::Build(args) if !args.dry_run => Voice::of_build(&cli.global),
        _ => Voice::of(&cli.global),
    };
    let ended = match cli.command {
        Command::Init(args) => init::run(&cli.global, &args),
        Command::Build(args) => build::run(&cli.global, &args),
        Command::Check(args) => check::run(&cli.global, &args),
        Command::Explain(args) => explain::run(&args),
        Command::Lock { format } => lock::run(&cli.global, format),
        Command::Update { bases, format } => update::run(&cli.global, &bases, format),
        Command::Outdated { format } => outdated::run(&cli.global, format),
        Command::Cache(command) => cache::run(&cli.global, &command),
        Command::List(args) => list::run(&cli.global, &args),
        Command::Graph(args) => graph::run(&cli.global, &args),
        Command::Matrix(args) => matrix::run(&cli.global, *args),
        Command::Doctor(args) => doctor::run(&cli.global, &args),
        Command::Inspect(args) => inspect::run(&cli.global, &args),
        Command::Login(args) => login::run(&cli.global, &args),
        Command::Logout(args) => logout::run(&cli.global, &args),
        Command::Plan(args) => preview::run(&cli.global, &args),
        Command::Tags(args) => tags::run(&cli.global, &args),
        Command::Why(args) => why::run(&cli.global, &args),
        Command::Completions { shell } => help::completions(shell),
        Command::Man { to } => help::man(&cli.global, &to),
        Command::Help { words } => help::run(&words),
    };
    ended.unwrap_or_else(|failure| voice.tell(failure))
}

/// The environment, as far as it is text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

impl Global {
    fn cwd(&self) -> Result<PathBuf, Failure> {
        let cwd = std::env::current_dir().map_err(|e| Failure::usage(format!("the current directory cannot be read: {e}")))?;
        let Some(dir) = self.directory.as_ref().map(|dir| cwd.join(dir)) else { return Ok(cwd) };
        // What is above it is above what it is, not above what it is called: `..` and links are gone.
        let real = dir.canonicalize().ok().filter(|real| real.is_dir());
        real.ok_or_else(|| Failure::usage(format!("{} is not a directory", dir.display())))
    }

    /// How brik.toml is found and read.
    fn load_options(&self, cwd: PathBuf, env: BTreeMap<String, String>) -> LoadOptions {
        LoadOptions { cwd, file: self.config.clone(), environment: self.environment.clone(), env, set: self.set.clone() }
    }

    /// `--store`, else `$XDG_CACHE_HOME/brik`, else `~/.cache/brik`.
    fn store_path(&self, env: &BTreeMap<String, String>) -> Result<PathBuf, Failure> {
        let absolute = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let default = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache"))).map(|dir| dir.join("brik"));
        let store = self.store.clone().or_else(default);
        store.ok_or_else(|| {
            Failure::usage("there is no place for the store: neither $XDG_CACHE_HOME nor $HOME is set; give one with --store")
        })
    }
}
