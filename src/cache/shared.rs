//! Cache repositories: asked for records, given new ones. Nothing here fails a build.

use std::collections::BTreeMap;

use super::artifact::{self, Entry, ImageEntry, StepEntry, TocEntry, TrailEntry};
use super::known::{Answers, Known, lock};
use super::mount::MountEntry;
use super::records::Claims;
use crate::oci::{Descriptor, DiffId, Digest, Platform, Reference, media_type};
use crate::plan::CacheKey;
use crate::registry::{Client, Error};

/// Repositories of a question: a Step that many services share is asked for in those of all of them, where none has it. Questions are
/// asked at the same time, too.
const ASKED_AT_ONCE: usize = 4;

/// The cache repositories of a service.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Asked in this order.
    pub read: Vec<Reference>,
    /// What was taken from them before is believed, whether they are asked now or not.
    pub believed: Vec<Reference>,
    pub write: Option<Reference>,
}

/// What a run believes of what was remembered of something that some services need: what their own cache repositories say. It may be made
/// of something that others need, too, and that theirs spoke of: then it is asked for again.
#[derive(Clone, Copy)]
pub struct Belief<'a> {
    /// Nothing that a cache repository has said, if there are none.
    pub shared: Option<&'a Shared<'a>>,
    pub services: &'a [String],
}

impl Belief<'_> {
    /// Whether all that `claims` names is believed, and none of the layers turned out to be of no use.
    pub fn holds<'d>(self, claims: &Claims, layers: impl IntoIterator<Item = (&'d Descriptor, DiffId)>) -> bool {
        let Some(shared) = self.shared else { return claims.is_empty() };
        shared.believes(claims, self.services) && !layers.into_iter().any(|(blob, diff_id)| shared.known.is_lost(blob, diff_id))
    }
}

pub struct Shared<'a> {
    client: Client,
    /// By service.
    places: BTreeMap<String, Places>,
    pub known: &'a Known,
}

impl<'a> Shared<'a> {
    pub fn new(client: Client, places: BTreeMap<String, Places>, known: &'a Known) -> Self {
        Self { client, places, known }
    }

    /// Whether anything is asked at all.
    pub fn is_read(&self) -> bool {
        self.places.values().any(|places| !places.read.is_empty())
    }

    /// All repositories that are read or written.
    pub fn repositories(&self) -> impl Iterator<Item = &Reference> {
        self.places.values().flat_map(|places| places.read.iter().chain(&places.write))
    }

    /// Whether what rests on the word of these repositories counts for something that `services` need.
    fn believes(&self, claims: &Claims, services: &[String]) -> bool {
        let believed = services.iter().filter_map(|service| self.places.get(service)).flat_map(|places| &places.believed);
        claims.iter().all(|claim| believed.clone().any(|place| place.name() == *claim))
    }

    /// Whether anything is written at all.
    pub fn is_written(&self) -> bool {
        self.places.values().any(|places| places.write.is_some())
    }

    /// What the repositories of `services` know of a Step.
    pub fn step(&self, key: &CacheKey, services: &[String]) -> Option<StepEntry> {
        self.ask(&self.known.steps, &tag(STEP, &key.0), services)
    }

    /// What the repositories of a service know of an image.
    pub fn image(&self, key: &CacheKey, service: &str) -> Option<ImageEntry> {
        self.ask(&self.known.images, &tag(IMAGE, &key.0), &[service.to_owned()])
    }

    /// An image's entry does not say what its Dockerfile does: it counts as absent.
    pub fn refuse_image(&self, key: &CacheKey, entry: &ImageEntry, service: &str) {
        let tag = tag(IMAGE, &key.0);
        for place in self.places.get(service).into_iter().flat_map(|places| &places.read).map(|place| place.with_tag(&tag)) {
            let is_it = matches!(lock(&self.known.images).get(&place.to_string()), Some(Some(found)) if found == entry);
            if is_it {
                self.refuse(&place, "is not what the Dockerfile makes of its layers");
            }
        }
    }

    /// The table of contents of a layer, if the repositories of `services` have it.
    pub fn toc(&self, layer: &DiffId, services: &[String]) -> Option<TocEntry> {
        self.ask(&self.known.tocs, &tag(TOC, &layer.0), services)
    }

    /// The repositories that take what was made for `services`, each once.
    pub fn written(&self, services: &[String]) -> Vec<Reference> {
        let mut places: Vec<Reference> = Vec::new();
        for place in services.iter().filter_map(|service| self.places.get(service)?.write.as_ref()) {
            if !places.contains(place) && !self.is_closed(place, &for_writing(place)) {
                places.push(place.clone());
            }
        }
        places
    }

    /// The directory of a cache mount as the first repository of `services` has it that has any.
    pub fn mount(&self, id: &Digest, services: &[String]) -> Option<MountEntry> {
        self.ask(&Answers::default(), &mount(id), services)
    }

    /// The same as one repository has it.
    pub fn mount_in(&self, repository: &Reference, id: &Digest) -> Result<Option<MountEntry>, Error> {
        let found = self.client.get_manifest(&repository.with_tag(&mount(id)))?;
        Ok(found.and_then(|(_, manifest)| artifact::read(&manifest, repository)))
    }

    /// Whether a repository has an entry that is of use to `services`, as far as this run knows: one that is not is replaced.
    pub fn has_step(&self, repository: &Reference, key: &CacheKey, services: &[String]) -> Result<bool, Error> {
        self.has(&self.known.steps, repository, &tag(STEP, &key.0), services)
    }

    pub fn has_image(&self, repository: &Reference, key: &CacheKey, services: &[String]) -> Result<bool, Error> {
        self.has(&self.known.images, repository, &tag(IMAGE, &key.0), services)
    }

    pub fn has_toc(&self, repository: &Reference, layer: &DiffId, services: &[String]) -> Result<bool, Error> {
        self.has(&self.known.tocs, repository, &tag(TOC, &layer.0), services)
    }

    /// Of what rests on `claims`, those that its entry in a repository is to name, so that it counts only where they are believed, too: what
    /// else the services read that write there. A Step that they share with others may come from the caches of those.
    pub fn claims_in(&self, repository: &Reference, claims: &Claims, services: &[String]) -> Claims {
        let writers =
            services.iter().filter_map(|service| self.places.get(service)).filter(|places| places.write.as_ref() == Some(repository));
        let others: Claims =
            writers.flat_map(|places| &places.believed).map(Reference::name).filter(|name| *name != repository.name()).collect();
        claims & &others
    }

    /// What the image of a service that was given last was made of.
    pub fn trail(&self, service: &str, platform: &Platform) -> Option<TrailEntry> {
        let asked = format!("{service} {platform}");
        let answered = lock(&self.known.trails).get(&asked).cloned();
        answered.unwrap_or_else(|| {
            let trail = self.ask(&Answers::default(), &last(platform), &[service.to_owned()]);
            lock(&self.known.trails).insert(asked, trail.clone());
            trail
        })
    }

    /// A small blob that an entry names.
    pub fn read_blob(&self, places: &[Reference], blob: &Descriptor) -> Option<Vec<u8>> {
        const LIMIT: u64 = 64 << 20;
        places.iter().find_map(|place| self.client.read_blob(place, blob, LIMIT).ok())
    }

    /// Writes an entry; `blobs` are those of its blobs that the repository has, the empty one not counted, which it needs to have.
    pub fn put_step(&self, repository: &Reference, key: &CacheKey, entry: &StepEntry, blobs: Vec<Descriptor>) -> Result<(), Error> {
        self.put(repository, &tag(STEP, &key.0), entry, blobs)
    }

    pub fn put_image(&self, repository: &Reference, key: &CacheKey, entry: &ImageEntry, blobs: Vec<Descriptor>) -> Result<(), Error> {
        self.put(repository, &tag(IMAGE, &key.0), entry, blobs)
    }

    pub fn put_toc(&self, repository: &Reference, entry: &TocEntry, blobs: Vec<Descriptor>) -> Result<(), Error> {
        self.put(repository, &tag(TOC, &entry.layer.0), entry, blobs)
    }

    /// Puts the entry of a cache mount in the place of what is there; the repository has its chunks and the empty blob.
    pub fn put_mount(&self, repository: &Reference, id: &Digest, entry: &MountEntry) -> Result<(), Error> {
        self.put(repository, &mount(id), entry, entry.descriptors())
    }

    pub fn put_trail(&self, repository: &Reference, platform: &Platform, entry: &TrailEntry) -> Result<(), Error> {
        self.put(repository, &last(platform), entry, Vec::new())
    }

    /// Gives up writing to a repository, and says why.
    pub fn stop_writing(&self, repository: &Reference, error: &Error) {
        let (place, name) = (for_writing(repository), repository.name());
        match error {
            Error::Unauthorized { .. } | Error::Denied { .. } => {
                let is_read = !self.known.is_closed(&name);
                self.known.close(&place);
                self.refused(repository, if is_read { "only read" } else { "neither read nor written" }, error);
            }
            error if error.is_gone() => self.lose_host(repository, error),
            error => self.give_up_writing(repository, &error.to_string()),
        }
    }

    pub fn give_up_writing(&self, repository: &Reference, reason: &str) {
        let place = for_writing(repository);
        self.known.close(&place);
        self.known.warn(&place, format!("cache {} is not written any more in this run: {reason}", repository.name()));
    }

    /// Who does not answer for one repository does not for others.
    fn lose_host(&self, repository: &Reference, error: &Error) {
        let host = &repository.registry;
        self.known.close(host);
        self.known.warn(host, format!("caches of {host} are not read or written any more in this run: {error}"));
    }

    fn is_closed(&self, repository: &Reference, name: &str) -> bool {
        self.known.is_closed(name) || self.known.is_closed(&repository.registry)
    }

    fn is_of_use(&self, entry: &impl Entry, services: &[String]) -> bool {
        let is_believed = entry.claimed_by().is_none_or(|claims| self.believes(claims, services));
        is_believed && !self.known.is_spoilt(entry)
    }

    /// What the first of the repositories of `services` has that has any. The first is asked alone, as it mostly has what any has.
    fn ask<E: Entry + Clone>(&self, answers: &Answers<E>, tag: &str, services: &[String]) -> Option<E> {
        let read = services.iter().filter_map(|service| self.places.get(service)).flat_map(|places| &places.read);
        let mut places: Vec<&Reference> = Vec::new();
        for place in read {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let (first, others) = places.split_first()?;
        let ask = |place: &Reference| self.ask_one(answers, place, tag).filter(|entry| self.is_of_use(entry, services));
        ask(first).or_else(|| others.chunks(ASKED_AT_ONCE).find_map(|places| at_once(places, ask)))
    }

    /// What a repository has, if it can be read.
    fn ask_one<E: Entry + Clone>(&self, answers: &Answers<E>, place: &Reference, tag: &str) -> Option<E> {
        if self.known.has_lost_much(&place.name()) {
            return None;
        }
        let reference = place.with_tag(tag);
        let asked = reference.to_string();
        let answered = lock(answers).get(&asked).cloned();
        let entry = answered.unwrap_or_else(|| {
            let entry = self.request(place, &reference);
            lock(answers).insert(asked, entry.clone());
            entry
        });
        entry.filter(|_| !self.known.is_refused(&reference))
    }

    fn request<E: Entry>(&self, place: &Reference, reference: &Reference) -> Option<E> {
        if self.is_closed(place, &place.name()) {
            return None;
        }
        match self.client.get_manifest(reference) {
            Ok(None) => None,
            Ok(Some((_, manifest))) => {
                let entry = artifact::read(&manifest, reference);
                if entry.is_none() {
                    self.refuse(reference, "cannot be read");
                }
                entry
            }
            Err(error) => {
                self.stop_reading(place, &error);
                None
            }
        }
    }

    /// Says why an entry counts as absent. The next that is given takes its place.
    fn refuse(&self, entry: &Reference, why: &str) {
        self.known.warn(&entry.name(), format!("cache entry {entry} {why}, it counts as absent"));
        self.known.refuse(entry);
    }

    fn stop_reading(&self, place: &Reference, error: &Error) {
        if error.is_gone() {
            return self.lose_host(place, error);
        }
        let name = place.name();
        self.known.close(&name);
        match error {
            // So some registries answer where there is no repository yet.
            Error::Unauthorized { .. } | Error::Denied { .. } => self.refused(place, "not read", error),
            _ => self.known.warn(&name, format!("cache {name} is not read any more in this run: {error}")),
        }
    }

    /// Notes that a registry has said no, once for all repositories to which it has said so for the same reason.
    fn refused(&self, repository: &Reference, fate: &str, error: &Error) {
        let name = repository.name();
        let reason = match error {
            Error::Unauthorized { status, credentials, .. } | Error::Denied { status, credentials, .. } => {
                format!("{} {fate} {status} {credentials}", repository.registry)
            }
            _ => format!("{name} {fate}"),
        };
        self.known.shared_notice(&reason, &name, format!("cache {name} is {fate}: {error}"));
    }

    fn has<E: Entry>(&self, answers: &Answers<E>, repository: &Reference, tag: &str, services: &[String]) -> Result<bool, Error> {
        let (reference, name) = (repository.with_tag(tag), repository.name());
        let is_spoilt = matches!(lock(answers).get(&reference.to_string()), Some(Some(entry)) if !self.is_of_use(entry, services));
        if is_spoilt || self.known.is_refused(&reference) {
            return Ok(false);
        }
        let asked = self.client.head_before_push(&reference);
        // Who may not write may still read: that is found out as a reader.
        if matches!(asked, Err(Error::Unauthorized { .. } | Error::Denied { .. }))
            && !self.known.is_closed(&name)
            && matches!(self.client.head_manifest(&reference), Err(Error::Unauthorized { .. } | Error::Denied { .. }))
        {
            self.known.close(&name);
        }
        Ok(asked?.is_some())
    }

    fn put<E: Entry>(&self, repository: &Reference, tag: &str, entry: &E, blobs: Vec<Descriptor>) -> Result<(), Error> {
        let Ok(manifest) = artifact::write(entry, blobs) else { return Ok(()) };
        self.client.put_manifest(&repository.with_tag(tag), &manifest, media_type::OCI_MANIFEST).map(drop)
    }
}

fn at_once<E: Send>(places: &[&Reference], ask: impl Fn(&Reference) -> Option<E> + Sync) -> Option<E> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = places.iter().map(|place| scope.spawn(|| ask(place))).collect();
        asked.into_iter().find_map(|asked| asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// The blob that every entry's manifest names: it has to be in the repository.
pub fn empty_blob() -> (Descriptor, &'static [u8]) {
    (artifact::empty(), artifact::EMPTY)
}

/// First letters of tags.
pub(super) const STEP: char = 's';
pub(super) const IMAGE: char = 'i';
pub(super) const TOC: char = 't';
pub(super) const MOUNT: char = 'm';
/// How the tags begin that say what was given last.
pub(super) const LAST: &str = "last-";

fn tag(letter: char, key: &Digest) -> String {
    format!("{letter}-{}", key.hex())
}

fn mount(id: &Digest) -> String {
    format!("{MOUNT}-{}", id.hex())
}

fn last(platform: &Platform) -> String {
    format!("{LAST}{}", platform.to_string().replace('/', "-"))
}

/// Reading and writing are given up on their own.
fn for_writing(repository: &Reference) -> String {
    format!("{} (writing)", repository.name())
}
