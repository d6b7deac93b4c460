//! What cache repositories have said in a run: nobody is asked twice, by whichever process of the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::artifact::{Entry, ImageEntry, StepEntry, TocEntry, TrailEntry};
use crate::oci::{Descriptor, DiffId, Digest, Reference};

/// Each costs another look at everything: a repository that has promised more of what cannot be had is not listened to any more, and none is
/// where so many lack so many blobs.
const MOST_LOST: usize = 8;

/// Identifies the places that an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlacesId(Digest);

impl PlacesId {
    pub fn of(places: &[Reference]) -> Self {
        Self(Digest::of(places.iter().map(|place| place.name() + "\n").collect::<String>().as_bytes()))
    }
}

/// A blob that could not be had, or that is not the layer it was called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss {
    pub blob: Digest,
    /// Of this size, as somebody has said, in bytes; of whichever, where the store has lost it.
    pub size: Option<u64>,
    /// It is there, and not this layer: it may well be another.
    pub not: Option<DiffId>,
    /// The places that entries have named for it, and that it could not be had from; who names others may do better. `None`: it is of no
    /// use wherever it is.
    pub tried: Option<BTreeSet<PlacesId>>,
}

impl Loss {
    /// Whether a blob is lost to whoever calls it so, and the layer of `diff_id`, wherever it is.
    fn is_of(&self, blob: &Descriptor, diff_id: Option<DiffId>) -> bool {
        self.blob == blob.digest && self.size.is_none_or(|size| size == blob.size) && (self.not.is_none() || self.not == diff_id)
    }

    /// Whether an entry is of no use for it.
    fn spoils(&self, entry: &impl Entry) -> bool {
        entry.blobs().iter().any(|blob| self.is_of(blob, entry.diff_id(&blob.digest)))
            && self.tried.as_ref().is_none_or(|tried| tried.contains(&PlacesId::of(entry.places())))
    }
}

#[derive(Default, Serialize, Deserialize)]
pub struct Known {
    pub(super) steps: Answers<StepEntry>,
    pub(super) images: Answers<ImageEntry>,
    pub(super) tocs: Answers<TocEntry>,
    /// By service and platform, with a space between them.
    #[serde(default)]
    pub(super) trails: Mutex<HashMap<String, Option<TrailEntry>>>,
    /// Repositories, and registries, that are not asked any more.
    closed: Mutex<BTreeSet<String>>,
    /// What could not be had, or is not what it should be.
    lost: Mutex<BTreeSet<Loss>>,
    /// How much of that each repository has promised, by its name.
    broken: Mutex<BTreeMap<String, usize>>,
    /// None of them is read any more.
    distrusted: Mutex<bool>,
    /// Entries that cannot be what they should be, by their tags.
    refused: Mutex<BTreeSet<String>>,
    /// What there is to tell, by what it is about: each once.
    told: Mutex<BTreeMap<String, Told>>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    /// `None` once it has been taken.
    message: Option<Message>,
    /// Repositories that it holds for, too.
    others: Vec<String>,
}

/// By the tag that was asked for, with its repository. `None`: there is no such entry.
pub(super) type Answers<E> = Mutex<HashMap<String, Option<E>>>;

impl Known {
    /// Says that a blob is of no use: entries that need it count as absent from now on.
    pub fn lose(&self, loss: Loss) {
        if !lock(&self.lost).insert(loss.clone()) {
            return;
        }
        let blobs: BTreeSet<Digest> = lock(&self.lost).iter().map(|loss| loss.blob).collect();
        for repository in self.promising(&loss) {
            let (count, many) = {
                let mut broken = lock(&self.broken);
                let count = broken.entry(repository.clone()).or_default();
                *count += 1;
                (*count, broken.len() >= MOST_LOST)
            };
            // What is gone from all of them is one thing.
            if many && blobs.len() >= MOST_LOST {
                self.distrust_all();
            } else if count == MOST_LOST {
                self.tell_distrust(&repository);
            }
        }
    }

    /// Reads none of the repositories any more that speak of a blob which was lost before; of all, if that has been done, too. Whether any
    /// was read until now.
    pub fn distrust(&self, lost: &Digest) -> bool {
        let mut anew = false;
        for repository in self.promising(&Loss { blob: *lost, size: None, not: None, tried: None }) {
            if !self.has_lost_much(&repository) {
                lock(&self.broken).insert(repository.clone(), MOST_LOST);
                self.tell_distrust(&repository);
                anew = true;
            }
        }
        anew || self.distrust_all()
    }

    fn distrust_all(&self) -> bool {
        self.warn("lost", "caches are not read any more in this run: they lack too much of what they promise".to_owned());
        !std::mem::replace(&mut *lock(&self.distrusted), true)
    }

    fn tell_distrust(&self, repository: &str) {
        let text = format!("cache {repository} is not read any more in this run: it lacks too much of what it promises");
        self.warn(&format!("{repository} (lost)"), text);
    }

    /// The repositories of entries that need what is lost.
    fn promising(&self, loss: &Loss) -> BTreeSet<String> {
        [spoilt(&self.steps, loss), spoilt(&self.images, loss), spoilt(&self.tocs, loss)].concat().into_iter().collect()
    }

    /// Whether a repository has promised too much, or too many have.
    pub(super) fn has_lost_much(&self, repository: &str) -> bool {
        *lock(&self.distrusted) || lock(&self.broken).get(repository).is_some_and(|count| *count >= MOST_LOST)
    }

    /// Whether a blob that is here is of no use as the layer of a DiffId.
    pub fn is_lost(&self, blob: &Descriptor, layer: DiffId) -> bool {
        lock(&self.lost).iter().any(|loss| loss.tried.is_none() && loss.is_of(blob, Some(layer)))
    }

    /// Whether an entry needs what is of no use, or can be had from none of its places.
    pub(super) fn is_spoilt(&self, entry: &impl Entry) -> bool {
        lock(&self.lost).iter().any(|loss| loss.spoils(entry))
    }

    /// Whether that has been told already.
    pub fn knows(&self, loss: &Loss) -> bool {
        lock(&self.lost).contains(loss)
    }

    pub(super) fn refuse(&self, entry: &Reference) {
        lock(&self.refused).insert(entry.to_string());
    }

    pub(super) fn is_refused(&self, entry: &Reference) -> bool {
        lock(&self.refused).contains(&entry.to_string())
    }

    pub(super) fn close(&self, repository: &str) {
        lock(&self.closed).insert(repository.to_owned());
    }

    pub(super) fn is_closed(&self, repository: &str) -> bool {
        lock(&self.closed).contains(repository)
    }

    /// Notes something to be told; of several about the same the first.
    pub fn notice(&self, about: &str, text: String) {
        self.note(about, Message::Notice(text));
    }

    /// Notes a notice about `repository` that may be made about others for the same reason: those are named behind the first.
    pub(super) fn shared_notice(&self, reason: &str, repository: &str, text: String) {
        let mut told = lock(&self.told);
        match told.get_mut(reason) {
            Some(told) => told.others.push(repository.to_owned()),
            None => drop(told.insert(reason.to_owned(), Told { message: Some(Message::Notice(text)), others: Vec::new() })),
        }
    }

    /// The same for what is wrong.
    pub fn warn(&self, about: &str, text: String) {
        self.note(about, Message::Warning(text));
    }

    fn note(&self, about: &str, message: Message) {
        lock(&self.told).entry(about.to_owned()).or_insert(Told { message: Some(message), others: Vec::new() });
    }

    /// What has not been told yet.
    pub fn take_messages(&self) -> Vec<Message> {
        let take = |told: &mut Told| {
            let others = std::mem::take(&mut told.others).join(", ");
            Some(told.message.take()?.and_also(&others))
        };
        lock(&self.told).values_mut().filter_map(take).collect()
    }
}

fn spoilt<E: Entry>(answers: &Answers<E>, loss: &Loss) -> Vec<String> {
    let answers = lock(answers);
    let needing = answers.iter().filter(|(_, entry)| entry.as_ref().is_some_and(|entry| loss.spoils(entry)));
    needing.filter_map(|(asked, _)| Some(asked.rsplit_once(':')?.0.to_owned())).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    Notice(String),
    Warning(String),
}

impl Message {
    /// The same with the repositories `others` named, if there are any.
    fn and_also(self, others: &str) -> Self {
        let named = |text: String| if others.is_empty() { text } else { format!("{text}; the same of {others}") };
        match self {
            Self::Notice(text) => Self::Notice(named(text)),
            Self::Warning(text) => Self::Warning(named(text)),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::artifact::TocEntry;
    use super::super::records::Claims;
    use super::*;

    #[test]
    fn who_says_something_false_of_a_blob_spoils_it_for_nobody_else() {
        let [blob, longer] = [3, 4].map(|size| Descriptor::new("layer", Digest::of(b"blob"), size));
        let [layer, other] = [b"layer", b"other"].map(|name| DiffId(Digest::of(name)));
        let lost = |loss: &Loss| {
            let known = Known::default();
            known.lose(loss.clone());
            [(&blob, layer), (&blob, other), (&longer, layer)].map(|(blob, layer)| known.is_lost(blob, layer))
        };
        let loss = Loss { blob: blob.digest, size: Some(3), not: None, tried: None };
        assert_eq!(lost(&loss), [true, true, false]);
        assert_eq!(lost(&Loss { not: Some(layer), ..loss.clone() }), [true, false, false]);
        assert_eq!(lost(&Loss { size: None, ..loss.clone() }), [true; 3]);
        assert_eq!(lost(&Loss { tried: Some(BTreeSet::new()), ..loss }), [false; 3], "it is here");
    }

    #[test]
    fn who_says_falsely_where_a_blob_is_spoils_it_for_nobody_who_knows_another_place() {
        let toc = Descriptor::new("toc", Digest::of(b"blob"), 3);
        let places = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Reference>>();
        let entry =
            |names: &[&str]| TocEntry { layer: DiffId(toc.digest), toc: toc.clone(), claimed_by: Claims::new(), places: places(names) };
        let (none, a, both): (&[&str], &[&str], &[&str]) = (&[], &["r.example/a"], &["r.example/a", "r.example/b"]);
        let spoilt = |tried: &[&[&str]]| {
            let known = Known::default();
            let tried = tried.iter().map(|names| PlacesId::of(&places(names))).collect();
            known.lose(Loss { blob: toc.digest, size: Some(3), not: None, tried: Some(tried) });
            [none, a, both].map(|names| known.is_spoilt(&entry(names)))
        };
        assert_eq!(spoilt(&[]), [false; 3]);
        assert_eq!(spoilt(&[none]), [true, false, false]);
        assert_eq!(spoilt(&[none, a]), [true, true, false]);
        assert_eq!(spoilt(&[both]), [false, false, true]);
    }

    #[test]
    fn one_blob_is_lost_once_however_many_steps_need_it() {
        let toc = Descriptor::new("toc", Digest::of(b"blob"), 3);
        let entry = TocEntry { layer: DiffId(toc.digest), toc: toc.clone(), claimed_by: Claims::new(), places: Vec::new() };
        let known = Known::default();
        lock(&known.tocs).insert("r.example/a-cache:t-1".to_owned(), Some(entry));
        let loss = |size| Loss { blob: toc.digest, size, not: None, tried: None };
        (0..MOST_LOST).for_each(|_| known.lose(loss(Some(3))));
        assert!(!known.has_lost_much("r.example/a-cache"));
        assert!(known.distrust(&toc.digest) && known.has_lost_much("r.example/a-cache") && !known.has_lost_much("r.example/b-cache"));
        assert!(known.distrust(&toc.digest) && known.has_lost_much("r.example/b-cache") && !known.distrust(&toc.digest));
    }

    #[test]
    fn one_blob_that_many_repositories_lack_is_one_thing() {
        let known = Known::default();
        let toc = |name: &str| Descriptor::new("toc", Digest::of(name.as_bytes()), 3);
        let lose = |names: &dyn Fn(usize) -> String| {
            for n in 0..MOST_LOST {
                let (toc, place) = (toc(&names(n)), format!("r.example/{n}").parse::<Reference>().unwrap());
                let tried = Some(BTreeSet::from([PlacesId::of(std::slice::from_ref(&place))]));
                let entry = TocEntry { layer: DiffId(toc.digest), toc: toc.clone(), claimed_by: Claims::new(), places: vec![place] };
                lock(&known.tocs).insert(format!("r.example/{n}:t-1"), Some(entry));
                known.lose(Loss { blob: toc.digest, size: Some(3), not: None, tried });
            }
            known.has_lost_much("r.example/another")
        };
        assert!(!lose(&|_| "one".to_owned()));
        assert!(lose(&|n| n.to_string()));
    }
}
