//! Blobs on their way, put together by whose they are: what one pull or push moves is told as one thing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::event::Transfer;
use super::text;
use crate::oci::Digest;

/// Those groups of which something is on its way, or was a moment ago.
#[derive(Default)]
pub(super) struct Transfers {
    groups: Vec<Group>,
}

/// All that a Service pushes, or that is pulled from a repository, without a pause.
pub(super) struct Group {
    /// The Service or the repository.
    pub name: String,
    pub transfer: Transfer,
    pub since: Duration,
    last: Duration,
    blobs: HashMap<Digest, Blob>,
    /// That some of it came from.
    mirrors: BTreeSet<String>,
}

struct Blob {
    bytes: u64,
    total: Option<u64>,
}

/// The longest pause between two blobs that belong together.
const PAUSE: Duration = Duration::from_millis(150);

impl Transfers {
    /// Takes in one [`Event::LayerProgress`](super::event::Event::LayerProgress).
    pub fn note(&mut self, name: &str, transfer: Transfer, digest: Digest, blob: (u64, Option<u64>), now: Duration) {
        // A blob that is begun in another place has not come from where it was begun before.
        for group in self.groups.iter_mut().filter(|group| group.transfer == transfer && group.name != name) {
            group.blobs.retain(|other, blob| *other != digest || blob.is_here());
        }
        self.groups.retain(|group| !group.blobs.is_empty());
        let at = self.groups.iter().position(|group| group.name == name && group.transfer == transfer);
        let at = at.unwrap_or_else(|| {
            let (blobs, mirrors) = (HashMap::new(), BTreeSet::new());
            self.groups.push(Group { name: name.to_owned(), transfer, since: now, last: now, blobs, mirrors });
            self.groups.len() - 1
        });
        let (bytes, total) = blob;
        self.groups[at].blobs.insert(digest, Blob { bytes, total });
        self.groups[at].last = now;
    }

    /// Takes in where a blob has come from that is pulled from the repository `name`.
    pub fn note_mirror(&mut self, name: &str, mirror: Option<&str>) {
        let group = self.groups.iter_mut().find(|group| group.name == name && group.transfer == Transfer::Pull);
        group.into_iter().for_each(|group| group.mirrors.extend(mirror.map(str::to_owned)));
    }

    /// In the order of their beginning.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Takes out the groups of which all is here and nothing has followed.
    pub fn ended(&mut self, now: Duration) -> Vec<Group> {
        self.take(|group| group.is_here() && now.saturating_sub(group.last) >= PAUSE)
    }

    /// Takes out what `service` has pushed, if all of it is there.
    pub fn pushed(&mut self, service: &str) -> Vec<Group> {
        self.take(|group| group.is_here() && group.transfer == Transfer::Push && group.name == service)
    }

    fn take(&mut self, which: impl Fn(&Group) -> bool) -> Vec<Group> {
        self.groups.extract_if(.., |group| which(group)).collect()
    }
}

impl Group {
    fn is_here(&self) -> bool {
        self.blobs.values().all(Blob::is_here)
    }

    /// `12.3 MB of 45.6 MB`, of the blobs that were begun.
    pub fn progress(&self) -> String {
        let total = self.blobs.values().map(|blob| blob.total.unwrap_or(blob.bytes)).sum();
        format!("{} of {}", text::bytes(self.bytes()), text::bytes(total))
    }

    /// `pulled docker.io/library/node: 5 blobs, 45.6 MB in 3.2s, from the mirror mirror.local`.
    pub fn summary(&self) -> String {
        let what = match self.transfer {
            Transfer::Pull => format!("pulled {}:", self.name),
            Transfer::Push => format!("{}: uploaded", self.name),
        };
        let seconds = self.last.saturating_sub(self.since).as_secs_f64();
        let blobs = text::count(self.blobs.len() as u64, "blob");
        let from: String = self.mirrors.iter().map(|mirror| format!(", from the mirror {mirror}")).collect();
        format!("{what} {blobs}, {} in {}{from}", text::bytes(self.bytes()), text::seconds(seconds))
    }

    fn bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.bytes).sum()
    }
}

impl Blob {
    fn is_here(&self) -> bool {
        self.total.is_none_or(|total| self.bytes >= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn blobs_without_a_pause_between_them_are_one_pull() {
        let mut transfers = Transfers::default();
        let mut note = |blob: &[u8], bytes, now| {
            transfers.note("docker.io/library/node", Transfer::Pull, Digest::of(blob), (bytes, Some(1_000_000)), at(now));
            transfers.ended(at(now)).len()
        };
        assert_eq!([note(b"a", 0, 0), note(b"a", 1_000_000, 900), note(b"b", 400_000, 1000)], [0, 0, 0]);
        assert!(transfers.ended(at(60_000)).is_empty(), "one blob is not here");
        assert_eq!(transfers.groups()[0].progress(), "1.4 MB of 2.0 MB");
        transfers.note("docker.io/library/node", Transfer::Pull, Digest::of(b"b"), (1_000_000, Some(1_000_000)), at(2000));
        assert!(transfers.ended(at(2100)).is_empty());
        let ended = transfers.ended(at(2150));
        assert_eq!(ended[0].summary(), "pulled docker.io/library/node: 2 blobs, 2.0 MB in 2.0s");
        assert!(transfers.groups().is_empty());
    }

    #[test]
    fn a_blob_that_comes_from_another_place_is_no_longer_waited_for() {
        let mut transfers = Transfers::default();
        transfers.note("mirror/node", Transfer::Pull, Digest::of(b"a"), (10, Some(100)), at(0));
        transfers.note("origin/node", Transfer::Pull, Digest::of(b"a"), (100, Some(100)), at(10));
        let names: Vec<&str> = transfers.groups().iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["origin/node"]);
    }

    #[test]
    fn what_a_service_has_pushed_is_told_when_its_tag_is() {
        let mut transfers = Transfers::default();
        transfers.note("api", Transfer::Push, Digest::of(b"a"), (5, Some(5)), at(0));
        transfers.note("web", Transfer::Push, Digest::of(b"b"), (5, Some(5)), at(0));
        assert_eq!(transfers.pushed("api")[0].summary(), "api: uploaded 1 blob, 5 B in 0.0s");
        assert_eq!(transfers.groups().len(), 1);
    }
}
