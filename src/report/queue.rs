//! The bounded way from those who work to the rendering thread. Output that comes faster than it is read waits. A reader that
//! reads nothing at all, as a terminal stopped with Ctrl-S, costs a build at most [`PATIENCE`]; after that, output is dropped
//! (and its loss said) until it reads again.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::event::Event;

/// Bytes of output that may wait to be rendered.
const LIMIT: usize = 8 * 1024 * 1024;
/// Bytes of output that are rendered and written at once: room for new output appears in such steps.
const BATCH: usize = 64 * 1024;
/// Waiting events from which on progress is not worth its memory.
const PROGRESS_LIMIT: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    stalled: bool,
    dropped: usize,
    closed: bool,
}

impl Queue {
    pub fn new() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new() }
    }

    /// Hands an event over. Only output waits for room; other events are few and small.
    pub fn push(&self, event: Event) {
        let size = output_bytes(&event);
        let mut state = self.lock();
        if size > 0 && state.bytes >= LIMIT && !state.stalled {
            let full = |state: &mut State| state.bytes >= LIMIT && !state.closed && !state.stalled;
            state = self.changed.wait_timeout_while(state, PATIENCE, full).unwrap_or_else(PoisonError::into_inner).0;
            state.stalled = state.bytes >= LIMIT;
        }
        // The next progress says all that this one says.
        if state.closed || matches!(event, Event::LayerProgress { .. }) && state.events.len() >= PROGRESS_LIMIT {
            return;
        }
        if size > 0 && state.stalled {
            state.dropped += size;
            return;
        }
        state.bytes += size;
        state.events.push_back(event);
        self.changed.notify_all();
    }

    /// The next events that wait; none if there is none until `deadline`. `None` once the queue is closed and empty.
    pub fn pop(&self, deadline: Instant) -> Option<Vec<Event>> {
        let idle = |state: &mut State| state.events.is_empty() && !state.closed;
        let timeout = deadline.saturating_duration_since(Instant::now());
        let mut state = self.changed.wait_timeout_while(self.lock(), timeout, idle).unwrap_or_else(PoisonError::into_inner).0;
        if state.events.is_empty() && state.closed {
            return None;
        }
        state.stalled = false;
        let dropped = std::mem::take(&mut state.dropped);
        if dropped > 0 {
            let message = format!("{dropped} bytes of output were dropped because they were not read fast enough");
            state.events.push_back(Event::Warning { message, file: None, line: None });
        }
        let mut events = Vec::new();
        let mut taken = 0;
        while taken < BATCH
            && let Some(event) = state.events.pop_front()
        {
            taken += output_bytes(&event);
            events.push(event);
        }
        state.bytes -= taken;
        self.changed.notify_all();
        Some(events)
    }

    /// From now on, events are ignored; those that wait are still popped.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn output_bytes(event: &Event) -> usize {
    if let Event::StepOutput { bytes, .. } = event { bytes.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::event::Stream;
    use super::*;

    #[test]
    fn a_reader_that_does_not_read_loses_output_but_no_other_event_and_is_told() {
        let queue = Queue::new();
        let output = |bytes| Event::StepOutput { id: 1, stream: Stream::Stdout, bytes };
        let start = Instant::now();
        queue.push(output(vec![b'x'; LIMIT]));
        (0..100).for_each(|_| queue.push(output(vec![b'y'; 7])));
        queue.push(Event::Notice { message: "kept".to_owned() });
        assert!(start.elapsed() < 3 * PATIENCE, "waits once, not for every chunk");

        assert_eq!(queue.pop(Instant::now()).unwrap().len(), 1);
        let events = queue.pop(Instant::now()).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0], Event::Notice { message: "kept".to_owned() });
        assert!(matches!(&events[1], Event::Warning { message, .. } if message.starts_with("700 bytes")));

        queue.push(output(b"read again".to_vec()));
        assert_eq!(queue.pop(Instant::now()).unwrap(), [output(b"read again".to_vec())]);
    }

    #[test]
    fn a_reader_that_is_merely_slower_gets_everything() {
        let queue = Queue::new();
        let (chunk, chunks) = (64 * 1024, 200);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..chunks).for_each(|_| queue.push(Event::StepOutput { id: 1, stream: Stream::Stdout, bytes: vec![b'x'; chunk] }));
                queue.close();
            });
            let mut read = 0;
            while let Some(events) = queue.pop(Instant::now() + PATIENCE) {
                read += events.iter().map(output_bytes).sum::<usize>();
                std::thread::sleep(Duration::from_millis(2));
            }
            read
        });
        assert_eq!(read, chunk * chunks);
    }

    #[test]
    fn a_closed_queue_still_yields_what_waits_and_then_ends() {
        let queue = Queue::new();
        queue.push(Event::Notice { message: "last".to_owned() });
        queue.close();
        queue.push(Event::Notice { message: "too late".to_owned() });
        assert_eq!(queue.pop(Instant::now()).map(|events| events.len()), Some(1));
        assert_eq!(queue.pop(Instant::now()), None);
    }
}
