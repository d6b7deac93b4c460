//! `brik cache verify --remote`: every entry read, every blob that it needs looked up, or read with `--deep`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Contents, Failure, Remote, count, one_line, short_key, size, what};
use crate::cache::{Content, Repository, Stored};
use crate::cli::args::Format;
use crate::cli::cache::args::VerifyArgs;
use crate::cli::failure::Code;
use crate::oci::{Descriptor, Digest, Reference};

#[derive(Serialize)]
struct Findings {
    entries: u64,
    blobs: u64,
    /// Of the blobs, that were read or only asked for.
    bytes: u64,
    deep: bool,
    broken: Vec<Broken>,
    /// Whether they have been removed, as far as the registry knows their manifests.
    removed: bool,
}

#[derive(Serialize)]
struct Broken {
    repository: String,
    tag: String,
    what: String,
    reason: String,
    digest: Option<Digest>,
    #[serde(skip)]
    key: String,
}

/// Places of a blob that are worth a request each.
const MOST_PLACES: usize = 8;

/// A blob, and the repositories any of which has to have it.
type Need = (Descriptor, Vec<Reference>);
/// What two needs have in common that are the same.
type NeedKey = (Digest, u64, Vec<String>);

pub fn run(remote: &Remote, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let contents = remote.read()?;
    let hosts = Hosts::of(remote);
    let all = contents.iter().flat_map(|contents| contents.own().map(move |entry| (contents, entry)));
    let needs: BTreeMap<NeedKey, Need> =
        all.flat_map(|(contents, entry)| hosts.needs(entry, &contents.repository)).map(|need| (key(&need), need)).collect();
    let bytes = needs.values().fold(0u64, |sum, (blob, _)| sum.saturating_add(blob.size));
    if args.deep {
        remote.tell(&format!("reading {}, {}", count(needs.len() as u64, "blob"), size::bytes(bytes)));
    }
    let wrong = check(remote, &needs, args.deep)?;
    let mut findings = Findings {
        entries: contents.iter().map(|contents| contents.own().count() as u64).sum(),
        blobs: needs.len() as u64,
        bytes,
        deep: args.deep,
        broken: Vec::new(),
        removed: false,
    };
    let mut failed = None;
    for contents in &contents {
        let broken: Vec<(&Stored, String)> =
            contents.own().filter_map(|entry| Some((entry, reason(&hosts.needs(entry, &contents.repository), entry, &wrong)?))).collect();
        if !args.dry_run && failed.is_none() {
            failed = remove(remote, contents, &broken)?;
        }
        findings.broken.extend(broken.into_iter().map(|(entry, reason)| Broken {
            repository: contents.name(),
            tag: entry.tag.clone(),
            what: if matches!(entry.content, Content::Broken(_)) { String::new() } else { what(entry) },
            reason,
            digest: entry.digest,
            key: short_key(entry),
        }));
    }
    findings.removed = !args.dry_run && failed.is_none();
    match args.format {
        Format::Json => remote.out_json(&findings)?,
        Format::Human => remote.out(&findings.text(args.dry_run))?,
    }
    // Who may only read has found what is wrong all the same.
    if let Some(failure) = failed {
        let _ = remote.voice.tell(failure);
    }
    Ok(if findings.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Code::Findings as u8) })
}

fn key((blob, places): &Need) -> NeedKey {
    (blob.digest, blob.size, places.iter().map(Reference::name).collect())
}

/// What is wrong with blobs.
fn check(remote: &Remote, needs: &BTreeMap<NeedKey, Need>, deep: bool) -> Result<BTreeMap<NeedKey, String>, Failure> {
    let wrong = Mutex::new(BTreeMap::new());
    let needs: Vec<(&NeedKey, &Need)> = needs.iter().collect();
    remote.each(&needs, |(key, (blob, places))| {
        let Some(place) = places.first() else { return Ok(()) };
        let repository = Repository { client: &remote.setup.client, name: place.clone() };
        if let Some(reason) = repository.check_blob(blob, places, deep)? {
            wrong.lock().unwrap_or_else(PoisonError::into_inner).insert((*key).clone(), reason);
        }
        Ok(())
    })?;
    Ok(wrong.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What is wrong with an entry, if anything is.
fn reason(needs: &[Need], entry: &Stored, wrong: &BTreeMap<NeedKey, String>) -> Option<String> {
    if let Content::Broken(reason) = &entry.content {
        return Some(reason.clone());
    }
    needs.iter().find_map(|need| wrong.get(&key(need)).cloned())
}

/// The registries of brik.toml and of the repositories that are looked at: entries lead to no others, as in a build.
struct Hosts(BTreeSet<String>);

impl Hosts {
    fn of(remote: &Remote) -> Self {
        let services = remote.setup.request.config.services.values().flat_map(|service| [&service.image].into_iter().chain(&service.cache));
        Self(services.chain(&remote.names).map(|repository| repository.registry.clone()).collect())
    }

    /// Every blob that an entry needs, as far as one of these has to have it. Nothing is known of the others.
    fn needs(&self, entry: &Stored, repository: &Repository) -> Vec<Need> {
        let known =
            |places: Vec<Reference>| places.into_iter().filter(|place| self.0.contains(&place.registry)).take(MOST_PLACES).collect();
        let needs = entry.needs(&repository.name).into_iter().map(|(blob, places)| (blob, known(places)));
        needs.filter(|(_, places): &Need| !places.is_empty()).collect()
    }
}

/// Removes broken entries whose manifests nothing else leads to. In the second place, why that was not possible.
fn remove(remote: &Remote, contents: &Contents, broken: &[(&Stored, String)]) -> Result<Option<Failure>, Failure> {
    if broken.is_empty() {
        return Ok(None);
    }
    let tags: BTreeSet<&str> = broken.iter().map(|(entry, _)| entry.tag.as_str()).collect();
    let mut stay = remote.protected(contents)?;
    stay.extend(contents.entries.iter().filter(|entry| !tags.contains(entry.tag.as_str())).filter_map(|entry| entry.digest));
    let digests = broken.iter().filter_map(|(entry, _)| entry.digest).filter(|digest| !stay.contains(digest)).collect();
    Ok(remote.remove(&contents.repository, &digests).err().map(|error| remote.failed(&error)))
}

impl Findings {
    fn text(&self, dry_run: bool) -> String {
        let mut out = String::new();
        for Broken { repository, tag, what, reason, key, .. } in &self.broken {
            let name = if tag.starts_with("last-") { tag } else { key };
            let what = if what.is_empty() { String::new() } else { format!("; {}", one_line(what)) };
            out.push_str(&format!("broken entry {name} of {repository}: {reason}{what}\n"));
        }
        let entries = |number: u64| format!("{number} {}", if number == 1 { "entry" } else { "entries" });
        let verb = if self.deep { "read" } else { "looked up" };
        out.push_str(&format!("{}, {} {verb}, {}: ", entries(self.entries), count(self.blobs, "blob"), size::bytes(self.bytes)));
        if self.broken.is_empty() {
            return out + "all is well\n";
        }
        out.push_str(&format!("{} broken\n", entries(self.broken.len() as u64)));
        out.push_str(match (self.removed, dry_run) {
            (true, _) => "they were removed; the next build runs again what it needs of them, and gives it anew\n",
            (false, true) => "nothing was removed; without --dry-run they are, and the next build gives anew what it needs of them\n",
            (false, false) => "not all could be removed; builds run again what they need of those, each time\n",
        });
        out
    }
}
