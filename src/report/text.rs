//! Widths, sizes and times as text.

use unicode_width::UnicodeWidthChar;

/// Terminal columns of a text without control characters.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` in at most `columns`; what is cut off at the end becomes `ellipsis`.
pub(super) fn truncate(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ellipsis));
    let mut out = head(text, room).to_owned();
    out.push_str(head(ellipsis, columns));
    out
}

/// `text` in at most `columns`; what does not fit is taken out of the middle, for both ends of a name tell it apart.
pub(super) fn shorten_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(2);
    let front = head(text, room.div_ceil(2));
    let mut back = text.len();
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > room / 2 {
            break;
        }
        back = at;
    }
    format!("{front}{}{}", head("..", columns), &text[back..])
}

/// `text` and spaces up to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > columns
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// What stands in the place of output that is not shown (`clip`).
pub(super) fn left_out(count: u64) -> String {
    format!("({} of output left out: of a Step, at most 2 MiB are shown, and its last lines where it fails)", bytes(count))
}

/// A number of bytes in decimal units, as registries count: `512 B`, `1.2 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = None;
    for name in UNITS {
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = Some(name);
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{size:.1} {unit}"))
}

/// A number of things: `1 request`, `2 requests`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A number of seconds: `0.4s`, `2m05s`, `1h02m`.
pub(super) fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 { format!("{}m{:02}s", whole / 60, whole % 60) } else { format!("{}h{:02}m", whole / 3600, whole / 60 % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_999, "1.0 MB"), (12_345_678_901, "12.3 GB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (count, text) in [(0.04, "0.0s"), (12.34, "12.3s"), (59.96, "1m00s"), (125.0, "2m05s"), (3725.0, "1h02m"), (f64::NAN, "0.0s")] {
            assert_eq!(seconds(count), text);
        }
    }

    #[test]
    fn text_is_cut_by_columns_not_by_characters() {
        for (text, columns, end, middle) in [
            ("abcdef", 6, "abcdef", "abcdef"),
            ("abcdef", 5, "abcd…", "ab..f"),
            ("日本語", 5, "日本…", "日.."),
            ("日本語", 3, "日…", ".."),
            ("abc", 1, "…", "."),
            ("abc", 0, "", ""),
        ] {
            assert_eq!(truncate(text, columns, "…"), end);
            assert_eq!(shorten_middle(text, columns), middle);
        }
    }
}
