//! The faults, and what brik is to make of them.

use std::time::Duration;

use super::trial::Target;
use crate::support::{Ask, Fault};

/// A kind of fault.
#[derive(Debug, Clone)]
pub struct Kind {
    pub name: &'static str,
    pub fault: Fault,
    /// Another attempt fares better, where the fault has passed by then: brik makes one.
    pub passes: bool,
}

/// All of them. `elsewhere` is a host that serves what the registry has to everybody, `stranger` one that asks for credentials.
pub fn kinds(elsewhere: &str, stranger: &str) -> Vec<Kind> {
    let passing = |name, fault| Kind { name, fault, passes: true };
    let lasting = |name, fault| Kind { name, fault, passes: false };
    vec![
        passing("reset before the answer", Fault::ResetBefore),
        passing("reset amid the answer", Fault::ResetAmid),
        passing("reset amid the request", Fault::Reset),
        passing("hang-up, answer lost", Fault::Lost),
        passing("500", Fault::Status(500)),
        passing("502", Fault::Status(502)),
        passing("429 with Retry-After", Fault::TooMany("1")),
        passing("429 without Retry-After", Fault::Status(429)),
        passing("all tokens expired (401)", Fault::Expired),
        passing("token refused (401)", Fault::Challenge),
        lasting("403", Fault::Status(403)),
        passing("slow-loris", Fault::Drip(Duration::from_millis(100))),
        lasting("truncated body", Fault::Truncated),
        lasting("flipped bit", Fault::Flipped),
        lasting("longer body", Fault::Longer),
        lasting("wrong digest or length told", Fault::Misnamed),
        lasting("redirect to another host", Fault::Elsewhere(elsewhere.to_owned())),
        lasting("redirect to a stranger", Fault::Elsewhere(stranger.to_owned())),
        lasting("tag moved", Fault::Moved),
    ]
}

impl Kind {
    /// Whether it can be dealt to such a request at all, and is no other fault there.
    pub fn concerns(&self, target: &Target, for_good: bool) -> bool {
        let reads = target.method == "GET" || target.method == "HEAD";
        let sends = matches!(target.ask, Ask::Upload | Ask::WriteManifest);
        match self.fault {
            Fault::Reset => sends,
            Fault::Truncated | Fault::Flipped | Fault::Longer => sends || target.method == "GET",
            // No token lives while all die all the time: other requests, at the same time, would suffer.
            Fault::Expired => target.ask != Ask::Token && !for_good,
            Fault::Challenge => target.ask != Ask::Token,
            Fault::Moved => target.ask == Ask::ReadManifest,
            Fault::Misnamed => reads && target.ask != Ask::Token || target.ask == Ask::WriteManifest,
            _ => true,
        }
    }
}

/// So often, at most, one and the same request is made again and again: by each of the services and platforms that want its answer, by the
/// builds outside and inside of the sandbox, five times each, and once more with a new token. Uploads of all blobs are opened by the same.
pub const MOST: usize = 40;
/// So many requests more than without a fault a push makes at most: where a cache turns out to be of no use, its Steps run.
pub const MOST_MORE: usize = 120;

/// Whether a push has to succeed though `target` fails: a cache is not needed, a mount is an offer, and an upload that was only opened to
/// see whether it may be need not be cancelled.
pub fn is_optional(target: &Target) -> bool {
    let is_cache = target.place.split(' ').next().unwrap_or_default().contains("-cache");
    let is_for_a_mount = target.ask == Ask::Token && target.place.contains(' ');
    is_cache || is_for_a_mount || matches!(target.ask, Ask::Mount | Ask::Delete)
}
