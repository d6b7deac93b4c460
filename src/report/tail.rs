//! The end of a Step's output, kept in case that the Step fails.

use std::collections::VecDeque;

/// Bytes kept a Step.
const LIMIT: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Tail {
    pub fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > LIMIT
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len() + 1;
            self.dropped += 1;
        }
    }

    pub fn last(&self) -> Option<&str> {
        self.lines.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty())
    }

    /// The kept lines under a header that names the Step.
    pub fn render(&self, name: &str, bar: &str, out: &mut Vec<u8>) {
        let header = if self.lines.is_empty() { format!("{name} wrote no output\n") } else { format!("output of {name}\n") };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(self.lines(bar).as_bytes());
    }

    /// The kept lines, each behind a bar. Nothing where there was no output.
    pub fn lines(&self, bar: &str) -> String {
        let mut text = String::new();
        if self.dropped > 0 {
            text.push_str(&format!("({} earlier lines are not kept)\n", self.dropped));
        }
        for line in &self.lines {
            text.push_str(format!("{bar} {line}").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mebibyte_is_kept_and_what_is_gone_is_said() {
        let mut tail = Tail::default();
        (0..200_000).for_each(|i| tail.push(&format!("line {i}")));
        let mut out = Vec::new();
        tail.render("[api 1/2] RUN x", "|", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.len() < 2 * LIMIT);
        assert!(text.starts_with("output of [api 1/2] RUN x\n(") && text.contains(" earlier lines are not kept)\n|"));
        assert!(text.ends_with("| line 199999\n"));
    }
}
