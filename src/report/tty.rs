//! The live view: what is done scrolls away above a header and one line a running Step, redrawn in place.

use std::time::Duration;

use super::event::{Event, Outcome, PushOutcome};
use super::live::{Line, Live, Running};
use super::reporter::Render;
use super::terminal::Terminal;
use super::text::{self, truncate, width};

pub(super) struct Tty {
    terminal: Terminal,
    live: Live,
    /// Lines that go above the frame when it is drawn next.
    above: Vec<u8>,
    /// Widths of the drawn lines: after a resize, they tell how many rows the terminal made of them.
    drawn: Vec<usize>,
}

/// Synchronized update (DEC private mode 2026); terminals that do not know it ignore it.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

impl Tty {
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, live: Live::default(), above: Vec::new(), drawn: Vec::new() }
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
        let mut end = match outcome {
            Outcome::Cached => "cached".to_owned(),
            Outcome::Built => text::seconds(seconds),
            Outcome::Failed | Outcome::Cancelled => format!("{} in {}", outcome.as_str(), text::seconds(seconds)),
        };
        if let (Outcome::Built, Some(reason)) = (outcome, &step.reason) {
            end = truncate(&format!("{end} ({reason})"), columns / 2, style.choose("…", ".."));
        }
        let name = truncate(&step.name, columns.saturating_sub(width(&end) + 3), style.choose("…", ".."));
        self.say(&format!("{glyph} {name} {}", style.paint("2", &end)));
        if outcome == Outcome::Failed {
            step.output.render(&step.name, style.choose("│", "|"), &mut self.above);
        }
    }

    /// Moves to the first row of the drawn frame and clears from there.
    fn erase(&mut self, out: &mut Vec<u8>) {
        let columns = self.terminal.size().columns;
        let rows: usize = self.drawn.drain(..).map(|width| width.div_ceil(columns).max(1)).sum();
        if rows > 0 {
            out.extend_from_slice(format!("\r\x1b[{rows}A").as_bytes());
        }
        out.extend_from_slice(b"\x1b[J");
    }

    fn draw(&mut self, frame: &[Line], out: &mut Vec<u8>) {
        out.extend_from_slice(BEGIN);
        self.erase(out);
        out.append(&mut self.above);
        for line in frame {
            out.extend_from_slice(line.text.as_bytes());
            out.push(b'\n');
        }
        self.drawn = frame.iter().map(|line| line.width).collect();
        out.extend_from_slice(END);
    }
}

impl Render for Tty {
    fn event(&mut self, event: &Event, now: Duration, _out: &mut Vec<u8>) {
        let style = self.terminal.style;
        let ended = self.live.update(event, now);
        match event {
            Event::Notice { message } => self.say(message),
            Event::Warning { message } => self.say(&format!("{} {message}", style.paint("33", "warning:"))),
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
            Event::Planned { .. }
            | Event::StepStarted { .. }
            | Event::StepOutput { .. }
            | Event::LayerProgress { .. }
            | Event::ServiceFinished { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<u8>) {
        let frame = self.live.frame(self.terminal.size(), self.terminal.style, now);
        self.draw(&frame, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.draw(&[], out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::event::Stream;
    use super::super::terminal::Size;
    use super::*;

    /// What a terminal of `columns` shows after `bytes`: the few sequences that [`Tty`] writes, without wrapping.
    fn screen(bytes: &[u8]) -> String {
        let mut lines: Vec<String> = vec![String::new()];
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for part in text.replace("\x1b[?2026h", "").replace("\x1b[?2026l", "").split_inclusive(['\n', 'A', 'J']) {
            if let Some((before, up)) = part.strip_suffix('A').and_then(|part| part.split_once("\r\x1b[")) {
                assert_eq!(before, "");
                lines.truncate(lines.len() - 1 - up.parse::<usize>().unwrap());
                lines.push(String::new());
            } else if part != "\x1b[J" {
                assert!(!part.contains('\x1b'), "{part:?}");
                lines.last_mut().unwrap().push_str(part.trim_end_matches('\n'));
                if part.ends_with('\n') {
                    lines.push(String::new());
                }
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
            format!(
                "0/1 services, 0 cached + 0 built of 3 steps, ↓ 0 B ↑ 0 B, 0.0s\n▸ [web 1/3] COPY . .{} 0.0s\n▸ [web 2/3] RUN b{} 0.0s\n",
                " ".repeat(54),
                " ".repeat(57)
            )
        );
        let built = Event::StepFinished { id: 1, outcome: Outcome::Built, seconds: 2.0 };
        let second = feed(&mut tty, 2, &[built, Event::Warning { message: "w".into() }]);
        assert!(
            second.starts_with("✓ [web 1/3] COPY . . 2.0s (main.go changed)\nwarning: w\n0/1 services, 0 cached + 1 built"),
            "{second}"
        );
        assert_eq!(second.lines().count(), 4);
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
}
