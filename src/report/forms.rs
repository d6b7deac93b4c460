//! The spellings in which a secret leaks: as it is, line by line, in base64, in hexadecimal, in a URL, in JSON.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Shorter values are ignored: they would mask ordinary words and protect nothing.
pub(super) const SHORTEST: usize = 4;
/// A longer form is searched for in pieces of this size, which bounds what a stream must hold back.
pub(super) const LONGEST: usize = 1024;
/// Longer values are files, not tokens: they are searched for raw, in pieces and line by line, but not encoded.
const LONGEST_ENCODED: usize = 16 * 1024;
/// So many lines of a secret are encoded one by one, too.
const MOST_ENCODED_LINES: usize = 64;
/// Shorter lines are ordinary words (`true`, `user`), and so would be pieces of their encodings.
const SHORTEST_ENCODED_LINE: usize = 8;
/// Columns at which `base64` (coreutils, MIME) and PEM wrap.
const WRAPS: [usize; 2] = [76, 64];

/// Every byte string that stands for `secret`, each of [`SHORTEST`] to [`LONGEST`] bytes.
pub(super) fn forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    if secret.len() < SHORTEST {
        return forms;
    }
    add_spellings(&mut forms, secret);
    add_spellings(&mut forms, secret.trim_ascii_end());
    for (number, line) in secret.split(|&b| b == b'\n' || b == b'\r').map(<[u8]>::trim_ascii).enumerate() {
        // A user and a password on lines of their own; what has more lines is a key or a certificate.
        if number < MOST_ENCODED_LINES && line.len() >= SHORTEST_ENCODED_LINE {
            add_spellings(&mut forms, line);
        } else {
            add(&mut forms, line);
        }
    }
    forms
}

fn add_spellings(forms: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    add(forms, value);
    if (SHORTEST..=LONGEST_ENCODED).contains(&value.len()) {
        add_base64(forms, value);
        add_hex(forms, value);
        add_url(forms, value);
        add_json(forms, value);
    }
}

fn add(forms: &mut BTreeSet<Vec<u8>>, form: &[u8]) {
    if form.len() < SHORTEST {
        return;
    }
    forms.extend(form.chunks_exact(LONGEST).map(<[u8]>::to_vec));
    // What the pieces leave over, or the whole of a short form.
    forms.insert(form[form.len().saturating_sub(LONGEST)..].to_vec());
}

/// A value inside a longer base64 text starts at one of three bit offsets. At each, the characters that depend on the value
/// alone are a form; so are those at the end of the text, with and without padding.
fn add_base64(forms: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    for engine in [&STANDARD, &URL_SAFE] {
        for offset in 0..3 {
            let text = engine.encode([&[0; 2][..offset], value].concat());
            let first = (8 * offset).div_ceil(6);
            let inner_end = 8 * (offset + value.len()) / 6;
            let unpadded_end = text.trim_end_matches('=').len();
            for end in [inner_end, unpadded_end, text.len()] {
                add(forms, text.as_bytes().get(first..end).unwrap_or_default());
            }
        }
        let text = engine.encode(value);
        for columns in WRAPS {
            text.as_bytes().chunks(columns).filter(|line| line.len() >= 2 * SHORTEST).for_each(|line| add(forms, line));
        }
    }
}

/// `xxd -p` and `od -An -tx1`, without the spaces of the latter, and in upper case.
fn add_hex(forms: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    add(forms, hex.to_ascii_uppercase().as_bytes());
    // `xxd` wraps at 30 bytes.
    hex.as_bytes().chunks(60).filter(|line| line.len() >= 2 * SHORTEST).for_each(|line| add(forms, line));
    add(forms, hex.as_bytes());
}

/// RFC 3986 (everything but unreserved characters), `encodeURIComponent`, and HTML forms; with upper and lower case digits.
fn add_url(forms: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    for (kept, plus) in [("-._~", false), ("-_.!~*'()", false), ("*-._", true)] {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            let text: Vec<u8> = value
                .iter()
                .flat_map(|&b| match b {
                    b' ' if plus => vec![b'+'],
                    _ if b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b) => vec![b],
                    _ => vec![b'%', digits[usize::from(b >> 4)], digits[usize::from(b & 15)]],
                })
                .collect();
            add(forms, &text);
        }
    }
}

/// As JavaScript and Rust escape, as Go does (`<>&` too), and as Python does (ASCII only).
fn add_json(forms: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    let Some(quoted) = std::str::from_utf8(value).ok().and_then(|text| serde_json::to_string(text).ok()) else {
        return;
    };
    let text = &quoted[1..quoted.len() - 1];
    let escape = |which: fn(char) -> bool| {
        text.chars().fold(String::new(), |mut out, c| {
            if which(c) {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            } else {
                out.push(c);
            }
            out
        })
    };
    for form in [text.to_owned(), escape(|c| "<>&\u{2028}\u{2029}".contains(c)), escape(|c| !c.is_ascii()), text.replace('/', "\\/")] {
        add(forms, form.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_at_each_offset_is_found_whatever_surrounds_the_secret() {
        let secret = b"s3cr3t-t0ken?>";
        let forms = forms(secret);
        for before in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = STANDARD.encode([before.as_bytes(), secret, after.as_bytes()].concat());
                assert!(forms.iter().any(|form| text.contains(std::str::from_utf8(form).unwrap())), "{before} {after}");
            }
        }
    }

    #[test]
    fn forms_are_neither_too_short_nor_too_long() {
        let long: Vec<u8> = (0..5000u32).flat_map(|i| i.to_le_bytes()).collect();
        for secret in [&b"abcd"[..], b"ab\ncdef\n", &long, &b"a b c d\n".repeat(3000)] {
            let forms = forms(secret);
            assert!(!forms.is_empty());
            assert!(forms.iter().all(|form| (SHORTEST..=LONGEST).contains(&form.len())));
        }
    }

    #[test]
    fn a_line_is_found_in_every_spelling() {
        let forms = forms(b"user\npassw0rd-of-user\n");
        for text in [STANDARD.encode("passw0rd-of-user"), STANDARD.encode("user:passw0rd-of-user"), "7061737377307264".to_owned()] {
            assert!(
                forms.iter().any(|form| form.starts_with(text.as_bytes()) || text.contains(std::str::from_utf8(form).unwrap())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_shorter_than_four_bytes_has_no_form() {
        assert!(forms(b"abc").is_empty() && forms(b"").is_empty());
    }
}
