//! Checks as text, and as JSON.

use serde::Serialize;

use super::check::{Check, Status};

/// What stdout carries with `--format json`.
#[derive(Serialize)]
pub struct Report<'a> {
    /// Nothing failed; there may be warnings.
    pub ok: bool,
    pub warnings: usize,
    pub failed: usize,
    pub checks: &'a [Check],
}

impl<'a> Report<'a> {
    pub fn new(checks: &'a [Check]) -> Self {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let failed = count(Status::Failed);
        Self { ok: failed == 0, warnings: count(Status::Warning), failed, checks }
    }

    /// A line each, and what to do about it. Text is broken at `columns`, if any are known, but for what is there to be pasted.
    pub fn text(&self, columns: Option<usize>, colour: bool) -> String {
        let titles: Vec<String> = self.checks.iter().map(title).collect();
        let widest = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0).min(48);
        let beside = STATUS + widest + 2;
        // Where little is left beside the titles, what was found stands below them.
        let narrow = columns.is_some_and(|columns| columns < beside + 24);
        let indent = if narrow { 2 } else { beside };
        let mut text = String::new();
        for (check, title) in self.checks.iter().zip(&titles) {
            let status = paint(check.status, colour);
            let room = columns.map(|columns| columns.saturating_sub(indent));
            let found = wrap(&check.found, room).join(&format!("\n{}", " ".repeat(indent)));
            match narrow {
                true => text += &format!("{status}{title}\n  {found}\n"),
                false => text += &format!("{status}{title:widest$}  {found}\n"),
            }
            let below = if narrow { 2 } else { STATUS };
            let mut add = |label: &str, what: &str| {
                let what = what.replace('\n', &format!("\n{}", " ".repeat(below + label.len() + 2)));
                text += &format!("{}{label}: {what}\n", " ".repeat(below));
            };
            check.done.iter().for_each(|done| add("done", done));
            check.fix.iter().filter(|_| check.status != Status::Ok).for_each(|fix| add("fix", fix));
        }
        let ok = self.checks.len() - self.warnings - self.failed;
        let warnings = if self.warnings == 1 { "1 warning".to_owned() } else { format!("{} warnings", self.warnings) };
        text + &format!("{ok} ok, {warnings}, {} failed\n", self.failed)
    }
}

/// Columns of the status and the space behind it.
const STATUS: usize = 9;

fn title(check: &Check) -> String {
    check.subject.as_ref().map_or_else(|| check.name.to_owned(), |subject| format!("{} {subject}", check.name))
}

fn paint(status: Status, colour: bool) -> String {
    let name = status.name();
    let space = " ".repeat(STATUS - name.len());
    let sgr = match status {
        Status::Ok => "32",
        Status::Warning => "33",
        Status::Failed => "31;1",
    };
    if colour { format!("\x1b[{sgr}m{name}\x1b[0m{space}") } else { format!("{name}{space}") }
}

/// Lines of at most `room` columns, broken between words; a longer word stays whole.
fn wrap(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let length = lines[last].chars().count();
        if length > 0 && length + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            lines[last] += &format!("{}{word}", if length > 0 { " " } else { "" });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        vec![
            Check::ok("namespaces", "root with own namespaces and overlayfs"),
            Check::warning("disk", "1.0 GiB free on ext4, which is little for the layers of a build").fix("brik cache prune"),
            Check { done: Some("made it".to_owned()), ..Check::failed("registry", "nothing listens there").of("127.0.0.1:1") },
        ]
    }

    #[test]
    fn a_check_is_a_line_and_its_fix_another() {
        let expected = "ok       namespaces            root with own namespaces and overlayfs\n\
                        warning  disk                  1.0 GiB free on ext4, which is little for the layers of a build\n         \
                        fix: brik cache prune\n\
                        failed   registry 127.0.0.1:1  nothing listens there\n         done: made it\n\
                        1 ok, 1 warning, 1 failed\n";
        assert_eq!(Report::new(&checks()).text(None, false), expected);
    }

    #[test]
    fn a_narrow_terminal_is_written_to_line_by_line() {
        let expected = "ok       namespaces\n  root with own namespaces and overlayfs\n\
                        warning  disk\n  1.0 GiB free on ext4, which is little\n  for the layers of a build\n  fix: brik cache prune\n\
                        failed   registry 127.0.0.1:1\n  nothing listens there\n  done: made it\n\
                        1 ok, 1 warning, 1 failed\n";
        let text = Report::new(&checks()).text(Some(40), false);
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn colour_is_on_the_status_alone() {
        let text = Report::new(&checks()).text(None, true);
        assert!(text.contains("\x1b[33mwarning\x1b[0m  disk"), "{text:?}");
        assert_eq!(text.matches('\x1b').count(), 6);
    }
}
