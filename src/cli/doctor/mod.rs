//! `brik doctor`: whether this machine and these registries let brik work, and what to do where they do not.
//!
//! - `check`: what was looked at; `tell`: it as text and JSON; `fix`: what `--fix` does.
//! - `sandbox` (with `overlay`, which runs inside of it), `network`, `disk`, `project`: this machine.
//! - `registries`, `repositories`: what others say.

mod check;
mod disk;
mod fix;
mod network;
mod overlay;
mod project;
mod registries;
mod repositories;
mod sandbox;
mod tell;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::args::{Format, Global};
use super::failure::{Code, Failure};
use super::login::{discover, registry};
use super::planning::{client_options, learn};
use super::print;
use super::surroundings::Surroundings;
use crate::config::{Config, Findings, Network};
use crate::oci::Reference;
use crate::registry::{Client, ClientOptions, RetryPolicy};
use check::{Check, Status};
use tell::Report;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik doctor                         this machine, and the registries of brik.toml and its Dockerfiles
  brik doctor ghcr.io/org/app         without a brik.toml: whether that repository can be pushed to
  sudo brik doctor --fix              ids, an AppArmor profile and the store, for the user who calls it

Nothing stays in a registry, and no value of a credential is shown. Exit code 3 if something that a build needs is missing.")]
pub struct DoctorArgs {
    /// Registries, or repositories of them, besides those of brik.toml
    #[arg(value_name = "REGISTRY[/REPOSITORY]")]
    pub registries: Vec<String>,
    /// Do what can be done about it: make the store; as root, give ids to the user and allow namespaces to brik
    #[arg(long)]
    pub fix: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

pub fn run(global: &Global, args: &DoctorArgs) -> Result<ExitCode, Failure> {
    // This program, started by itself in there to try an overlay.
    if crate::build::sandbox::inside().is_some() {
        return overlay::try_inside();
    }
    let around = Surroundings::new(global)?;
    let named = args.registries.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let loaded = around.find_config();
    let mut checks = machine(global, &around, &loaded);
    if args.fix {
        checks = fixed(checks, || machine(global, &around, &loaded));
    }
    let config = loaded.as_ref().ok().and_then(Option::as_ref);
    checks.extend(others(&around, config, &named)?);
    tell(&around, args.format, &checks)?;
    let failed = checks.iter().any(|check| check.status == Status::Failed);
    Ok(if failed { ExitCode::from(Code::Findings as u8) } else { ExitCode::SUCCESS })
}

/// A host, or a repository.
fn named(name: &str) -> Result<Reference, Failure> {
    let host = registry(Some(name), None, "doctor");
    match (host, name.parse::<Reference>()) {
        (Ok(host), _) => Ok(Reference { registry: host, repository: String::new(), tag: None, digest: None }),
        (Err(_), Ok(reference)) if name.contains('/') => Ok(Reference { tag: None, digest: None, ..reference }),
        (Err(failure), _) => Err(failure),
    }
}

/// What can be known without asking anybody.
fn machine(global: &Global, around: &Surroundings, loaded: &Result<Option<Config>, Findings>) -> Vec<Check> {
    let path = around.env.get("PATH").map(String::as_str).unwrap_or_default();
    let subject = sandbox::Subject::new(&around.env);
    let place = global.store_path(&around.env).map(disk::Place::new);
    let room = place.as_ref().ok().and_then(disk::Place::room);
    let build = loaded.as_ref().ok().and_then(Option::as_ref).map(|config| &config.build);
    let memory = build.is_some_and(|build| build.memory.is_some());
    let mut checks = sandbox::checks(&subject, room.as_ref().map(disk::Room::path), path, memory);
    checks.extend(build.filter(|build| build.network == Network::Private).map(|_| network::check(path)));
    match &place {
        Ok(place) => checks.extend(place.checks()),
        Err(_) => {
            let found = "there is no place for it: neither $XDG_CACHE_HOME nor $HOME is set";
            checks.push(Check::failed("store", found).fix("export BRIK_STORE=/var/tmp/brik"));
        }
    }
    checks.extend(project::checks(around, loaded));
    checks
}

/// The same once what can be done is done.
fn fixed(before: Vec<Check>, again: impl Fn() -> Vec<Check>) -> Vec<Check> {
    let mut done: Vec<(&'static str, Result<String, String>)> = Vec::new();
    let mut remedies = Vec::new();
    for check in &before {
        if let Some(remedy) = check.remedy.as_ref().filter(|remedy| !remedies.contains(remedy)) {
            done.push((check.name, fix::apply(remedy)));
            remedies.push(remedy);
        }
    }
    let mut checks = if done.is_empty() { before.clone() } else { again() };
    for (name, outcome) in done {
        let text = outcome.unwrap_or_else(|reason| format!("nothing: {reason}"));
        checks.iter_mut().filter(|check| check.name == name).take(1).for_each(|check| check.done = Some(text.clone()));
    }
    checks
}

fn others(around: &Surroundings, config: Option<&Config>, named: &[Reference]) -> Result<Vec<Check>, Failure> {
    let used = registries::used(around, config, named);
    if used.is_empty() {
        let found = "none to ask: there is no brik.toml that names one; name one here, as in brik doctor ghcr.io";
        return Ok(vec![Check::ok("registries", found)]);
    }
    let options =
        ClientOptions { credentials: Arc::new(discover(around, config)), retries: RetryPolicy::hasty(), ..client_options(config) };
    let client = Client::new(options).map_err(|error| Failure::failed(error.to_string()))?;
    let checks = registries::checks(&client, used);
    learn(&around.redactor, &client)?;
    Ok(checks)
}

fn tell(around: &Surroundings, format: Format, checks: &[Check]) -> Result<(), Failure> {
    let report = Report::new(checks);
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default()),
        Format::Human => {
            let stdout = std::io::stdout();
            let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
            let colour = stdout.is_terminal() && around.env.get("NO_COLOR").is_none_or(String::is_empty);
            report.text(columns, colour)
        }
    };
    print::out(&around.redactor.redact(&text))
}
