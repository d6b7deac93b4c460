//! A new brik.lock from an old one: what `brik lock` and `brik update` do alike.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use miette::Diagnostic;
use serde::Serialize;

use super::args::{Format, Global, PlanArgs};
use super::bases::{Bases, Used, bases, lock_name, read_lock, workspace};
use super::columns::columns;
use super::failure::{Code, Failure};
use super::planning::{Setup, learn};
use super::print;
use crate::build::ask_all;
use crate::config::{Config, Finding, Lock, LockedBase};
use crate::oci::{Digest, Platform, Reference};
use crate::registry::Error;

/// Registries asked at the same time.
pub const AT_ONCE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Added,
    Moved,
    /// Platforms were added to what is pinned.
    Completed,
    Dropped,
}

/// What became of a base.
#[derive(Serialize)]
struct Change<'w> {
    base: Reference,
    change: Kind,
    old: Option<Digest>,
    new: Option<Digest>,
    services: BTreeSet<&'w str>,
}

#[derive(Serialize)]
struct Report<'w> {
    file: String,
    bases: usize,
    changes: Vec<Change<'w>>,
}

/// Writes the lock anew and tells what changed. Of the bases that are locked, only those that `refresh` picks are asked for again by their
/// tags. Nothing is written where one cannot be resolved.
pub fn run(global: &Global, format: Format, refresh: impl Fn(&Bases) -> Result<BTreeSet<Reference>, Failure>) -> Result<ExitCode, Failure> {
    let setup = Setup::new(global, &PlanArgs::default())?;
    let config = &setup.request.config;
    let old = read_lock(config)?.unwrap_or_default();
    let workspace = workspace(&setup)?;
    let bases = bases(&workspace);
    let refresh = refresh(&bases)?;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let questions = questions(&bases, &old, &refresh);
    let answers = ask_all(&questions, AT_ONCE, |question| setup.client.pin(&question.asked, &question.platforms));
    learn(&setup.redactor, &setup.client)?;
    let mut failures = Vec::new();
    let mut new = Lock::default();
    for (name, locked) in old.bases.iter().filter(|(name, _)| bases.contains_key(name)) {
        new.bases.insert(name.clone(), locked.clone());
    }
    for (question, answer) in questions.iter().zip(answers) {
        match answer {
            Ok(pin) => merge(&mut new, question.name.clone(), LockedBase { pin, resolved: today }),
            Err(error) => failures.push(unresolved(config, &bases, question, &error)),
        }
    }
    if !failures.is_empty() {
        return Err(Failure::findings(Code::Failed, &failures, Some(&setup.redactor)));
    }
    write(&Lock::path(&config.file), &new.to_text())?;
    let report = Report { file: lock_name(config), bases: new.bases.len(), changes: changes(&old, &new, &bases) };
    tell(&report, &bases, format)?;
    Ok(ExitCode::SUCCESS)
}

/// What a registry is asked for.
#[derive(Debug, PartialEq)]
struct Question {
    name: Reference,
    /// The tag, or what it is held to where only platforms are missing.
    asked: Reference,
    platforms: Vec<Platform>,
}

fn questions(bases: &Bases, lock: &Lock, refresh: &BTreeSet<Reference>) -> Vec<Question> {
    let question = |(name, used): (&Reference, &Used)| {
        let pin = lock.bases.get(name).map(|locked| &locked.pin).filter(|_| !refresh.contains(name));
        let known = |platform: &&Platform| pin.is_some_and(|pin| pin.platforms.contains_key(*platform));
        let platforms: Vec<Platform> = used.platforms.iter().filter(|platform| !known(platform)).cloned().collect();
        let asked = pin.map_or(name.clone(), |pin| name.with_digest(pin.digest));
        (!platforms.is_empty()).then(|| Question { name: name.clone(), asked, platforms })
    };
    bases.iter().filter_map(question).collect()
}

/// Takes an answer into the lock. Where the tag leads where it led, its day stays, and so do platforms that others use.
fn merge(lock: &mut Lock, name: Reference, answer: LockedBase) {
    match lock.bases.get_mut(&name).filter(|locked| locked.pin.digest == answer.pin.digest) {
        Some(locked) => locked.pin.platforms.extend(answer.pin.platforms),
        None => drop(lock.bases.insert(name, answer)),
    }
}

fn changes<'w>(old: &Lock, new: &Lock, bases: &Bases<'w>) -> Vec<Change<'w>> {
    let names: BTreeSet<&Reference> = old.bases.keys().chain(new.bases.keys()).collect();
    let change = |name: &Reference| {
        let (before, after) = (old.bases.get(name), new.bases.get(name));
        let change = match (before, after) {
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) if before.pin.digest == after.pin.digest => Kind::Completed,
            (Some(_), Some(_)) => Kind::Moved,
            (None, _) => Kind::Added,
            (_, None) => Kind::Dropped,
        };
        let digest = |base: Option<&LockedBase>| base.map(|base| base.pin.digest);
        let services = bases.get(name).map(|used| used.services.clone()).unwrap_or_default();
        Some(Change { base: name.clone(), change, old: digest(before), new: digest(after), services })
    };
    names.into_iter().filter_map(change).collect()
}

fn unresolved(config: &Config, bases: &Bases, question: &Question, error: &Error) -> Finding {
    let Question { name, asked, .. } = question;
    let finding = match asked.digest {
        Some(digest) if error.is_not_found() => {
            Finding::error("brik::lock::gone", format!("{name} is locked to {digest}, which is not there any more: {error}"))
                .help(format!("`brik update {name}` locks it to what the tag leads to now"))
        }
        _ => Finding::error("brik::lock::unresolved", error.to_string()).maybe_help(error.help().map(|help| help.to_string())),
    };
    bases.get(name).map_or(finding.clone(), |used| finding.at(used.place(config)))
}

/// Whole or not at all; not touched where it says this already.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|written| written == text.as_bytes()) {
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::failed(format!("{} cannot be written: {error}", path.display()));
    // Where a link stands for the file, what it leads to is written.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = File::create(&fresh).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let written = written.and_then(|()| fs::rename(&fresh, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed(error)
    })
}

fn tell(report: &Report, bases: &Bases, format: Format) -> Result<(), Failure> {
    let Report { file, bases: count, changes } = report;
    if format == Format::Json {
        return print::out(&format!("{}\n", serde_json::to_string_pretty(report).unwrap_or_default()));
    }
    let row = |change: &Change| {
        let kind = match change.change {
            Kind::Added => "added",
            Kind::Moved => "moved",
            Kind::Completed => "completed",
            Kind::Dropped => "dropped",
        };
        let digests = match (change.change, change.old, change.new) {
            (Kind::Moved, Some(old), Some(new)) => format!("{} -> {}", old.short(), new.short()),
            (_, old, new) => new.or(old).map_or_else(String::new, |digest| digest.short()),
        };
        let services = bases.get(&change.base).map_or_else(String::new, |used| used.services_in_short());
        [kind.to_owned(), change.base.to_string(), digests, services]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    let changed = match rows.len() {
        0 => "nothing changed".to_owned(),
        changed => format!("{changed} changed"),
    };
    let noun = if *count == 1 { "base" } else { "bases" };
    print::out(&format!("{}{file}: {count} {noun}, {changed}\n", columns(&rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Pin;
    use jiff::civil::Date;

    fn lock(bases: &[(&str, &str, &[&str])]) -> Lock {
        let mut lock = Lock::default();
        for (name, digest, platforms) in bases {
            lock.bases.insert(name.parse().unwrap(), locked(digest, platforms, 1));
        }
        lock
    }

    fn locked(digest: &str, platforms: &[&str], day: i8) -> LockedBase {
        let of = |text: &str| Digest::of(text.as_bytes());
        let platforms = platforms.iter().map(|platform| (platform.parse().unwrap(), of(&format!("{digest} {platform}")))).collect();
        LockedBase { pin: Pin { digest: of(digest), platforms }, resolved: Date::constant(2026, 1, day) }
    }

    #[test]
    fn a_day_stays_while_the_tag_leads_to_the_same() {
        let before = lock(&[("a.io/a:1", "one", &["linux/amd64"])]);
        for (answer, day, platforms, change) in [
            (locked("one", &["linux/amd64"], 2), 1, 1, None),
            (locked("one", &["linux/arm64"], 2), 1, 2, Some(Kind::Completed)),
            (locked("two", &["linux/arm64"], 2), 2, 1, Some(Kind::Moved)),
        ] {
            let mut after = before.clone();
            merge(&mut after, "a.io/a:1".parse().unwrap(), answer);
            let base = after.bases.values().next().unwrap();
            assert_eq!((base.resolved.day(), base.pin.platforms.len()), (day, platforms));
            let changes = changes(&before, &after, &Bases::new());
            assert_eq!(changes.first().map(|change| change.change), change);
        }
    }

    #[test]
    fn what_comes_and_what_goes_is_told_with_its_digest() {
        let before = lock(&[("a.io/gone:1", "one", &[]), ("a.io/same:1", "two", &[])]);
        let after = lock(&[("a.io/new:1", "three", &[]), ("a.io/same:1", "two", &[])]);
        let changes = changes(&before, &after, &Bases::new());
        let told: Vec<_> = changes.iter().map(|change| (change.base.to_string(), change.change, change.old, change.new)).collect();
        let of = |text: &str| Some(Digest::of(text.as_bytes()));
        assert_eq!(
            told,
            [("a.io/gone:1".to_owned(), Kind::Dropped, of("one"), None), ("a.io/new:1".to_owned(), Kind::Added, None, of("three")),]
        );
    }
}
