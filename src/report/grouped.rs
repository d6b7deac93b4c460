//! For logs that fold: what a Step said, in one piece when it has ended. What failed stands open.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Event, Outcome};
use super::forge::Forge;
use super::plain::{Plain, beginning, cache_line, push_line, service_line};
use super::reporter::Render;
use super::text;
use super::transcript::Transcript;

pub(super) struct Grouped {
    forge: Forge,
    plain: Plain,
    running: BTreeMap<u64, Running>,
}

struct Running {
    name: String,
    /// With who else needs it, and why it runs.
    title: String,
    since: Duration,
    /// When it is to be said that it still runs.
    beat: Duration,
    output: Transcript,
}

/// A Step that takes longer is said to run, and again after each [`BEAT`]: a log that stands still looks like a hang.
const FIRST_BEAT: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_secs(30);

impl Grouped {
    pub fn new(forge: Forge, verbosity: u8) -> Self {
        Self { forge, plain: Plain::new(verbosity), running: BTreeMap::new() }
    }

    fn line(&self, line: &str, out: &mut Vec<u8>) {
        push_line(out, &self.forge.inert(line));
    }

    fn plain(&mut self, out: &mut Vec<u8>, say: impl FnOnce(&mut Plain, &mut Vec<u8>)) {
        let mut text = Vec::new();
        say(&mut self.plain, &mut text);
        String::from_utf8_lossy(&text).lines().for_each(|line| self.line(line, out));
    }

    fn end(&self, step: &Running, outcome: Outcome, seconds: f64, out: &mut Vec<u8>) {
        let ended = format!("{} {} in {}", step.title, outcome.as_str(), text::seconds(seconds));
        let log = step.output.lines("|");
        if log.is_empty() {
            self.line(&ended, out);
        } else if outcome == Outcome::Failed {
            self.line(&ended, out);
            out.extend_from_slice(self.forge.verbatim(&log).as_bytes());
        } else {
            out.extend_from_slice(self.forge.group(&ended, &log, seconds).as_bytes());
        }
    }
}

impl Render for Grouped {
    fn event(&mut self, event: &Event, now: Duration, out: &mut Vec<u8>) {
        match event {
            Event::StepStarted { id, services, name, reason } => {
                let title = beginning(name, services, reason.as_deref());
                let step = Running { name: name.clone(), title, since: now, beat: now + FIRST_BEAT, output: Transcript::default() };
                self.running.insert(*id, step);
            }
            Event::StepOutput { id, bytes, .. } => {
                if let Some(step) = self.running.get_mut(id) {
                    step.output.push(&String::from_utf8_lossy(bytes));
                }
            }
            Event::OutputClipped { id, bytes } => {
                if let Some(step) = self.running.get_mut(id) {
                    step.output.push(&text::left_out(*bytes));
                }
            }
            Event::StepFinished { id, outcome: Outcome::Cached, .. } => {
                if let Some(step) = self.running.remove(id) {
                    self.line(&format!("{} cached", step.name), out);
                }
            }
            Event::StepFinished { id, outcome, seconds } => {
                if let Some(step) = self.running.remove(id) {
                    self.end(&step, *outcome, *seconds, out);
                }
            }
            Event::Warning { message, file, line } => {
                out.extend_from_slice(self.forge.warning(message, file.as_deref(), *line).as_bytes());
            }
            Event::ServiceFinished { service, outcome, digest, seconds, hits, misses } => {
                self.line(&service_line(service, *outcome, *digest, *seconds), out);
                out.extend_from_slice(self.forge.notice(&cache_line(service, *hits, *misses)).as_bytes());
            }
            Event::Planned { .. }
            | Event::Notice { .. }
            | Event::Error { .. }
            | Event::Sandbox { .. }
            | Event::LayerProgress { .. }
            | Event::PushFinished { .. }
            | Event::ExportStarted { .. }
            | Event::ExportFinished { .. }
            | Event::Finished { .. } => self.plain(out, |plain, out| plain.event(event, now, out)),
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<u8>) {
        self.plain(out, |plain, out| plain.tick(now, out));
        let mut lines = Vec::new();
        for step in self.running.values_mut().filter(|step| now >= step.beat) {
            step.beat = now + BEAT;
            let last = step.output.last().map(|line| format!(": {}", line.trim())).unwrap_or_default();
            lines.push(format!("{} has run for {}{last}", step.name, text::seconds((now - step.since).as_secs_f64())));
        }
        lines.iter().for_each(|line| self.line(line, out));
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.plain(out, |plain, out| plain.finish(out));
        for step in std::mem::take(&mut self.running).values() {
            self.end(step, Outcome::Cancelled, 0.0, out);
        }
    }
}
