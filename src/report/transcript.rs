//! What a Step has said, in one piece. `clip` bounds how much that is.

/// Lines, each with its line feed.
#[derive(Default)]
pub(super) struct Transcript(String);

impl Transcript {
    pub fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub fn last(&self) -> Option<&str> {
        self.0.lines().rev().find(|line| !line.trim().is_empty())
    }

    /// The lines under a header that names the Step.
    pub fn render(&self, name: &str, bar: &str, out: &mut Vec<u8>) {
        let header = if self.0.is_empty() { format!("{name} wrote no output\n") } else { format!("output of {name}\n") };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(self.lines(bar).as_bytes());
    }

    /// The lines, each behind a bar. Nothing where there was no output.
    pub fn lines(&self, bar: &str) -> String {
        self.0.lines().map(|line| format!("{bar} {line}").trim_end().to_owned() + "\n").collect()
    }
}
