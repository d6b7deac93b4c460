//! Go's duration notation (`time.ParseDuration`): `1h30m`, `1.5s`, `300ms`.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("invalid duration {0:?}")]
    Invalid(String),
    #[error("missing unit in duration {0:?}")]
    MissingUnit(String),
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
}

/// The nanoseconds that `text` means; may be negative.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let (whole_digits, after) = rest.split_at(whole);
        let (fraction_digits, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole_digits.is_empty() && fraction_digits.is_empty() {
            return Err(invalid());
        }
        let unit_length = after.bytes().take_while(|byte| *byte != b'.' && !byte.is_ascii_digit()).count();
        let (unit, after) = after.split_at(unit_length);
        let scale: u64 = match unit {
            "" => return Err(DurationError::MissingUnit(text.to_owned())),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
        };
        let whole: u64 = if whole_digits.is_empty() { 0 } else { whole_digits.parse().map_err(|_| invalid())? };
        total = whole.checked_mul(scale).and_then(|whole| total.checked_add(whole)).ok_or_else(invalid)?;
        // Eighteen digits are more than a nanosecond of any unit can show, and fit.
        let digits = &fraction_digits[..fraction_digits.len().min(18)];
        if let Ok(fraction) = digits.parse::<u128>() {
            let part = fraction * u128::from(scale) / 10u128.pow(digits.len() as u32);
            total = u64::try_from(part).ok().and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        }
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(total)) => Ok(-total),
        (false, Ok(total)) => Ok(total),
        (true, Err(_)) if total == 1 << 63 => Ok(i64::MIN),
        (_, Err(_)) => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("1.s", 1_000_000_000),
            ("-1us", -1_000),
            ("+3µs", 3_000),
            ("0.000000000000000000009h", 0),
            ("2562047h47m16.854775807s", i64::MAX),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_refused() {
        for text in ["", "-", "s", ".s", "1 s", "99999999999h", "2562047h47m16.854775808s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration("5"), Err(DurationError::MissingUnit("5".into())));
        assert_eq!(parse_duration("5d"), Err(DurationError::UnknownUnit { unit: "d".into(), text: "5d".into() }));
    }
}
