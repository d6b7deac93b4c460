//! The live view: what is done scrolls away above a header and one line a Service that something is done for, redrawn in place.

use std::time::Duration;

use super::event::{Event, Outcome, PushOutcome, Transfer};
use super::frame::{Line, frame};
use super::live::{Live, Running};
use super::reporter::Render;
use super::terminal::{Size, Terminal};
use super::text::{self, truncate, width};

pub(super) struct Tty {
    terminal: Terminal,
    live: Live,
    /// Lines that go above the frame when it is drawn next.
    above: Vec<u8>,
    /// What the terminal shows of the frame, and how large it was then.
    drawn: Vec<Line>,
    size: Option<Size>,
}

/// Synchronized update (DEC private mode 2026; terminals that do not know it ignore it), and no cursor that runs about. It is there again
/// after every frame: whatever ends brik, it leaves a cursor.
const BEGIN: &[u8] = b"\x1b[?2026h\x1b[?25l";
const END: &[u8] = b"\x1b[?25h\x1b[?2026l";

/// From how many columns on it is said why a Step was built.
const REASON_FROM: usize = 60;

impl Tty {
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, live: Live::default(), above: Vec::new(), drawn: Vec::new(), size: None }
    }

    fn say(&mut self, line: &str) {
        self.above.extend_from_slice(line.as_bytes());
        self.above.push(b'\n');
    }

    fn say_step(&mut self, step: &Running, outcome: Outcome, seconds: f64) {
        let style = self.terminal.style;
        let columns = self.terminal.size().columns.saturating_sub(1);
        let glyph = match outcome {
            Outcome::Cached => style.paint("2", style.choose("•", "=")),
            Outcome::Built => style.paint("32", style.choose("✓", "+")),
            Outcome::Failed => style.paint("31", style.choose("✗", "!")),
            Outcome::Cancelled => style.paint("33", "-"),
        };
        let end = match outcome {
            Outcome::Cached => "cached".to_owned(),
            Outcome::Built => text::seconds(seconds),
            Outcome::Failed | Outcome::Cancelled => format!("{} in {}", outcome.as_str(), text::seconds(seconds)),
        };
        let ellipsis = style.choose("…", "..");
        let room = columns.saturating_sub(width(&end) + 3);
        // The name goes before the reason, which may be long and says little when it is cut short.
        let reason = step.reason.as_ref().filter(|_| outcome == Outcome::Built).map(|reason| format!(" ({reason})"));
        let least = room.saturating_sub(width(&step.name)).max(columns / 3);
        let reason = reason.map(|reason| truncate(&reason, least, ellipsis)).filter(|_| columns >= REASON_FROM).unwrap_or_default();
        let name = truncate(&step.name, room.saturating_sub(width(&reason)), ellipsis);
        self.say(&format!("{glyph} {name} {}", style.paint("2", &format!("{end}{reason}"))));
        if outcome == Outcome::Failed {
            step.output.render(&step.name, style.choose("│", "|"), &mut self.above);
        }
    }

    /// Uploads are told by the tags that they were for.
    fn say_pulls(&mut self, now: Duration) {
        let ended = self.live.transfers.ended(now);
        ended.iter().filter(|group| group.transfer == Transfer::Pull).for_each(|group| self.say(&group.summary()));
    }

    /// Writes what goes above, and `next` over the frame that is there. Where nothing else changes, lines are overwritten, not erased before:
    /// nothing flickers on terminals without synchronized updates.
    fn draw(&mut self, next: Vec<Line>, out: &mut Vec<u8>) {
        let size = self.terminal.size();
        let resized = self.size.replace(size).is_some_and(|before| before != size);
        if !resized && self.above.is_empty() && self.drawn == next {
            return;
        }
        out.extend_from_slice(BEGIN);
        // A terminal that became narrower has made several rows of a line. Those that it took into its history on the way are out of reach.
        let rows: usize = self.drawn.iter().map(|line| line.width.div_ceil(size.columns).max(1)).sum();
        if rows > 0 {
            out.extend_from_slice(format!("\r\x1b[{rows}A").as_bytes());
        }
        if resized || !self.above.is_empty() {
            out.extend_from_slice(b"\x1b[J");
            out.append(&mut self.above);
        }
        for line in &next {
            out.extend_from_slice(line.text.as_bytes());
            out.extend_from_slice(b"\x1b[K\n");
        }
        // Lines that there were more of, and what was typed.
        out.extend_from_slice(b"\x1b[J");
        out.extend_from_slice(END);
        self.drawn = next;
    }
}

impl Render for Tty {
    fn event(&mut self, event: &Event, now: Duration, _out: &mut Vec<u8>) {
        let style = self.terminal.style;
        let ended = self.live.update(event, now);
        match event {
            Event::Notice { message } => self.say(message),
            Event::Warning { message, .. } => self.say(&format!("{} {message}", style.paint("33", "warning:"))),
            Event::Error { message, .. } => self.say(&format!("{} {message}", style.paint("31", "error:"))),
            Event::Sandbox { description } => self.say(&style.paint("2", &format!("sandbox: {description}"))),
            Event::StepFinished { outcome, seconds, .. } => {
                if let Some(step) = ended {
                    self.say_step(&step, *outcome, *seconds);
                }
            }
            Event::PushFinished { service, reference, outcome } => {
                let what = match outcome {
                    PushOutcome::Pushed | PushOutcome::Unchanged => outcome.as_str().to_owned(),
                    PushOutcome::Failed => style.paint("31", outcome.as_str()),
                };
                self.say(&format!("{service}: {what} {reference}"));
            }
            Event::ExportFinished { destination, success: true, seconds } => {
                self.say(&format!("exported {destination} in {}", text::seconds(*seconds)));
            }
            Event::Planned { .. }
            | Event::StepStarted { .. }
            | Event::StepOutput { .. }
            | Event::OutputClipped { .. }
            | Event::LayerProgress { .. }
            | Event::ServiceFinished { .. }
            | Event::ExportStarted { .. }
            | Event::ExportFinished { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<u8>) {
        self.say_pulls(now);
        self.live.tidy(now);
        let next = frame(&self.live, self.terminal.size(), self.terminal.style, now);
        self.draw(next, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.say_pulls(Duration::MAX);
        self.draw(Vec::new(), out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::event::Stream;
    use super::super::terminal::Size;
    use super::*;

    /// What a terminal shows after `bytes`: the few sequences that [`Tty`] writes, without wrapping. The suite has a real terminal.
    fn screen(bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let mut rest = text.as_str();
        let (mut lines, mut row) = (vec![String::new()], 0);
        while !rest.is_empty() {
            let of = |known: &str| rest.strip_prefix(known);
            if let Some(next) = [BEGIN, END, b"\x1b[K"].iter().find_map(|known| of(std::str::from_utf8(known).unwrap())) {
                rest = next;
            } else if let Some(next) = of("\x1b[J") {
                lines.truncate(row + 1);
                lines[row].clear();
                rest = next;
            } else if let Some((up, next)) = of("\r\x1b[").and_then(|rest| rest.split_once('A')) {
                row -= up.parse::<usize>().unwrap();
                rest = next;
            } else if let Some(next) = of("\n") {
                row += 1;
                lines.resize(lines.len().max(row + 1), String::new());
                rest = next;
            } else {
                let end = rest.find(['\n', '\x1b']).unwrap_or(rest.len());
                lines[row] = rest[..end].to_owned();
                rest = &rest[end..];
                assert!(end > 0, "{rest:?}");
            }
        }
        lines.join("\n")
    }

    fn started(id: u64, name: &str, reason: Option<&str>) -> Event {
        Event::StepStarted { id, services: vec![], name: name.into(), reason: reason.map(str::to_owned) }
    }

    fn tty(columns: usize) -> Tty {
        Tty::new(Terminal::of_size(move || Size { columns, rows: 24 }, false, true))
    }

    fn output(id: u64, text: &str) -> Event {
        Event::StepOutput { id, stream: Stream::Stdout, bytes: text.into() }
    }

    #[test]
    fn done_steps_scroll_above_the_running_ones_and_nothing_stays_at_the_end() {
        let mut tty = tty(80);
        let mut out = Vec::new();
        let mut feed = |tty: &mut Tty, second, events: &[Event]| {
            let now = Duration::from_secs(second);
            events.iter().for_each(|event| tty.event(event, now, &mut out));
            tty.tick(now, &mut out);
            screen(&out)
        };
        let planned = Event::Planned { services: vec!["web".into()], steps: 3 };
        let first =
            feed(&mut tty, 0, &[planned, started(1, "[web 1/3] COPY . .", Some("main.go changed")), started(2, "[web 2/3] RUN b", None)]);
        assert_eq!(
            first,
            format!("0/1 services, 0 cached + 0 built of 3 steps, ↓ 0 B ↑ 0 B, 0.0s\n▸ web 1/3 COPY . .{} +1 0.0s\n", " ".repeat(53))
        );
        let built = Event::StepFinished { id: 1, outcome: Outcome::Built, seconds: 2.0 };
        let second = feed(&mut tty, 2, &[built, Event::Warning { message: "w".into(), file: None, line: None }]);
        assert!(
            second.starts_with("✓ [web 1/3] COPY . . 2.0s (main.go changed)\nwarning: w\n0/1 services, 0 cached + 1 built"),
            "{second}"
        );
        assert_eq!(second.lines().count(), 4, "{second}");
        tty.finish(&mut out);
        assert_eq!(screen(&out), "✓ [web 1/3] COPY . . 2.0s (main.go changed)\nwarning: w\n");
    }

    #[test]
    fn a_failing_step_shows_its_own_output_in_full() {
        let mut tty = tty(40);
        let mut out = Vec::new();
        let mut event = |event| tty.event(&event, Duration::ZERO, &mut Vec::new());
        event(started(1, "[api 1/2] RUN npm ci", None));
        event(started(2, "[web 1/2] RUN go build", None));
        (0..100).for_each(|i| event(output(1, &format!("line {i} {}", "x".repeat(60)))));
        event(output(2, "of another step"));
        event(Event::StepFinished { id: 1, outcome: Outcome::Failed, seconds: 3.0 });
        tty.finish(&mut out);
        let screen = screen(&out);
        assert!(screen.starts_with("✗ [api 1/2] RUN npm ci failed in 3.0s\noutput of [api 1/2] RUN npm ci\n│ line 0 xxx"), "{screen}");
        assert!(screen.contains(&format!("\n│ line 99 {}\n", "x".repeat(60))) && !screen.contains("another"));
    }

    #[test]
    fn after_a_resize_as_many_rows_are_erased_as_the_terminal_made_of_the_frame() {
        let columns = Arc::new(AtomicUsize::new(200));
        let now = columns.clone();
        let mut tty = Tty::new(Terminal::of_size(move || Size { columns: now.load(Ordering::Relaxed), rows: 24 }, true, true));
        let mut out = Vec::new();
        tty.event(&started(1, "[api 1/2] RUN npm ci", None), Duration::ZERO, &mut out);
        tty.tick(Duration::ZERO, &mut out);
        columns.store(80, Ordering::Relaxed);
        out.clear();
        tty.tick(Duration::ZERO, &mut out);
        // The header had 62 columns and stays one row; the Step's line had 199 and became three.
        assert!(String::from_utf8(out).unwrap().contains("\r\x1b[4A\x1b[J"));
    }

    #[test]
    fn a_frame_that_says_the_same_is_not_written_again() {
        let mut tty = tty(80);
        let written = |tty: &mut Tty, milliseconds| {
            let mut out = Vec::new();
            tty.tick(Duration::from_millis(milliseconds), &mut out);
            out.len()
        };
        assert_eq!(written(&mut tty, 0), 0, "nothing is planned");
        tty.event(&Event::Planned { services: vec!["web".into()], steps: 3 }, Duration::ZERO, &mut Vec::new());
        assert!(written(&mut tty, 100) > 0);
        assert_eq!(written(&mut tty, 104), 0);
        assert!(written(&mut tty, 200) > 0);
    }
}
