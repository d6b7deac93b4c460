//! `brik outdated`: bases whose tags lead elsewhere than brik.lock says. Nothing is changed.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::args::{Format, Global, PlanArgs};
use super::bases::{Used, bases, lock_name, read_lock, unlocked, workspace};
use super::columns::columns;
use super::failure::{Code, Failure, render_all};
use super::planning::{Setup, learn};
use super::print;
use super::relock::AT_ONCE;
use crate::build::ask_all;
use crate::config::{Finding, LockedBase};
use crate::oci::{Digest, Reference};

#[derive(Serialize)]
struct Report<'w> {
    /// Of those that were looked at.
    bases: usize,
    outdated: Vec<Outdated<'w>>,
}

#[derive(Serialize)]
struct Outdated<'w> {
    base: &'w Reference,
    locked: Digest,
    resolved: String,
    /// `null` where the tag is gone.
    now: Option<Digest>,
    services: &'w BTreeSet<&'w str>,
}

pub fn run(global: &Global, format: Format) -> Result<ExitCode, Failure> {
    let setup = Setup::new(global, &PlanArgs::default())?;
    let config = &setup.request.config;
    let Some(lock) = read_lock(config)? else {
        return Err(Failure::usage(format!("there is no {}: `brik lock` writes it", lock_name(config))));
    };
    let workspace = workspace(&setup)?;
    let bases = bases(&workspace);
    let both: Vec<(&Reference, &LockedBase, &Used)> =
        bases.iter().filter_map(|(name, used)| Some((name, lock.bases.get(name)?, used))).collect();
    let answers = ask_all(&both, AT_ONCE, |(name, ..)| setup.client.look_up(name));
    learn(&setup.redactor, &setup.client)?;
    let mut findings = unlocked(config, &bases, Some(&lock), false);
    let (mut outdated, mut failed) = (Vec::new(), false);
    for ((base, locked, used), answer) in both.iter().zip(answers) {
        match answer {
            Ok(now) if now == Some(locked.pin.digest) => {}
            Ok(now) => outdated.push((
                Outdated { base, locked: locked.pin.digest, resolved: locked.resolved.to_string(), now, services: &used.services },
                *used,
            )),
            Err(error) => {
                failed = true;
                findings.push(Finding::error("brik::lock::unresolved", error.to_string()).at(used.place(config)));
            }
        }
    }
    let mut text = String::new();
    render_all(&mut text, &findings);
    print::err(&setup.redactor.redact(&text));
    let code = match outdated.is_empty() {
        _ if failed => ExitCode::from(Code::Failed as u8),
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Code::Findings as u8),
    };
    tell(format, both.len(), outdated)?;
    Ok(code)
}

fn tell(format: Format, bases: usize, outdated: Vec<(Outdated, &Used)>) -> Result<(), Failure> {
    if format == Format::Json {
        let report = Report { bases, outdated: outdated.into_iter().map(|(outdated, _)| outdated).collect() };
        return print::out(&format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default()));
    }
    let row = |(outdated, used): &(Outdated, &Used)| {
        let now = outdated.now.map_or_else(|| "gone".to_owned(), |digest| digest.short());
        [outdated.base.to_string(), outdated.locked.short(), outdated.resolved.clone(), now, used.services_in_short()]
    };
    let mut rows: Vec<[String; 5]> = outdated.iter().map(row).collect();
    let stale = rows.len();
    if stale > 0 {
        rows.insert(0, ["base", "locked", "resolved", "now", "services"].map(str::to_owned));
    }
    let help = if stale > 0 { ": `brik update` takes what is new" } else { "" };
    let noun = if bases == 1 { "base" } else { "bases" };
    print::out(&format!("{}{bases} {noun}, {stale} outdated{help}\n", columns(&rows)))
}
