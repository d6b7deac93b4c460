//! The door through which everybody who works says what happens, and the one thread that renders it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Error;
use super::event::Event;
use super::filter::Filter;
use super::forge::Forge;
use super::grouped::Grouped;
use super::json::Json;
use super::plain::Plain;
use super::queue::Queue;
use super::quiet::Quiet;
use super::redact::Redactor;
use super::tally::Tally;
use super::terminal::Terminal;
use super::tty::Tty;

/// How a run talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// [`Mode::Tty`] on a terminal, else [`Mode::Plain`].
    Auto,
    /// A live view. Without a terminal, [`Mode::Plain`].
    Tty,
    /// One line an event.
    Plain,
    /// What a Step said in one piece that folds in the log of a CI service. On a terminal, [`Mode::Tty`].
    Grouped(Forge),
    /// One JSON object a line.
    Json,
    /// Failures only.
    Quiet,
}

/// Turns events into bytes. Output arrives as whole, redacted lines (see `filter`); `now` is the time since the run began.
pub(super) trait Render: Send {
    /// Appends what comes before the first event.
    fn start(&mut self, _out: &mut Vec<u8>) {}
    /// Takes in one event and appends what is to be written for it at once.
    fn event(&mut self, event: &Event, now: Duration, out: &mut Vec<u8>);
    /// Called ten times a second.
    fn tick(&mut self, _now: Duration, _out: &mut Vec<u8>) {}
    /// Appends what comes after the last event.
    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// Where events go. Clones share one rendering thread; what was emitted is written when the last clone goes, at the latest.
#[derive(Clone)]
pub struct Reporter {
    inner: Option<Arc<Inner>>,
    tally: Arc<Tally>,
    /// By [`Reporter::warning_once`].
    warned: Arc<Mutex<BTreeSet<&'static str>>>,
}

struct Inner {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The time between two frames.
const TICK: Duration = Duration::from_millis(100);

impl Reporter {
    /// Starts the rendering thread. `verbosity` counts `-v`; a `writer` that fails is written to no more, silently.
    pub fn new(
        mode: Mode,
        verbosity: u8,
        redactor: Redactor,
        writer: Box<dyn Write + Send>,
        terminal: Option<Terminal>,
    ) -> Result<Self, Error> {
        let mut sanitise = true;
        let render: Box<dyn Render> = match (mode, terminal) {
            (Mode::Auto | Mode::Tty | Mode::Grouped(_), Some(terminal)) => Box::new(Tty::new(terminal)),
            (Mode::Grouped(forge), None) => Box::new(Grouped::new(forge, verbosity)),
            (Mode::Auto | Mode::Tty, None) | (Mode::Plain, _) => Box::new(Plain::new(verbosity)),
            (Mode::Json, _) => {
                sanitise = false;
                Box::new(Json)
            }
            (Mode::Quiet, _) => Box::new(Quiet::default()),
        };
        let queue = Arc::new(Queue::new());
        let renderer = Renderer { filter: Filter::new(redactor, sanitise), render, writer: Some(writer), started: Instant::now() };
        let thread = std::thread::Builder::new().name("report".to_owned()).spawn({
            let queue = queue.clone();
            move || renderer.run(&queue)
        });
        let thread = Mutex::new(Some(thread.map_err(Error::Thread)?));
        Ok(Self { inner: Some(Arc::new(Inner { queue, thread })), tally: Arc::default(), warned: Arc::default() })
    }

    /// Says nothing and starts no thread.
    pub fn silent() -> Self {
        Self { inner: None, tally: Arc::default(), warned: Arc::default() }
    }

    /// Hands an event over. Never fails, and waits at most a second each time that stderr is not read; output is dropped then.
    pub fn emit(&self, event: Event) {
        self.tally.note(&event);
        if let Some(inner) = &self.inner {
            inner.queue.push(event);
        }
    }

    /// What was emitted by all clones, added up.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub fn notice(&self, message: impl Into<String>) {
        self.emit(Event::Notice { message: message.into() });
    }

    pub fn warning(&self, message: impl Into<String>) {
        self.emit(Event::Warning { message: message.into(), file: None, line: None });
    }

    /// Of what is so for many Steps: said the first time.
    pub fn warning_once(&self, message: &'static str) {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(message) {
            self.warning(message);
        }
    }

    /// Waits until everything is written and the live view is gone. Events of other clones are ignored from now on.
    pub fn finish(&self) {
        if let Some(inner) = &self.inner {
            inner.finish();
        }
    }
}

impl Inner {
    fn finish(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the renderer was reported by its thread; the build itself is not concerned.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Renderer {
    filter: Filter,
    render: Box<dyn Render>,
    /// `None` once it has failed, as a closed pipe does.
    writer: Option<Box<dyn Write + Send>>,
    started: Instant,
}

impl Renderer {
    fn run(mut self, queue: &Queue) {
        let mut out = Vec::new();
        self.render.start(&mut out);
        let mut next_tick = self.started;
        while let Some(events) = queue.pop(next_tick) {
            self.take_in(events, &mut out);
            if Instant::now() >= next_tick {
                self.render.tick(self.started.elapsed(), &mut out);
                next_tick = Instant::now() + TICK;
            }
            self.write(&mut out);
        }
        let now = self.started.elapsed();
        self.filter.finish(&mut |event| self.render.event(&event, now, &mut out));
        self.render.finish(&mut out);
        self.write(&mut out);
    }

    fn take_in(&mut self, events: Vec<Event>, out: &mut Vec<u8>) {
        let now = self.started.elapsed();
        for event in events {
            self.filter.pass(event, &mut |event| self.render.event(&event, now, out));
        }
    }

    /// Writes all of `out` at once, so that a frame does not flicker.
    fn write(&mut self, out: &mut Vec<u8>) {
        if !out.is_empty()
            && let Some(writer) = &mut self.writer
            && writer.write_all(out).and_then(|()| writer.flush()).is_err()
        {
            self.writer = None;
        }
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::event::{Outcome, Stream};
    use super::super::terminal::Size;
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn terminal() -> Option<Terminal> {
        Some(Terminal::of_size(|| Size { columns: 80, rows: 24 }, true, true))
    }

    fn run(mode: Mode, terminal: Option<Terminal>) -> String {
        let redactor = Redactor::new();
        let writer = Shared::default();
        let reporter = Reporter::new(mode, 0, redactor.clone(), Box::new(writer.clone()), terminal).unwrap();
        redactor.add(b"hunter2").unwrap();
        reporter.warning("hunter2 is weak");
        let name = "[api 1/1] RUN login hunter2".to_owned();
        reporter.emit(Event::StepStarted { id: 1, services: vec!["api".into()], name, reason: None });
        for chunk in [&b"token hun"[..], b"ter2\n\xff\"aHVudGVyMg", b"==\"\x1b[2J\n", b"rest"] {
            reporter.emit(Event::StepOutput { id: 1, stream: Stream::Stderr, bytes: chunk.to_vec() });
        }
        reporter.emit(Event::StepFinished { id: 1, outcome: Outcome::Failed, seconds: 0.5 });
        reporter.finish();
        reporter.notice("too late");
        writer.text()
    }

    #[test]
    fn plain_is_the_mode_of_a_run_without_terminal() {
        let expected = "warning: *** is weak\n[api 1/1] RUN login ***\napi 1/1│ token ***\napi 1/1│ \u{fffd}\"***\"\napi 1/1│ rest\n\
                        [api 1/1] failed in 0.5s\n";
        for mode in [Mode::Auto, Mode::Tty, Mode::Plain] {
            assert_eq!(run(mode, None), expected, "{mode:?}");
        }
        assert_eq!(run(Mode::Plain, terminal()), expected);
    }

    #[test]
    fn json_is_one_object_a_line_and_says_its_version_first() {
        let text = run(Mode::Json, terminal());
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["type"], &lines[0]["version"]), (&"start".into(), &1.into()));
        let types: Vec<_> = lines[1..].iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["warning", "step_started", "step_output", "step_output", "step_output", "step_finished"]);
        assert_eq!(lines[4]["text"], "\u{fffd}\"***\"\u{1b}[2J");
        assert_eq!(lines[6]["outcome"], "failed");
    }

    #[test]
    fn quiet_shows_a_failure_only() {
        assert_eq!(run(Mode::Quiet, terminal()), "output of [api 1/1] RUN login ***\n| token ***\n| \u{fffd}\"***\"\n| rest\n");
    }

    #[test]
    fn no_mode_shows_a_secret() {
        let grouped = [Mode::Grouped(Forge::GitHub), Mode::Grouped(Forge::GitLab)].map(|mode| run(mode, None));
        let modes = [Mode::Auto, Mode::Tty, Mode::Plain, Mode::Json, Mode::Quiet].map(|mode| run(mode, terminal()));
        for text in grouped.iter().chain(&modes) {
            assert!(text.contains("***") && !text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
        }
    }

    #[test]
    fn a_closed_pipe_is_silence() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let reporter = Reporter::new(Mode::Plain, 0, Redactor::new(), Box::new(writer), None).unwrap();
        (0..1000).for_each(|i| reporter.notice(format!("line {i}")));
        let thread = reporter.inner.as_ref().unwrap().thread.lock().unwrap().take().unwrap();
        reporter.finish();
        assert!(thread.join().is_ok(), "the rendering thread panicked");
    }

    #[test]
    fn a_warning_of_many_is_said_once() {
        let writer = Shared::default();
        let reporter = Reporter::new(Mode::Plain, 0, Redactor::new(), Box::new(writer.clone()), None).unwrap();
        ["one", "two", "one"].into_iter().for_each(|message| reporter.clone().warning_once(message));
        drop(reporter);
        assert_eq!(writer.text(), "warning: one\nwarning: two\n");
    }

    #[test]
    fn what_was_emitted_is_written_when_the_last_clone_goes() {
        let writer = Shared::default();
        let reporter = Reporter::new(Mode::Plain, 0, Redactor::new(), Box::new(writer.clone()), None).unwrap();
        std::thread::scope(|scope| {
            for i in 0..4 {
                let reporter = reporter.clone();
                scope.spawn(move || (0..100).for_each(|j| reporter.notice(format!("{i} {j}"))));
            }
        });
        drop(reporter);
        assert_eq!(writer.text().lines().count(), 400);
    }

    #[test]
    fn what_failed_stands_open_in_a_log_that_folds() {
        let text = run(Mode::Grouped(Forge::GitHub), None);
        let token = text.lines().find_map(|line| line.strip_prefix("::stop-commands::")).unwrap();
        let expected = "::warning::*** is weak\n[api 1/1] RUN login *** failed in 0.5s\n::stop-commands::T\n| token ***\n\
                        | \u{fffd}\"***\"\n| rest\n::T::\n";
        assert_eq!(text.replace(token, "T"), expected);
    }
}
