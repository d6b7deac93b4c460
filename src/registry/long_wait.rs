//! Waits that a registry imposes, told while they last: silence for a minute looks like a hang.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Reply;
use super::http::Failure;

/// Shorter waits are nobody's concern.
const LONG: Duration = Duration::from_secs(3);

/// The first long wait at a registry. Those that follow, and those of other threads, are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongWait {
    pub registry: String,
    pub wait: Duration,
    pub status: u16,
    pub reply: Reply,
}

impl fmt::Display for LongWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, wait, status, reply } = self;
        write!(f, "{registry} limits requests (status {status}: {reply}): brik waits as long as it asks, {:.0} s now", wait.as_secs_f64())
    }
}

type Listener = Arc<dyn Fn(&LongWait) + Send + Sync>;

#[derive(Default)]
pub(super) struct LongWaits(Mutex<State>);

#[derive(Default)]
struct State {
    /// Registries.
    noted: BTreeSet<String>,
    /// What came before anybody listened.
    untold: Vec<LongWait>,
    listener: Option<Listener>,
}

impl LongWaits {
    /// A wait that begins, because of `failure`.
    pub(super) fn note(&self, wait: Duration, failure: &Failure) {
        let Failure::Refused(refusal) = failure else { return };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wait < LONG || !state.noted.insert(refusal.at.registry.clone()) {
            return;
        }
        let (status, reply) = (refusal.status.as_u16(), refusal.reply.clone());
        state.untold.push(LongWait { registry: refusal.at.registry.clone(), wait, status, reply });
        tell(state);
    }

    pub(super) fn listen(&self, listener: Listener) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.listener = Some(listener);
        tell(state);
    }

    pub(super) fn take(&self) -> Vec<LongWait> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).untold)
    }
}

/// Tells the listener, if there is one, what is untold. It may use the client: nothing is locked meanwhile.
fn tell(mut state: std::sync::MutexGuard<'_, State>) {
    let Some(listener) = state.listener.clone() else { return };
    let untold = std::mem::take(&mut state.untold);
    drop(state);
    untold.iter().for_each(|wait| listener(wait));
}
