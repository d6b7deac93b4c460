//! `brik logout`: what `brik login` and `docker login` have kept is forgotten.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Global};
use super::failure::{Code, Failure};
use super::login::{discover, registry};
use super::print;
use super::surroundings::Surroundings;
use crate::config::Finding;
use crate::registry::{Kept, LoginFile};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik logout ghcr.io                 forget the password in docker's config.json, or have the helper forget it
  brik logout                         of the registry of brik.toml")]
pub struct LogoutArgs {
    /// Host of the registry [default: that of `registry` in brik.toml]
    pub registry: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What stdout carries with `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    registry: &'a str,
    /// Files and helpers that have forgotten it; empty where nobody knew it.
    removed: Vec<String>,
    /// Where credentials for it come from yet.
    remaining: Option<String>,
}

pub fn run(global: &Global, args: &LogoutArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::new(global)?;
    let config = around.config()?;
    let registry = registry(args.registry.as_deref(), config.as_ref(), "logout")?;
    let removed = LoginFile::of(&around.env).and_then(|file| file.remove(&registry)).map_err(|error| {
        let finding = Finding::error("brik::logout::failed", error.to_string()).maybe_help(error.advice());
        Failure::findings(Code::Failed, &[finding], None)
    })?;
    let removed: Vec<String> = removed.iter().map(Kept::to_string).collect();
    let remaining = discover(&around, config.as_ref()).find(&registry, "").map(|credential| credential.source);
    if args.format == Format::Json {
        let report = Report { registry: &registry, removed, remaining };
        return print::out(&format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default())).map(|()| ExitCode::SUCCESS);
    }
    if let Some(source) = remaining {
        print::err(&format!("warning: there are still credentials for {registry}: {source}\n"));
    }
    let text = match removed.is_empty() {
        true => format!("{registry}: nothing was kept\n"),
        false => format!("logged out of {registry}: removed from {}\n", removed.join(" and ")),
    };
    print::out(&text).map(|()| ExitCode::SUCCESS)
}
