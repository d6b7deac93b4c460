//! The state of a run as the live view shows it, and its frame: a pure function of state, size and time.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{Event, Transfer};
use super::tail::Tail;
use super::terminal::{Size, Style};
use super::text::{self, pad, truncate, width};
use crate::oci::Digest;

#[derive(Default)]
pub(super) struct Live {
    services: usize,
    services_done: usize,
    steps: u64,
    steps_cached: u64,
    steps_built: u64,
    /// In the order of their beginning, which no frame changes.
    running: Vec<Running>,
    moved: HashMap<(Transfer, Digest), u64>,
}

/// One drawn line, without line feed.
pub(super) struct Line {
    pub text: String,
    /// Columns that it takes on the terminal.
    pub width: usize,
}

pub(super) struct Running {
    pub id: u64,
    pub name: String,
    pub reason: Option<String>,
    pub since: Duration,
    pub output: Tail,
}

impl Live {
    /// Takes in what changes the header or the running Steps. Returns the Step that ended, if one did.
    pub fn update(&mut self, event: &Event, now: Duration) -> Option<Running> {
        match event {
            Event::Planned { services, steps } => (self.services, self.steps) = (services.len(), *steps),
            Event::StepStarted { id, name, reason, .. } => {
                let step = Running { id: *id, name: name.clone(), reason: reason.clone(), since: now, output: Tail::default() };
                self.running.push(step);
            }
            Event::StepOutput { id, bytes, .. } => {
                if let Some(step) = self.running.iter_mut().find(|step| step.id == *id) {
                    step.output.push(&String::from_utf8_lossy(bytes));
                }
            }
            Event::StepFinished { id, outcome, .. } => {
                use super::event::Outcome::{Built, Cached, Cancelled, Failed};
                match outcome {
                    Cached => self.steps_cached += 1,
                    Built => self.steps_built += 1,
                    Failed | Cancelled => {}
                }
                let at = self.running.iter().position(|step| step.id == *id)?;
                return Some(self.running.remove(at));
            }
            Event::LayerProgress { transfer, digest, bytes, .. } => {
                self.moved.insert((*transfer, *digest), *bytes);
            }
            Event::ServiceFinished { .. } => self.services_done += 1,
            Event::Notice { .. } | Event::Warning { .. } | Event::Sandbox { .. } | Event::PushFinished { .. } | Event::Finished { .. } => {}
        }
        None
    }

    /// The lines of the live view: a header and one line a running Step, none as wide as the terminal and fewer than it has rows.
    pub fn frame(&self, size: Size, style: Style, now: Duration) -> Vec<Line> {
        // The last column stays free: some terminals wrap as soon as it is written.
        let columns = size.columns.saturating_sub(1);
        let header = truncate(&self.header(style, now), columns, style.choose("…", ".."));
        let mut lines = vec![Line { width: width(&header), text: style.paint("1", &header) }];
        let room = size.rows.saturating_sub(2).max(1);
        let shown = if self.running.len() > room { room.saturating_sub(1) } else { self.running.len() };
        lines.extend(self.running[..shown].iter().map(|step| step.line(columns, style, now)));
        if shown < self.running.len() {
            let text = truncate(&format!("  and {} more", self.running.len() - shown), columns, "");
            lines.push(Line { width: width(&text), text });
        }
        lines
    }

    fn header(&self, style: Style, now: Duration) -> String {
        let moved = |which| text::bytes(self.moved.iter().filter(|((transfer, _), _)| *transfer == which).map(|(_, bytes)| bytes).sum());
        let (down, up) = (style.choose("↓", "down"), style.choose("↑", "up"));
        format!(
            "{}/{} services, {} cached + {} built of {} steps, {down} {} {up} {}, {}",
            self.services_done,
            self.services,
            self.steps_cached,
            self.steps_built,
            self.steps,
            moved(Transfer::Pull),
            moved(Transfer::Push),
            text::seconds(now.as_secs_f64())
        )
    }
}

impl Running {
    fn line(&self, columns: usize, style: Style, now: Duration) -> Line {
        const OUTPUT_FROM: usize = 24;
        let ellipsis = style.choose("…", "..");
        let time = text::seconds(now.saturating_sub(self.since).as_secs_f64());
        let Some(room) = columns.checked_sub(width(&time) + 3) else {
            let text = truncate(&self.name, columns, "");
            return Line { width: width(&text), text };
        };
        let name = truncate(&self.name, room, ellipsis);
        let left = room.saturating_sub(width(&name) + 3);
        let output = match self.output.last() {
            Some(line) if left >= OUTPUT_FROM => format!(" {} {}", style.choose("│", "|"), truncate(line.trim(), left, ellipsis)),
            _ => String::new(),
        };
        let filler = pad("", room.saturating_sub(width(&name) + width(&output)) + 1);
        let glyph = style.paint("36", style.choose("▸", ">"));
        let text = format!("{glyph} {name}{}{filler}{}", style.paint("2", &output), style.paint("2", &time));
        Line { text, width: columns }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Outcome, Stream};
    use super::*;

    const PLAIN: Style = Style { color: false, unicode: true };

    fn started(id: u64, name: &str) -> Event {
        Event::StepStarted { id, services: vec!["api".into()], name: name.into(), reason: None }
    }

    fn live(events: &[Event]) -> Live {
        let mut live = Live::default();
        for (second, event) in events.iter().enumerate() {
            live.update(event, Duration::from_secs(second as u64));
        }
        live
    }

    fn scripted() -> Live {
        let layer =
            |transfer, bytes| Event::LayerProgress { service: "api".into(), transfer, digest: Digest::of(b"l"), bytes, total: None };
        live(&[
            Event::Planned { services: vec!["api".into(), "web".into()], steps: 31 },
            started(1, "[api build 3/7] RUN npm ci --no-audit --no-fund --prefer-offline --cache /var/cache/npm && npm run build"),
            started(2, "[web 2/4] RUN go build ./..."),
            started(3, "[web 1/4] FROM docker.io/library/golang:1.25"),
            Event::StepFinished { id: 3, outcome: Outcome::Cached, seconds: 0.1 },
            Event::StepOutput { id: 2, stream: Stream::Stderr, bytes: "go: downloading golang.org/x/sys v0.30.0".into() },
            layer(Transfer::Pull, 1_000_000),
            layer(Transfer::Pull, 12_300_000),
            layer(Transfer::Push, 512),
            Event::ServiceFinished { service: "web".into(), outcome: Outcome::Cached, digest: None, seconds: 1.0, hits: 3, misses: 0 },
        ])
    }

    fn drawn(live: &Live, columns: usize, rows: usize, style: Style, now: f64) -> Vec<String> {
        let frame = live.frame(Size { columns, rows }, style, Duration::from_secs_f64(now));
        frame.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_frame_fits_80_columns() {
        let frame = drawn(&scripted(), 80, 24, PLAIN, 72.3);
        assert_eq!(
            frame.join("\n"),
            "1/2 services, 1 cached + 0 built of 31 steps, ↓ 12.3 MB ↑ 512 B, 1m12s\n\
             ▸ [api build 3/7] RUN npm ci --no-audit --no-fund --prefer-offline --cac… 1m11s\n\
             ▸ [web 2/4] RUN go build ./... │ go: downloading golang.org/x/sys v0.30.0 1m10s"
        );
    }

    #[test]
    fn a_frame_uses_200_columns() {
        let frame = drawn(&scripted(), 200, 24, PLAIN, 10.0);
        assert!(frame[1].contains("&& npm run build") && frame[1].ends_with(" 9.0s"), "{}", frame[1]);
        assert!(frame[2].contains("│ go: downloading golang.org/x/sys v0.30.0 ") && frame[2].ends_with(" 8.0s"), "{}", frame[2]);
        assert_eq!([width(&frame[1]), width(&frame[2])], [199, 199]);
    }

    #[test]
    fn without_unicode_a_frame_is_ascii() {
        let style = Style { color: false, unicode: false };
        assert!(drawn(&scripted(), 60, 24, style, 0.0).concat().is_ascii());
    }

    #[test]
    fn a_frame_never_exceeds_the_terminal_whatever_its_size() {
        let events: Vec<Event> = (0..40).map(|id| started(id, &format!("[服务 {id}/40] RUN 日本語 and some more words"))).collect();
        let live = live(&events);
        for columns in 1..100 {
            for rows in [1, 2, 3, 10, 24] {
                let frame = live.frame(Size { columns, rows }, PLAIN, Duration::from_secs(100));
                assert!(frame.len() <= rows.max(2), "{columns}x{rows}: {} lines", frame.len());
                for line in frame {
                    assert!(line.width < columns && line.width == width(&line.text), "{columns}x{rows}: {}", line.text);
                }
            }
        }
    }

    #[test]
    fn colour_adds_only_escape_sequences() {
        let colored = drawn(&scripted(), 100, 24, Style { color: true, unicode: true }, 10.0).join("\n");
        let plain = drawn(&scripted(), 100, 24, PLAIN, 10.0).join("\n");
        assert_ne!(colored, plain);
        let stripped: Vec<String> = colored.lines().map(|line| super::super::sanitise::sanitise(line.as_bytes())).collect();
        assert_eq!(stripped.join("\n"), plain);
    }
}
