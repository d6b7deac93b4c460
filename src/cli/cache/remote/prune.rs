//! `brik cache prune --remote`: what no build asks for any more, as far as that can be known.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::{Contents, Failure, Remote, blobs, count, one_line, short_key, size, what};
use crate::cache::{Content, Reach, Stored};
use crate::cli::args::{Format, PlanArgs};
use crate::cli::cache::args::PruneArgs;
use crate::cli::failure::Code;
use crate::cli::since::plan_at;
use crate::config::Finding;
use crate::oci::Digest;
use crate::source::Commit;

#[derive(Serialize)]
struct Pruned {
    repositories: Vec<Repository>,
    dry_run: bool,
}

#[derive(Serialize)]
struct Repository {
    repository: String,
    /// Entries that stay.
    kept: u64,
    removed: Vec<Removed>,
    /// Of manifests and blobs that no other entry names: what the registry may free when it collects its garbage.
    bytes: u64,
}

#[derive(Serialize)]
struct Removed {
    tag: String,
    kind: String,
    what: String,
    digest: Digest,
    #[serde(skip)]
    key: String,
}

pub fn run(remote: &Remote, args: &PruneArgs) -> Result<ExitCode, Failure> {
    let contents = remote.read()?;
    if let Some((contents, entry)) = contents.iter().find_map(|contents| Some((contents, broken_trail(contents)?))) {
        return Err(Failure::failed(format!(
            "{}:{} cannot be read, so what it is worth to keep is not known; `brik cache verify --remote` removes it",
            contents.name(),
            entry.tag
        )));
    }
    let wanted = wanted(remote, args)?;
    let mut pruned = Pruned { repositories: Vec::new(), dry_run: args.dry_run };
    for contents in &contents {
        let (repository, digests) = choose(remote, contents, &wanted)?;
        if !args.dry_run {
            remote.remove(&contents.repository, &digests).map_err(|error| remote.failed(&error))?;
        }
        pruned.repositories.push(repository);
    }
    match args.format {
        Format::Json => remote.out_json(&pruned)?,
        Format::Human => remote.out(&pruned.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn broken_trail<'c>(contents: &'c Contents) -> Option<&'c Stored> {
    contents.entries.iter().find(|entry| entry.tag.starts_with("last-") && matches!(entry.content, Content::Broken(_)))
}

/// What builds of brik.toml would ask for, now and at the commits that are to be kept: of all services, for some may share a repository.
fn wanted(remote: &Remote, args: &PruneArgs) -> Result<Reach, Failure> {
    let (setup, all) = (&remote.setup, PlanArgs::default());
    let mut reach = Reach::default();
    if setup.request.config.services.is_empty() {
        return Ok(reach);
    }
    let planned = setup.plan(&all, false)?;
    reach.add_plan(&planned.plan);
    for name in &args.keep {
        let commit = Commit::at(&setup.request.config.root, name).map_err(|error| {
            let finding = Finding::error("brik::cache::keep", format!("--keep: {error}")).maybe_help(error.help());
            Failure::findings(Code::Usage, &[finding], Some(&setup.redactor))
        })?;
        let (plan, refused) = plan_at(setup, &all, &planned, &commit)?;
        reach.add_plan(&plan);
        if let Some((service, reason)) = refused.iter().next() {
            return Err(Failure::failed(setup.redactor.redact(&format!("--keep {name}: {service} cannot be planned there: {reason}"))));
        }
    }
    Ok(reach)
}

/// What is to go from one repository.
fn choose(remote: &Remote, contents: &Contents, wanted: &Reach) -> Result<(Repository, BTreeSet<Digest>), Failure> {
    let mut reach = wanted.clone();
    reach.add_trails(contents.entries.iter());
    let services = remote.setup.request.config.services.values();
    let used = services.filter_map(|service| service.cache.as_ref()).any(|cache| cache.same_repository(&contents.repository.name));
    let given = contents.entries.iter().any(|entry| matches!(entry.content, Content::Trail(_)));
    if !used && !given && contents.own().next().is_some() {
        return Err(Failure::failed(format!(
            "nothing says what of {} is of use: it is the cache of no service of brik.toml, and no image was given to it",
            contents.name()
        )));
    }
    let kept = reach.kept(&contents.entries);
    // Nobody's tags are asked for where nothing goes.
    let goes = kept.iter().any(|kept| !kept);
    let protected = if goes { remote.protected(contents)? } else { BTreeSet::new() };
    let stays = |(entry, kept): &(&Stored, bool)| *kept || entry.digest.is_none_or(|digest| protected.contains(&digest));
    let (stay, go): (Vec<_>, Vec<_>) = contents.entries.iter().zip(kept).partition(stays);
    let left = blobs(stay.iter().map(|(entry, _)| *entry));
    let bytes =
        blobs(go.iter().map(|(entry, _)| *entry)).into_iter().filter(|(digest, _)| !left.contains_key(digest)).map(|(_, size)| size);
    let removed = |(entry, _): &(&Stored, bool)| {
        let (tag, kind) = (entry.tag.clone(), entry.content.kind().to_owned());
        Some(Removed { tag, kind, what: what(entry), digest: entry.digest?, key: short_key(entry) })
    };
    let removed: Vec<Removed> = go.iter().filter_map(removed).collect();
    let digests = removed.iter().map(|removed| removed.digest).collect();
    let repository = contents.name();
    Ok((Repository { repository, kept: stay.len() as u64, bytes: bytes.sum(), removed }, digests))
}

impl Pruned {
    fn text(&self) -> String {
        let mut out = String::new();
        for Repository { repository, kept, removed, bytes } in &self.repositories {
            let verb = if self.dry_run { "would remove" } else { "removed" };
            for Removed { kind, key, what, .. } in removed {
                out.push_str(&format!("{verb} {kind} {key}: {}\n", one_line(what)));
            }
            let kept = match kept {
                1 => "1 entry stays".to_owned(),
                more => format!("{more} entries stay"),
            };
            out.push_str(&match removed.len() as u64 {
                0 => format!("{repository}: nothing to remove, {kept}\n"),
                some => {
                    let tags = count(some, "tag");
                    format!("{repository}: {verb} {tags}, {kept}; {} are the registry's to free\n", size::bytes(*bytes))
                }
            });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_told_entry_by_entry() {
        let digest = Digest::of(b"m");
        let removed =
            || Removed { tag: "s-1".to_owned(), kind: "step".to_owned(), what: "RUN a\nb".to_owned(), digest, key: "0123".to_owned() };
        let repository = |name: &str, removed| Repository { repository: name.to_owned(), kept: 1, removed, bytes: 2048 };
        let pruned = Pruned { repositories: vec![repository("r/a", vec![removed()]), repository("r/b", Vec::new())], dry_run: true };
        let expected = "would remove step 0123: RUN a…\n\
                        r/a: would remove 1 tag, 1 entry stays; 2.0 KiB are the registry's to free\n\
                        r/b: nothing to remove, 1 entry stays\n";
        assert_eq!(pruned.text(), expected);
    }
}
