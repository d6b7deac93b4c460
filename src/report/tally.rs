//! What the events of a run add up to. Counted where events are emitted: nothing is lost to a stderr that nobody reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::{Event, Outcome, Transfer};
use crate::oci::Digest;

/// Steps and Services that have ended and bytes that have been moved by now.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    steps: HashMap<u64, Outcome>,
    services: BTreeSet<String>,
    /// By what [`Event::LayerProgress`] calls the service, and by blob: an upload that is begun anew counts once.
    moved: HashMap<(String, Transfer), HashMap<Digest, u64>>,
}

impl Tally {
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::StepFinished { id, outcome, .. } => drop(self.lock().steps.insert(*id, *outcome)),
            Event::ServiceFinished { service, .. } => drop(self.lock().services.insert(service.clone())),
            Event::LayerProgress { service, transfer, digest, bytes, .. } => {
                let mut counts = self.lock();
                let blobs = counts.moved.entry((service.clone(), *transfer)).or_default();
                let most = blobs.entry(*digest).or_default();
                *most = (*most).max(*bytes);
            }
            _ => {}
        }
    }

    /// How a Step has ended, if it was begun and has.
    pub fn step(&self, id: u64) -> Option<Outcome> {
        self.lock().steps.get(&id).copied()
    }

    /// How many Steps have run to their end.
    pub fn built(&self) -> usize {
        self.lock().steps.values().filter(|outcome| **outcome == Outcome::Built).count()
    }

    /// The Services that are finished.
    pub fn services(&self) -> Vec<String> {
        self.lock().services.iter().cloned().collect()
    }

    /// Bytes of Layers and configs that were moved for `service`, as events name it.
    pub fn moved(&self, service: &str, transfer: Transfer) -> u64 {
        self.lock().moved.get(&(service.to_owned(), transfer)).map_or(0, |blobs| blobs.values().sum())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_a_blob_counts_once_and_each_direction_for_itself() {
        let tally = Tally::default();
        let progress = |transfer, blob: &[u8], bytes| {
            tally.note(&Event::LayerProgress {
                service: "api".into(),
                transfer,
                digest: Digest::of(blob),
                bytes,
                total: None,
                mirror: None,
            });
        };
        progress(Transfer::Push, b"a", 10);
        progress(Transfer::Push, b"a", 30);
        progress(Transfer::Push, b"a", 20);
        progress(Transfer::Push, b"b", 5);
        progress(Transfer::Pull, b"a", 7);
        tally.note(&Event::StepFinished { id: 3, outcome: Outcome::Built, seconds: 1.0 });
        assert_eq!(
            (tally.moved("api", Transfer::Push), tally.moved("api", Transfer::Pull), tally.moved("web", Transfer::Pull)),
            (35, 7, 0)
        );
        assert_eq!((tally.step(3), tally.step(4), tally.built()), (Some(Outcome::Built), None, 1));
    }
}
