//! Sizes as Docker's tools write them (`go-units`): `64m`, `1.5GiB`, `1024`.

/// The bytes that `text` means: a number, and a unit with powers of 1024.
pub(super) fn parse_size(text: &str) -> Option<i64> {
    let end = text.rfind(|char: char| char.is_ascii_digit() || matches!(char, '.' | ' '))? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let unit = unit.to_lowercase();
    let exponent = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    Some((number * 1024f64.powi(exponent)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        let cases = [
            ("128", Some(128)),
            ("64m", Some(64 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("2KB", Some(2048)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1bb", None),
            ("-1m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
