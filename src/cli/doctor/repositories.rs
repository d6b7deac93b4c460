//! What may be written to repositories, tried as a build tries it: nothing stays there.

use super::check::Check;
use super::registries::Use;
use crate::build::ask_all;
use crate::cache::may_be_entry;
use crate::oci::{Descriptor, Digest, Document, Reference};
use crate::registry::{Client, Error};

/// Requests at the same time.
const AT_ONCE: usize = 8;
/// Repositories that are looked at for a blob to mount.
const LOOKED_AT: usize = 6;

pub fn checks(client: &Client, host: &str, purpose: &Use) -> Vec<Check> {
    let images: Vec<&Reference> = purpose.images.iter().collect();
    let caches: Vec<&Reference> = purpose.caches.difference(&purpose.images).collect();
    let (mut checks, refused) = written(client, &images, |name, error| refusal(Check::failed(name, error.to_string()), error));
    let lost = |name, error: &Error| refusal(Check::warning(name, format!("results are not shared: {error}")), error);
    let (of_caches, _) = written(client, &caches, lost);
    checks.extend(of_caches);
    if let Some(summary) = summary(host, images.len() + caches.len() - checks.len()) {
        checks.insert(0, summary);
    }
    if !images.is_empty() && !refused {
        checks.push(mounts(client, &images, &caches).of(host));
    }
    checks
}

const WRITE: &str = "write permission";

/// What is wrong with those that may not be written to, and whether there is one.
fn written(client: &Client, repositories: &[&Reference], wrong: impl Fn(&'static str, &Error) -> Check) -> (Vec<Check>, bool) {
    let asked = ask_all(repositories, AT_ONCE, |repository| client.preflight(repository));
    let wrong = repositories.iter().zip(asked).filter_map(|(repository, answer)| Some(wrong(WRITE, &answer.err()?).of(repository.name())));
    let checks: Vec<Check> = wrong.collect();
    let any = !checks.is_empty();
    (checks, any)
}

fn refusal(check: Check, error: &Error) -> Check {
    error.advice().into_iter().fold(check, Check::fix)
}

fn summary(host: &str, granted: usize) -> Option<Check> {
    let repositories = if granted == 1 { "1 repository".to_owned() } else { format!("{granted} repositories") };
    (granted > 0).then(|| Check::ok(WRITE, format!("{repositories} may be written to")).of(host))
}

/// Whether layers go from repository to repository without being sent. Asked with a blob that both have: one image's, if need be.
fn mounts(client: &Client, images: &[&Reference], caches: &[&Reference]) -> Check {
    const NAME: &str = "mount";
    let some: Vec<&Reference> = images.iter().chain(caches).take(LOOKED_AT).copied().collect();
    let mut held: Vec<(&Reference, Vec<Digest>)> = Vec::new();
    for (repository, blobs) in some.iter().zip(ask_all(&some, AT_ONCE, |repository| blobs(client, repository))) {
        held.extend(blobs.ok().flatten().map(|blobs| (*repository, blobs)));
    }
    let shared = held.iter().enumerate().find_map(|(at, (target, blobs))| {
        let (from, blob) =
            held[at + 1..].iter().find_map(|(from, others)| Some((*from, others.iter().find(|blob| blobs.contains(blob))?)))?;
        Some((*target, from, *blob))
    });
    let alone = || held.iter().find_map(|(repository, blobs)| Some((*repository, *repository, *blobs.first()?)));
    let Some((target, from, blob)) = shared.or_else(alone) else {
        return Check::ok(NAME, "not tried: nothing has been pushed there yet");
    };
    match client.may_mount(target, &blob, from) {
        Ok(true) if target == from => Check::ok(NAME, format!("{} takes over blobs that it has", target.name())),
        Ok(true) => Check::ok(NAME, format!("{} takes over blobs of {}", target.name(), from.name())),
        Ok(false) => Check::warning(NAME, "the registry takes no blobs over from other repositories: layers are sent to each"),
        Err(error) => refusal(Check::warning(NAME, error.to_string()), &error),
    }
}

/// The blobs of one image of a repository, if it has any.
fn blobs(client: &Client, repository: &Reference) -> Result<Option<Vec<Digest>>, Error> {
    let tags = client.tags(repository)?;
    // Of a cache repository, what names most blobs: an image's entry, a Step's.
    let entry = |kind: &str| tags.iter().find(|tag| may_be_entry(tag) && tag.starts_with(kind));
    let Some(tag) = entry("i-").or_else(|| entry("s-")).or(tags.first()) else { return Ok(None) };
    let Some((_, bytes)) = client.get_manifest(&repository.with_tag(tag))? else { return Ok(None) };
    Ok(match Document::parse(&bytes) {
        Ok(Document::Manifest(manifest)) => {
            Some(manifest.layers.iter().chain([&manifest.config]).map(|Descriptor { digest, .. }| *digest).collect())
        }
        _ => None,
    })
}
