//! The end of what a RUN writes, which may say why it ends.

/// Bytes that are looked at: what a program has to say about a failure, and the programs that have called it.
const MOST: usize = 16 << 10;

/// How C (EAGAIN of fork(2) and pthread_create(3)), shells, CPython, the JVM and Go say that no process or thread could be started.
const NO_PROCESS: [&str; 6] = [
    "resource temporarily unavailable",
    "can't fork",
    "cannot fork",
    "can't start new thread",
    "unable to create native thread",
    "failed to create new os thread",
];

#[derive(Default)]
pub(super) struct LastWords(Vec<u8>);

impl LastWords {
    pub fn hear(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(MOST)..]);
        if self.0.len() > 2 * MOST {
            self.0.drain(..self.0.len() - MOST);
        }
    }

    pub fn tell_of_no_process(&self) -> bool {
        let last = &self.0[self.0.len().saturating_sub(MOST)..];
        let said = String::from_utf8_lossy(last).to_lowercase();
        NO_PROCESS.iter().any(|words| said.contains(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_start_a_process_is_heard_at_the_end_alone() {
        for (chunks, expected) in [
            (&["sh: can't fork: Resource tempor", "arily unavailable\n"][..], true),
            (&["sh: 1: Cannot fork\n", "make: *** [all] Error 2\n"], true),
            (&["java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory"], true),
            (&["sh: can't fork\n", &"x".repeat(MOST)], false),
            (&[&("sh: can't fork\n".to_owned() + &"x".repeat(MOST))], false),
            (&[&"x".repeat(3 * MOST), "sh: can't fork\n"], true),
            (&["no such file\n"], false),
            (&[], false),
        ] {
            let mut words = LastWords::default();
            chunks.iter().for_each(|chunk| words.hear(chunk.as_bytes()));
            assert_eq!(words.tell_of_no_process(), expected, "{chunks:?}");
            assert!(words.0.len() <= 2 * MOST);
        }
    }
}
