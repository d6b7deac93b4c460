//! Registries: whether they are there, what time they have, whether they know us, and whether we may push to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use super::check::{Check, Status};
use super::repositories;
use crate::cli::surroundings::Surroundings;
use crate::cli::tagging::{GivenTags, Tagging};
use crate::cli::workspace::Workspace;
use crate::config::Config;
use crate::oci::Reference;
use crate::registry::{Client, Error, Greeting, Unusable};
use crate::source::{Disk, GitFacts};

/// Nobody waits longer for all that there is to say of one registry.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a registry is used for here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Use {
    /// Repositories that images are pushed to.
    pub images: BTreeSet<Reference>,
    /// Cache repositories that are not among them.
    pub caches: BTreeSet<Reference>,
    /// Base images come from it.
    pub bases: bool,
}

/// By host: those of brik.toml and its Dockerfiles, and those that the command line names.
pub fn used(around: &Surroundings, config: Option<&Config>, named: &[Reference]) -> BTreeMap<String, Use> {
    let mut used: BTreeMap<String, Use> = BTreeMap::new();
    for reference in named {
        let host = used.entry(reference.registry.clone()).or_default();
        if !reference.repository.is_empty() {
            host.images.insert(reference.clone());
        }
    }
    let Some(config) = config else { return used };
    if let Some(host) = config.registry.as_deref().and_then(|registry| registry.split('/').next()) {
        used.entry(host.to_owned()).or_default();
    }
    for service in config.services.values() {
        // docker.io only because nothing names a registry.
        if config.registry.is_some() || service.image.registry != "docker.io" {
            used.entry(service.image.registry.clone()).or_default().images.insert(service.image.clone());
            if let Some(cache) = &service.cache {
                used.entry(cache.registry.clone()).or_default().caches.insert(cache.clone());
            }
        }
    }
    // What is wrong with Dockerfiles is for `brik check` to say.
    let git = GitFacts::read(&config.root, &around.env);
    let (workspace, _) = Workspace::load(config, &Disk, &[], &Tagging::new(&git, &around.env, GivenTags::default()));
    for (reference, _) in workspace.references() {
        used.entry(reference.registry).or_default().bases = true;
    }
    used
}

/// Asks all registries at the same time. Ends when the patience does, whatever they do.
pub fn checks(client: &Client, used: BTreeMap<String, Use>) -> Vec<Check> {
    let (sender, answers) = mpsc::channel();
    let hosts: Vec<String> = used.keys().cloned().collect();
    for (host, purpose) in used {
        let (client, sender) = (client.clone(), sender.clone());
        std::thread::spawn(move || {
            let seen = look_at(&client, &host, &purpose);
            // Nobody listens any more where it was too late.
            let _ = sender.send((host, seen));
        });
    }
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    let mut seen = BTreeMap::new();
    while let Ok((host, found)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        seen.insert(host, found);
    }
    let date = seen.values().find_map(|found| found.clock);
    let late = |host: &String| vec![Check::failed("registry", format!("not done answering after {} s", PATIENCE.as_secs())).of(host)];
    let mut checks: Vec<Check> = hosts.iter().flat_map(|host| seen.remove(host).map_or_else(|| late(host), |found| found.checks)).collect();
    checks.extend(date.map(clock));
    let unusable = client.credentials().take_unusable();
    checks.extend(unusable.iter().map(|one| Check::warning("credentials", one.to_string()).fix(one.fix())));
    checks
}

struct Seen {
    checks: Vec<Check>,
    /// The registry's time less ours, in seconds.
    clock: Option<i64>,
}

fn look_at(client: &Client, host: &str, purpose: &Use) -> Seen {
    let mut checks = Vec::new();
    let mirror = client.greet_mirror(host).transpose();
    let mirrored = matches!(mirror, Some(Ok(_)));
    match &mirror {
        Some(Ok(greeting)) => {
            let check = reached(greeting);
            let found = format!("{}; the mirror of {host}", check.found);
            checks.push(Check { found, ..check }.of(&greeting.registry));
        }
        Some(Err(error)) => checks.push(unreached(error, true).of(format!("mirror of {host}"))),
        None => {}
    }
    let greeting = match client.greet(host) {
        Ok(greeting) => greeting,
        Err(error) => {
            // Bases come through the mirror; pushes do not.
            let dispensable = mirrored && purpose.images.is_empty();
            checks.push(unreached(&error, dispensable).of(host));
            return Seen { checks, clock: mirror.and_then(Result::ok).as_ref().and_then(ahead) };
        }
    };
    checks.push(reached(&greeting).of(host));
    let login = login(client, host, &greeting, purpose).of(host);
    let known = login.status != Status::Failed;
    checks.push(login);
    if known {
        checks.extend(repositories::checks(client, host, purpose));
    }
    Seen { checks, clock: ahead(&greeting) }
}

fn reached(greeting: &Greeting) -> Check {
    let guarded = if greeting.guarded { ", and asks who we are" } else { "" };
    Check::ok("registry", format!("answers within {} ms{guarded}", greeting.took.as_millis()))
}

fn unreached(error: &Error, dispensable: bool) -> Check {
    let found = error.to_string();
    let check = if dispensable { Check::warning("registry", found) } else { Check::failed("registry", found) };
    error.advice().into_iter().fold(check, Check::fix)
}

/// Who we are there, and whether that is believed.
fn login(client: &Client, host: &str, greeting: &Greeting, purpose: &Use) -> Check {
    const NAME: &str = "credentials";
    let repository = purpose.images.first().map_or("", |image| &image.repository);
    let fix = format!("printf %s \"$TOKEN\" | brik login {host} --username USER --password-stdin");
    let Some(credential) = client.credentials().find(host, repository) else {
        let unusable = client.credentials().unusable(host, repository);
        let none = if unusable.is_empty() { "none" } else { "none that can be used" };
        let fix = unusable.first().map_or(fix, Unusable::fix);
        return match (greeting.guarded, purpose.images.is_empty()) {
            (false, _) => Check::ok(NAME, format!("{none}, and none are asked for")),
            (true, true) => Check::ok(NAME, format!("{none}: what is public can be pulled")),
            (true, false) => Check::failed(NAME, format!("{none}, and images are pushed there")).fix(fix),
        };
    };
    let source = credential.source;
    match client.log_in(host) {
        Ok(true) => Check::ok(NAME, format!("{source}, accepted")),
        Ok(false) => Check::ok(NAME, format!("{source}, which nobody asks for")),
        Err(error @ (Error::Unauthorized { .. } | Error::Denied { .. })) => Check::failed(NAME, format!("{source}: {error}")).fix(fix),
        // Some give tokens for repositories only; these are tried next.
        Err(error) => Check::warning(NAME, format!("{source}, which cannot be tried: {error}")).fix(fix),
    }
}

/// How far a registry's clock is ahead of ours, in seconds. The answer is as old as half of the way.
fn ahead(greeting: &Greeting) -> Option<i64> {
    let theirs = greeting.date?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(theirs).ok()?.checked_sub(i64::try_from(ours).ok()?)
}

fn clock(ahead: i64) -> Check {
    const NAME: &str = "clock";
    let fix = "sudo timedatectl set-ntp true";
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    let found = format!("{} s {side} that of a registry", ahead.unsigned_abs());
    match ahead.unsigned_abs() {
        0..=60 => Check::ok(NAME, "agrees with that of a registry"),
        61..=300 => Check::warning(NAME, format!("{found}: tokens may be refused")).fix(fix),
        _ => Check::failed(NAME, format!("{found}: tokens and certificates are refused")).fix(fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        for (ahead, status, word) in [
            (0, Status::Ok, "agrees"),
            (-60, Status::Ok, "agrees"),
            (61, Status::Warning, "61 s behind"),
            (-200, Status::Warning, "200 s ahead of"),
            (i64::MIN, Status::Failed, "ahead of"),
        ] {
            let check = clock(ahead);
            assert_eq!(check.status, status, "{ahead}");
            assert!(check.found.contains(word), "{}", check.found);
        }
    }
}
