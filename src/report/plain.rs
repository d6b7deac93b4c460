//! One line an event, for logs. Neither colour nor times of day, so that two runs of the same build can be compared.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{CacheUse, Event, Outcome, Transfer};
use super::reporter::Render;
use super::text;
use super::transfers::{Group, Transfers};
use crate::oci::Digest;

#[derive(Default)]
pub(super) struct Plain {
    verbosity: u8,
    running: HashMap<u64, Running>,
    transfers: Transfers,
}

struct Running {
    /// `[api build 3/7]` of the Step's name; before each line of its output without the brackets.
    label: String,
    instruction: String,
    /// The line that says its beginning, until it is clear that the Step is not merely a cache hit.
    unsaid: Option<String>,
    since: Duration,
}

/// How long a Step may look like a cache hit.
const GRACE: Duration = Duration::from_millis(100);

impl Plain {
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity, ..Self::default() }
    }

    fn output(&mut self, id: u64, text: &str, out: &mut Vec<u8>) {
        match self.running.get_mut(&id) {
            Some(step) => {
                step.say(out);
                let label = step.label.trim_matches(['[', ']']);
                push_line(out, format!("{label}│ {text}").trim_end());
            }
            None => push_line(out, format!("{id}│ {text}").trim_end()),
        }
    }

    fn line(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Planned { services, steps } => {
                format!("{}, {}", text::count(services.len() as u64, "service"), text::count(*steps, "step"))
            }
            Event::Notice { message } => message.clone(),
            Event::Warning { message, .. } => format!("warning: {message}"),
            Event::Error { message, .. } => format!("error: {message}"),
            Event::Sandbox { description } => format!("sandbox: {description}"),
            Event::LayerProgress { service, transfer, digest, bytes, total, mirror } if self.verbosity > 0 && *total == Some(*bytes) => {
                let done = match transfer {
                    Transfer::Pull => "pulled",
                    Transfer::Push => "pushed",
                };
                let from = mirror.iter().map(|mirror| format!(" from the mirror {mirror}")).collect::<String>();
                format!("{service}: {done} layer {}, {}{from}", digest.short(), text::bytes(*bytes))
            }
            Event::PushFinished { service, reference, outcome } => format!("{service}: {} {reference}", outcome.as_str()),
            Event::ServiceFinished { service, outcome, digest, seconds, hits, misses } => {
                format!("{}\n{}", service_line(service, *outcome, *digest, *seconds), cache_line(service, *hits, *misses))
            }
            Event::Finished { success, seconds } => {
                format!("{} in {}", if *success { "finished" } else { "failed" }, text::seconds(*seconds))
            }
            Event::ExportFinished { destination, success: true, seconds } => {
                format!("exported {destination} in {}", text::seconds(*seconds))
            }
            Event::LayerProgress { .. }
            | Event::StepStarted { .. }
            | Event::StepOutput { .. }
            | Event::OutputClipped { .. }
            | Event::StepFinished { .. }
            | Event::ExportStarted { .. }
            | Event::ExportFinished { .. } => return None,
        })
    }
}

impl Render for Plain {
    fn event(&mut self, event: &Event, now: Duration, out: &mut Vec<u8>) {
        match event {
            Event::StepStarted { id, services, name, reason } => {
                self.running.insert(*id, Running::new(services, name, reason.as_deref(), now));
            }
            Event::StepOutput { id, bytes, .. } => self.output(*id, &String::from_utf8_lossy(bytes), out),
            Event::OutputClipped { id, bytes } => self.output(*id, &text::left_out(*bytes), out),
            Event::StepFinished { id, outcome, seconds } => {
                let Some(mut step) = self.running.remove(id) else { return };
                if *outcome == Outcome::Cached {
                    push_line(out, &format!("{} cached: {}", step.label, step.instruction));
                } else {
                    step.say(out);
                    push_line(out, &format!("{} {} in {}", step.label, outcome.as_str(), text::seconds(*seconds)));
                }
            }
            other => {
                match other {
                    Event::LayerProgress { service, transfer, digest, bytes, total, mirror } => {
                        self.transfers.note(service, *transfer, *digest, (*bytes, *total), now);
                        self.transfers.note_mirror(service, mirror.as_deref());
                    }
                    Event::PushFinished { service, .. } => say_moved(&self.transfers.pushed(service), out),
                    _ => {}
                }
                self.line(other).iter().for_each(|line| push_line(out, line));
            }
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<u8>) {
        say_moved(&self.transfers.ended(now), out);
        let mut due: Vec<_> = self.running.iter_mut().filter(|(_, step)| now.saturating_sub(step.since) >= GRACE).collect();
        due.sort_unstable_by_key(|(id, _)| **id);
        due.into_iter().for_each(|(_, step)| step.say(out));
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.tick(Duration::MAX, out);
    }
}

impl Running {
    fn new(services: &[String], name: &str, reason: Option<&str>, since: Duration) -> Self {
        let (label, instruction) = match name.split_once("] ") {
            Some((label, instruction)) if label.starts_with('[') => (format!("{label}]"), instruction.to_owned()),
            _ => (format!("[{}]", services.join(", ")), name.to_owned()),
        };
        let line = beginning(&format!("{label} {instruction}"), services, reason);
        Self { label, instruction, unsaid: Some(line), since }
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        self.unsaid.take().iter().for_each(|line| push_line(out, line));
    }
}

/// What is said of a Step that begins: its name, who needs it besides the Service of its name, and why it runs.
pub(super) fn beginning(name: &str, services: &[String], reason: Option<&str>) -> String {
    let mut line = name.to_owned();
    if let [_, others @ ..] = services
        && !others.is_empty()
    {
        line.push_str(&format!(" (also {})", others.join(", ")));
    }
    reason.iter().for_each(|reason| line.push_str(&format!(" ({reason})")));
    line
}

/// `api: built in 12.3s sha256:…`.
pub(super) fn service_line(service: &str, outcome: Outcome, digest: Option<Digest>, seconds: f64) -> String {
    let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
    format!("{service}: {} in {}{digest}", outcome.as_str(), text::seconds(seconds))
}

/// `[CACHE] PARTIAL api (5 of 7 steps cached)`.
pub(super) fn cache_line(service: &str, hits: u64, misses: u64) -> String {
    let cache = CacheUse::of(hits, misses).as_str();
    format!("[CACHE] {cache} {service} ({hits} of {} cached)", text::count(hits + misses, "step"))
}

fn say_moved(groups: &[Group], out: &mut Vec<u8>) {
    groups.iter().for_each(|group| push_line(out, &group.summary()));
}

pub(super) fn push_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::event::{PushOutcome, Stream};
    use super::*;

    fn started(id: u64, services: &[&str], name: &str, reason: Option<&str>) -> Event {
        let services = services.iter().map(|&service| service.to_owned()).collect();
        Event::StepStarted { id, services, name: name.to_owned(), reason: reason.map(str::to_owned) }
    }

    fn finished(id: u64, outcome: Outcome) -> Event {
        Event::StepFinished { id, outcome, seconds: 1.25 }
    }

    fn output(id: u64, text: &str) -> Event {
        Event::StepOutput { id, stream: Stream::Stdout, bytes: text.into() }
    }

    fn rendered(verbosity: u8, events: &[Event]) -> String {
        let mut plain = Plain::new(verbosity);
        let mut out = Vec::new();
        events.iter().for_each(|event| plain.event(event, Duration::ZERO, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_is_one_line_an_event() {
        let digest = Digest::of(b"image");
        let layer = Event::LayerProgress {
            service: "api".into(),
            transfer: Transfer::Push,
            digest,
            bytes: 1_500_000,
            total: Some(1_500_000),
            mirror: None,
        };
        let events = [
            Event::Planned { services: vec!["api".into(), "web".into()], steps: 1 },
            Event::Sandbox { description: "user namespaces, overlayfs".into() },
            Event::Warning { message: "the cache is unreachable".into(), file: None, line: None },
            started(1, &["api", "web"], "[api build 1/3] RUN npm ci", Some("package.json changed")),
            started(2, &["web"], "[web 2/3] COPY . .", None),
            finished(2, Outcome::Cached),
            output(1, "added 12 packages"),
            output(1, ""),
            Event::OutputClipped { id: 1, bytes: 3_000_000 },
            finished(1, Outcome::Built),
            started(3, &["web"], "[web 3/3] RUN false", None),
            finished(3, Outcome::Failed),
            layer,
            Event::PushFinished {
                service: "api".into(),
                reference: "ghcr.io/o/api:sha-1".parse().unwrap(),
                outcome: PushOutcome::Unchanged,
            },
            Event::ServiceFinished {
                service: "api".into(),
                outcome: Outcome::Built,
                digest: Some(digest),
                seconds: 62.0,
                hits: 5,
                misses: 2,
            },
            Event::Finished { success: false, seconds: 62.0 },
        ];
        let expected = format!(
            "2 services, 1 step\n\
             sandbox: user namespaces, overlayfs\n\
             warning: the cache is unreachable\n\
             [web 2/3] cached: COPY . .\n\
             [api build 1/3] RUN npm ci (also web) (package.json changed)\n\
             api build 1/3│ added 12 packages\n\
             api build 1/3│\n\
             api build 1/3│ (3.0 MB of output left out: of a Step, at most 2 MiB are shown, and its last lines where it fails)\n\
             [api build 1/3] built in 1.2s\n\
             [web 3/3] RUN false\n\
             [web 3/3] failed in 1.2s\n\
             api: uploaded 1 blob, 1.5 MB in 0.0s\n\
             api: unchanged ghcr.io/o/api:sha-1\n\
             api: built in 1m02s {digest}\n\
             [CACHE] PARTIAL api (5 of 7 steps cached)\n\
             failed in 1m02s\n"
        );
        assert_eq!(rendered(0, &events), expected);
        assert!(rendered(1, &events).contains(&format!("api: pushed layer {}, 1.5 MB\n", digest.short())));
    }

    #[test]
    fn the_beginning_of_a_silent_step_is_said_after_a_moment() {
        let mut plain = Plain::new(0);
        let mut out = Vec::new();
        plain.event(&started(1, &["api"], "[api 1/1] RUN sleep 9", None), Duration::ZERO, &mut out);
        plain.tick(GRACE / 2, &mut out);
        assert!(out.is_empty());
        plain.tick(GRACE, &mut out);
        plain.tick(2 * GRACE, &mut out);
        assert_eq!(out, b"[api 1/1] RUN sleep 9\n");
    }

    #[test]
    fn a_pull_is_told_when_nothing_follows() {
        let mut plain = Plain::new(0);
        let mut out = Vec::new();
        let name = "docker.io/library/node";
        for (blob, second, mirror) in [("a", 1, None), ("b", 2, Some("mirror.local"))] {
            let digest = Digest::of(blob.as_bytes());
            let mirror = mirror.map(str::to_owned);
            let event = Event::LayerProgress { service: name.into(), transfer: Transfer::Pull, digest, bytes: 9, total: Some(9), mirror };
            plain.event(&event, Duration::from_secs(second), &mut out);
        }
        assert!(out.is_empty());
        plain.tick(Duration::from_secs(3), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("pulled {name}: 2 blobs, 18 B in 1.0s, from the mirror mirror.local\n"));
    }
}
