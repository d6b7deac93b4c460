//! Sizes and times as people write them on the command line.

use std::time::Duration;

pub use crate::config::parse_bytes;

/// A time span: `90s`, `15m`, `72h`, `14d`.
pub fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Bytes as text, as [`parse_bytes`] reads them: `512 B`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = None;
    for name in UNITS {
        if size < 1023.95 {
            break;
        }
        size /= 1024.0;
        unit = Some(name);
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{size:.1} {unit}"))
}

/// A time span as text, as [`parse_span`] reads it, rounded down: `90s` is `1m`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_written_as_they_read() {
        for (size, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"), (10 << 30, "10.0 GiB")] {
            assert_eq!(bytes(size), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (119, "1m"), (7200, "2h"), (86_400 * 400, "400d")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn spans_read_as_written() {
        for (text, seconds) in [("90s", Some(90)), ("72h", Some(259_200)), ("14d", Some(1_209_600)), ("d", None), ("", None), ("5é", None)]
        {
            assert_eq!(parse_span(text).map(|s| s.as_secs()), seconds, "{text}");
        }
    }
}
