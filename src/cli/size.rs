//! Sizes and times as people write them on the command line.

use std::time::Duration;

/// Bytes: `512`, `64k`, `128m`, `10GiB`, `1.5gb`; powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(n) => n.checked_mul(factor),
        Err(_) => {
            number.parse::<f64>().ok().map(|n| n * factor as f64).filter(|n| n.is_finite() && *n >= 0.0 && *n < 1e18).map(|n| n as u64)
        }
    }
}

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
    fn sizes_and_spans_read_as_written() {
        for (text, bytes) in [
            ("512", Some(512)),
            ("64k", Some(65536)),
            ("1.5GiB", Some(1_610_612_736)),
            ("10 gb", Some(10 << 30)),
            ("", None),
            ("x", None),
            ("1q", None),
            ("-1", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
        for (text, seconds) in [("90s", Some(90)), ("72h", Some(259_200)), ("14d", Some(1_209_600)), ("d", None), ("", None), ("5é", None)]
        {
            assert_eq!(parse_span(text).map(|s| s.as_secs()), seconds, "{text}");
        }
    }
}
