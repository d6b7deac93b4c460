//! Sizes as people write them.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_written() {
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
    }
}
