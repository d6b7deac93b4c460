//! What every event passes before a renderer sees it: secrets are masked, output is cut into whole lines a Step and clipped, and, where
//! people read it, stripped of control characters.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::clip::Clip;
use super::event::{Event, Outcome, Stream};
use super::redact::{RedactingStream, Redactor};
use super::sanitise::sanitise;

/// A longer line is cut, which bounds the memory of an output without line feeds.
const LONGEST_LINE: usize = 64 * 1024;

pub(super) struct Filter {
    redactor: Redactor,
    /// Whether control characters are taken out of all text.
    sanitise: bool,
    /// Steps that have written something.
    outputs: BTreeMap<u64, Output>,
}

/// The output of one Step.
struct Output {
    stdout: Line,
    stderr: Line,
    clip: Clip,
}

/// One stream of it, up to its next line feed.
struct Line {
    redacting: RedactingStream,
    bytes: Vec<u8>,
}

impl Filter {
    pub fn new(redactor: Redactor, sanitise: bool) -> Self {
        Self { redactor, sanitise, outputs: BTreeMap::new() }
    }

    /// Passes what `event` becomes to `sink`. Each [`Event::StepOutput`] that it passes is one line, without its line feed.
    pub fn pass(&mut self, mut event: Event, sink: &mut dyn FnMut(Event)) {
        for text in event.texts_mut() {
            *text = self.clean_text(text);
        }
        match event {
            Event::StepOutput { id, stream, bytes } => {
                let redactor = &self.redactor;
                let output = self.outputs.entry(id).or_insert_with(|| Output::new(redactor));
                let text = output.line(stream).redacting.push(&bytes);
                let lines = output.take_in(stream, &text);
                lines.into_iter().for_each(|line| sink(self.output(id, stream, line)));
            }
            Event::StepFinished { id, outcome, .. } => {
                self.end_step(id, outcome == Outcome::Failed, sink);
                sink(event);
            }
            other => sink(other),
        }
    }

    /// Passes what is left of streams that never ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Event)) {
        let ids: Vec<u64> = self.outputs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end_step(id, false, sink));
    }

    fn end_step(&mut self, id: u64, failed: bool, sink: &mut dyn FnMut(Event)) {
        let Some(mut output) = self.outputs.remove(&id) else { return };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = output.line(stream).redacting.finish();
            let mut lines = output.take_in(stream, &rest);
            lines.extend(output.take_unended(stream));
            lines.into_iter().for_each(|line| sink(self.output(id, stream, line)));
        }
        let clip = std::mem::take(&mut output.clip);
        let (bytes, end) = if failed { clip.end() } else { (clip.left_out(), Vec::new()) };
        if bytes > 0 {
            sink(Event::OutputClipped { id, bytes });
        }
        for (stream, text) in end {
            output.line(stream).push(&text).into_iter().for_each(|line| sink(self.output(id, stream, line)));
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            output.take_unended(stream).into_iter().for_each(|line| sink(self.output(id, stream, line)));
        }
    }

    fn output(&self, id: u64, stream: Stream, line: Vec<u8>) -> Event {
        // Without its control characters, a line may spell a secret that it did not spell before.
        let clean = sanitise(&line);
        let bytes = match self.redactor.redact(&clean) {
            Cow::Owned(redacted) => redacted.into_bytes(),
            Cow::Borrowed(_) if self.sanitise => clean.into_bytes(),
            Cow::Borrowed(_) => line,
        };
        Event::StepOutput { id, stream, bytes }
    }

    fn clean_text(&self, text: &str) -> String {
        let redacted = self.redactor.redact(text);
        if self.sanitise {
            self.redactor.redact(&sanitise(redacted.replace('\r', " ").as_bytes())).into_owned()
        } else {
            redacted.into_owned()
        }
    }
}

impl Output {
    fn new(redactor: &Redactor) -> Self {
        let line = || Line { redacting: redactor.stream(), bytes: Vec::new() };
        Self { stdout: line(), stderr: line(), clip: Clip::default() }
    }

    fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Adds masked text and returns the lines that it completes and that are shown.
    fn take_in(&mut self, stream: Stream, text: &[u8]) -> Vec<Vec<u8>> {
        let begun = self.line(stream).bytes.len();
        let (shown, rest) = text.split_at(self.clip.room(text, begun));
        let lines = self.line(stream).push(shown);
        if !rest.is_empty() {
            // A line is shown as a whole or not at all.
            let begun = std::mem::take(&mut self.line(stream).bytes);
            self.clip.leave_out(stream, &begun);
            self.clip.leave_out(stream, rest);
        }
        lines
    }

    /// The line that a stream has ended within, if there is one and it is shown.
    fn take_unended(&mut self, stream: Stream) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line(stream).bytes);
        if self.clip.is_full() {
            self.clip.leave_out(stream, &line);
            return None;
        }
        Some(line).filter(|line| !line.is_empty())
    }
}

impl Line {
    /// Adds `shown` and returns the lines that it completes.
    fn push(&mut self, shown: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut pieces = shown.split(|&b| b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.bytes.extend_from_slice(piece);
            while self.bytes.len() > LONGEST_LINE {
                let rest = self.bytes.split_off(char_boundary(&self.bytes, LONGEST_LINE));
                lines.push(std::mem::replace(&mut self.bytes, rest));
            }
            if pieces.peek().is_some() {
                lines.push(std::mem::take(&mut self.bytes));
            }
        }
        lines
    }
}

/// The last position up to `at` that does not split a UTF-8 character.
fn char_boundary(bytes: &[u8], at: usize) -> usize {
    let continuation = |&&at: &&usize| bytes[at] & 0xc0 == 0x80;
    let candidates = [at, at - 1, at - 2, at - 3];
    candidates.iter().find(|at| !continuation(at)).copied().unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::super::event::Outcome;
    use super::*;

    fn output(id: u64, stream: Stream, text: &str) -> Event {
        Event::StepOutput { id, stream, bytes: text.into() }
    }

    fn passed(filter: &mut Filter, events: Vec<Event>) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        let mut sink = |event| {
            if let Event::StepOutput { id, bytes, .. } = event {
                lines.push((id, String::from_utf8(bytes).unwrap()));
            }
        };
        events.into_iter().for_each(|event| filter.pass(event, &mut sink));
        filter.finish(&mut sink);
        lines
    }

    #[test]
    fn outputs_of_steps_that_run_at_the_same_time_are_never_mixed_within_a_line() {
        use Stream::{Stderr, Stdout};
        let events = vec![
            output(1, Stdout, "one "),
            output(2, Stdout, "two "),
            output(1, Stderr, "error of "),
            output(1, Stdout, "more\nand "),
            output(2, Stdout, "two\n"),
            output(1, Stderr, "one\n"),
            Event::StepFinished { id: 1, outcome: Outcome::Built, seconds: 0.0 },
            output(2, Stdout, "no line feed"),
        ];
        let lines = passed(&mut Filter::new(Redactor::new(), true), events);
        let expected = [(1, "one more"), (2, "two two"), (1, "error of one"), (1, "and "), (2, "no line feed")];
        assert_eq!(lines, expected.map(|(id, line)| (id, line.to_owned())));
    }

    #[test]
    fn a_secret_split_over_chunks_or_by_escape_sequences_is_masked() {
        let redactor = Redactor::new();
        redactor.add(b"hunter2").unwrap();
        let events = vec![
            output(1, Stream::Stdout, "is hun"),
            output(2, Stream::Stdout, "x\n"),
            output(1, Stream::Stdout, "ter2\nhun\x1b[1mter2\n"),
            output(1, Stream::Stdout, "ends with hunt"),
        ];
        let lines = passed(&mut Filter::new(redactor, true), events);
        let expected = [(2, "x"), (1, "is ***"), (1, "***"), (1, "ends with hunt")];
        assert_eq!(lines, expected.map(|(id, line)| (id, line.to_owned())));
    }

    #[test]
    fn what_a_step_writes_without_end_is_clipped_and_its_end_is_shown_where_it_fails() {
        use Stream::{Stderr, Stdout};
        let written: String = (0..600_000).map(|i| format!("line {i}\n")).collect();
        for outcome in [Outcome::Built, Outcome::Failed, Outcome::Cancelled] {
            let redactor = Redactor::new();
            redactor.add(b"hunter2").unwrap();
            let mut filter = Filter::new(redactor, true);
            let (mut lines, mut left_out) = (Vec::new(), Vec::new());
            let mut sink = |event| match event {
                Event::StepOutput { id: 1, bytes, .. } => lines.push(String::from_utf8(bytes).unwrap()),
                Event::OutputClipped { id, bytes } => left_out.push((id, bytes, lines.len())),
                _ => {}
            };
            let chunks = written.as_bytes().chunks(64 * 1024).map(|chunk| (Stdout, chunk));
            let end: [(Stream, &[u8]); 4] =
                [(Stderr, b"is hun"), (Stdout, b"no line feed"), (Stderr, b"ter2\nhun\x1b[1mter2\n"), (Stderr, b"hunt")];
            for (stream, bytes) in std::iter::once((Stderr, &b"begun "[..])).chain(chunks).chain(end) {
                filter.pass(Event::StepOutput { id: 1, stream, bytes: bytes.to_vec() }, &mut |event| sink(event));
            }
            filter.pass(output(2, Stdout, "of another step\n"), &mut |event| sink(event));
            filter.pass(Event::StepFinished { id: 1, outcome, seconds: 0.0 }, &mut |event| sink(event));
            let &[(1, bytes, shown)] = &left_out[..] else { panic!("{left_out:?}") };
            assert_eq!(lines[..shown], written.lines().take(65_536).collect::<Vec<_>>(), "{outcome:?}");
            let end = &lines[shown..];
            if outcome == Outcome::Failed {
                let last = end.iter().position(|line| line == "line 599999").unwrap();
                assert_eq!(end[last + 1..], ["begun is ***", "***", "no line feed", "hunt"]);
                assert!((1000..20_000).contains(&last) && end[0] == format!("line {}", 599_999 - last), "{last}: {}", end[0]);
            } else {
                assert!(end.is_empty(), "{end:?}");
                let first: usize = written.lines().take(65_536).map(|line| line.len() + 1).sum();
                assert_eq!(bytes as usize, written.len() - first + "begun is ***\nhun\x1b[1mter2\nno line feedhunt".len());
            }
        }
    }

    #[test]
    fn free_text_is_masked_and_made_one_line() {
        let redactor = Redactor::new();
        redactor.add(b"hunter2").unwrap();
        let mut filter = Filter::new(redactor, true);
        let mut seen = Vec::new();
        let name = "[api 1/2] RUN <<EOF\nlogin hunter2\r\nEOF".to_owned();
        let reason = Some("hunter2\x1b[2J changed".to_owned());
        filter.pass(Event::StepStarted { id: 1, services: vec![], name, reason }, &mut |event| seen.push(event));
        let name = "[api 1/2] RUN <<EOF login ***  EOF".to_owned();
        assert_eq!(seen, [Event::StepStarted { id: 1, services: vec![], name, reason: Some("*** changed".to_owned()) }]);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let mut filter = Filter::new(Redactor::new(), true);
        let lines = passed(&mut filter, vec![output(1, Stream::Stdout, &format!("x{}", "ä".repeat(100_000)))]);
        assert!(lines.iter().all(|(_, line)| line.len() <= LONGEST_LINE && !line.contains('\u{fffd}')));
        assert_eq!(lines.iter().map(|(_, line)| line.len()).sum::<usize>(), 200_001);
    }
}
