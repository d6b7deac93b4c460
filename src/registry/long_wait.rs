//! Waits that a registry imposes, by asking for time or by saying nothing, told while they last: silence for a minute looks like a hang.

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
pub enum LongWait {
    Limited {
        registry: String,
        wait: Duration,
        status: u16,
        reply: Reply,
    },
    /// `error`: what ended in silence, and is asked once more.
    Silent {
        error: String,
    },
}

impl fmt::Display for LongWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited { registry, wait, status, reply } => {
                let seconds = wait.as_secs_f64();
                write!(f, "{registry} limits requests (status {status}: {reply}): brik waits as long as it asks, {seconds:.0} s now")
            }
            Self::Silent { error } => write!(f, "{error}: brik asks again"),
        }
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
    /// A wait that begins, because of `failure`, or that `silence` was.
    pub(super) fn note(&self, wait: Duration, silence: Duration, failure: &Failure) {
        let (registry, long_wait) = match failure {
            Failure::Refused(refusal) if wait >= LONG => {
                let (registry, status, reply) = (refusal.at.registry.clone(), refusal.status.as_u16(), refusal.reply.clone());
                (registry.clone(), LongWait::Limited { registry, wait, status, reply })
            }
            Failure::Broken(error) if silence >= LONG => match error.silent_at() {
                Some(at) => (at.registry.clone(), LongWait::Silent { error: error.to_string() }),
                None => return,
            },
            _ => return,
        };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.noted.insert(registry) {
            state.untold.push(long_wait);
            tell(state);
        }
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
