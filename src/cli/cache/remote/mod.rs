//! `brik cache … --remote`: the same for cache repositories. Whoever may read them may look; to remove something takes more.

pub mod du;
pub mod ls;
pub mod prune;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::{Failure, count, one_line, print, size};
use crate::build::{ask_all, fan_out};
use crate::cache::{Content, Repository, Stored, may_be_entry};
use crate::cli::args::{Global, PlanArgs, Progress};
use crate::cli::cache::args::RemoteArgs;
use crate::cli::cache_places::repository;
use crate::cli::failure::{Code, Voice};
use crate::cli::planning::{Setup, learn};
use crate::config::Finding;
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::Error;

/// Requests at the same time.
const AT_ONCE: usize = 16;
/// Reading more entries than this takes long enough to be told.
const MANY: usize = 200;

/// Whose cache repositories are meant.
pub struct Remote {
    setup: Setup,
    voice: Voice,
    /// Each once.
    names: Vec<Reference>,
}

/// What stands in one of them.
struct Contents<'r> {
    repository: Repository<'r>,
    /// In the order of their tags.
    entries: Vec<Stored>,
    /// Tags that are nobody's business here.
    foreign: Vec<String>,
}

impl Remote {
    pub fn new(global: &Global, args: &RemoteArgs) -> Result<Self, Failure> {
        let setup = Setup::new(global, &PlanArgs { services: args.services.clone(), ..PlanArgs::default() })?;
        let asked = |name: &String| setup.request.services.is_empty() || setup.request.services.contains(name);
        let services = setup.request.config.services.iter().filter(|(name, _)| asked(name));
        let all = match args.repository.is_empty() {
            true => services.filter_map(|(_, service)| service.cache.clone()).collect(),
            false => args.repository.iter().map(|text| repository("--repository", text)).collect::<Result<Vec<_>, _>>()?,
        };
        let mut names: Vec<Reference> = Vec::new();
        for name in all {
            if !names.iter().any(|known| known.same_repository(&name)) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(Failure::usage("there is no cache repository: `cache` is false for these services; name one with --repository"));
        }
        if setup.request.progress != Progress::Quiet {
            setup.client.on_long_wait(|wait| print::err(&format!("{wait}\n")));
        }
        Ok(Self { setup, voice: Voice::of(global), names })
    }

    /// Reads every entry of every repository.
    fn read(&self) -> Result<Vec<Contents<'_>>, Failure> {
        let listed = ask_all(&self.names, AT_ONCE, |name| self.setup.client.tags(name));
        let mut contents = Vec::new();
        let mut wanted = Vec::new();
        for (name, tags) in self.names.iter().zip(listed) {
            let (entries, foreign): (Vec<String>, Vec<String>) =
                tags.map_err(|error| self.failed(&error))?.into_iter().partition(|tag| may_be_entry(tag));
            let index = contents.len();
            wanted.extend(entries.into_iter().map(|tag| (index, tag)));
            let repository = Repository { client: &self.setup.client, name: name.clone() };
            contents.push(Contents { repository, entries: Vec::new(), foreign });
        }
        if wanted.len() > MANY {
            self.tell(&format!("reading {} entries", wanted.len()));
        }
        let read = Mutex::default();
        self.each(&wanted, |(index, tag)| {
            if let Some(stored) = contents[*index].repository.stored(tag)? {
                let mut read: std::sync::MutexGuard<Vec<(usize, Stored)>> = read.lock().unwrap_or_else(PoisonError::into_inner);
                read.push((*index, stored));
            }
            Ok(())
        })?;
        for (index, stored) in read.into_inner().unwrap_or_else(PoisonError::into_inner) {
            contents[index].entries.push(stored);
        }
        contents.iter_mut().for_each(|contents| contents.entries.sort_by(|a, b| a.tag.cmp(&b.tag)));
        Ok(contents)
    }

    /// Asks a registry for each of some things; the first failure is that of the command.
    fn each<T: Sync>(&self, items: &[T], ask: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Failure> {
        fan_out(items, AT_ONCE, ask).map_err(|error| self.failed(&error))
    }

    /// The digests behind tags that are not brik's: what they lead to is not removed, whoever else names it.
    fn protected(&self, contents: &Contents) -> Result<BTreeSet<Digest>, Failure> {
        let digests = Mutex::new(BTreeSet::new());
        self.each(&contents.foreign, |tag| {
            let digest = contents.repository.digest(tag)?;
            digests.lock().unwrap_or_else(PoisonError::into_inner).extend(digest);
            Ok(())
        })?;
        let known = contents.entries.iter().filter(|entry| matches!(entry.content, Content::Foreign)).filter_map(|entry| entry.digest);
        let mut digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
        digests.extend(known);
        Ok(digests)
    }

    /// Removes manifests. The first failure ends it.
    fn remove(&self, repository: &Repository, digests: &BTreeSet<Digest>) -> Result<(), Error> {
        let digests: Vec<Digest> = digests.iter().copied().collect();
        fan_out(&digests, AT_ONCE, |digest| self.setup.client.delete_manifest(&repository.name, digest).map(drop))
    }

    fn failed(&self, error: &Error) -> Failure {
        // Worth less than the error.
        let _ = learn(&self.setup.redactor, &self.setup.client);
        let finding = Finding::error("brik::cache::remote", error.to_string()).maybe_help(error.advice());
        Failure::findings(Code::Failed, &[finding], Some(&self.setup.redactor))
    }

    /// Says on stderr what takes its time.
    fn tell(&self, text: &str) {
        if !matches!(self.setup.request.progress, Progress::Quiet | Progress::Json) {
            print::err(&format!("{}\n", self.setup.redactor.redact(text)));
        }
    }

    /// Results for people or machines, with no secret in them.
    fn out(&self, text: &str) -> Result<(), Failure> {
        learn(&self.setup.redactor, &self.setup.client)?;
        print::out(&self.setup.redactor.redact(text))
    }

    fn out_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
        self.out(&format!("{json}\n"))
    }
}

impl Contents<'_> {
    fn name(&self) -> String {
        self.repository.name.name()
    }

    /// Those that are brik's.
    fn own(&self) -> impl Iterator<Item = &Stored> {
        self.entries.iter().filter(|entry| !matches!(entry.content, Content::Foreign))
    }
}

/// What an entry was, for people.
fn what(entry: &Stored) -> String {
    match &entry.content {
        Content::Step(step) => step.record.inputs.text(),
        Content::Image(image) => {
            let layers = count(image.record.layers.len() as u64, "layer");
            format!("image {}, {layers}", image.record.manifest.digest.short())
        }
        Content::Trail(trail) => {
            let steps = count(trail.trail.steps.len() as u64, "step");
            format!("what the image was made of that was given last, in {steps}")
        }
        Content::Toc(toc) => format!("table of contents of layer {}", toc.layer.0.short()),
        Content::Mount(mount) => format!("cache mount, {} of {}", count(mount.files, "file"), size::bytes(mount.bytes)),
        Content::Other(kind) => format!("a {kind}, of a newer brik"),
        Content::Broken(reason) => format!("cannot be read: {reason}"),
        Content::Foreign => "not brik's".to_owned(),
    }
}

/// The key of an entry as people see it, or what stands in its place.
fn short_key(entry: &Stored) -> String {
    entry.tag.split_once('-').map_or(String::new(), |(_, key)| if key.len() == 64 { key[..12].to_owned() } else { key.to_owned() })
}

/// The blobs that manifests name, each once, with their sizes; and the manifests themselves.
fn blobs<'s>(entries: impl Iterator<Item = &'s Stored>) -> BTreeMap<Digest, u64> {
    let mut blobs = BTreeMap::new();
    for entry in entries {
        blobs.extend(entry.blobs.iter().map(|Descriptor { digest, size, .. }| (*digest, *size)));
        blobs.extend(entry.digest.map(|digest| (digest, entry.size)));
    }
    blobs
}
