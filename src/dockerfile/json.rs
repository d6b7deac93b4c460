//! The JSON ("exec") form of arguments. Text is in this form if it starts with `[` and is valid JSON; otherwise BuildKit silently
//! reads it in shell form. A valid array that holds anything but strings is an error.

use std::ops::Range;

use serde::de::IgnoredAny;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonForm {
    /// The strings and the bytes of the text that each comes from, quotes included.
    Strings(Vec<(String, Range<usize>)>),
    NotStrings,
    NotJson,
}

/// Reads `text` as an array of strings.
pub(super) fn read_array(text: &str) -> JsonForm {
    let skipped = text.len() - text.trim_start().len();
    if !text[skipped..].starts_with('[') {
        return JsonForm::NotJson;
    }
    match strings(text, skipped + 1) {
        Some(found) => JsonForm::Strings(found),
        // Not an array of strings: it is some other array, or no JSON at all.
        None if serde_json::from_str::<IgnoredAny>(&text[skipped..]).is_ok() => JsonForm::NotStrings,
        None => JsonForm::NotJson,
    }
}

fn strings(text: &str, mut at: usize) -> Option<Vec<(String, Range<usize>)>> {
    let bytes = text.as_bytes();
    let skip_space = |mut at: usize| {
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    at = skip_space(at);
    if bytes.get(at) == Some(&b']') {
        return (skip_space(at + 1) == bytes.len()).then_some(found);
    }
    loop {
        at = skip_space(at);
        let (value, end) = string(text, at)?;
        found.push((value, at..end));
        at = skip_space(end);
        match bytes.get(at)? {
            b',' => at += 1,
            b']' => return (skip_space(at + 1) == bytes.len()).then_some(found),
            _ => return None,
        }
    }
}

/// One string literal at `at`, and the offset after it. Lone surrogates become U+FFFD, as in Go.
fn string(text: &str, at: usize) -> Option<(String, usize)> {
    let mut chars = text.get(at..)?.char_indices();
    if chars.next()?.1 != '"' {
        return None;
    }
    let mut value = String::new();
    let mut high_surrogate = None;
    while let Some((offset, char)) = chars.next() {
        let mut unit = None;
        match char {
            '"' => {
                value.extend(high_surrogate.map(|_: u32| char::REPLACEMENT_CHARACTER));
                return Some((value, at + offset + 1));
            }
            '\\' => {
                let plain = match chars.next()?.1 {
                    escaped @ ('"' | '\\' | '/') => escaped,
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let digits = text.get(at + offset + 2..at + offset + 6).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                        unit = Some(u32::from_str_radix(digits, 16).ok()?);
                        chars.nth(3)?;
                        '\0'
                    }
                    _ => return None,
                };
                match (unit, high_surrogate.take()) {
                    (Some(low @ 0xdc00..=0xdfff), Some(high)) => {
                        value.extend(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
                    }
                    (unit, pending) => {
                        value.extend(pending.map(|_| char::REPLACEMENT_CHARACTER));
                        match unit {
                            Some(high @ 0xd800..=0xdbff) => high_surrogate = Some(high),
                            Some(code) => value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
                            None => value.push(plain),
                        }
                    }
                }
            }
            '\0'..='\u{1f}' => return None,
            _ => {
                value.extend(high_surrogate.take().map(|_| char::REPLACEMENT_CHARACTER));
                value.push(char);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Option<Vec<String>> {
        match read_array(text) {
            JsonForm::Strings(found) => Some(found.into_iter().map(|(value, _)| value).collect()),
            JsonForm::NotStrings | JsonForm::NotJson => None,
        }
    }

    #[test]
    fn arrays_of_strings_are_read() {
        let cases: &[(&str, &[&str])] = &[
            ("[]", &[]),
            (" [ ] ", &[]),
            (r#"["a", "b c"]"#, &["a", "b c"]),
            (r#"[ "\u0041\n\"\\" ]"#, &["A\n\"\\"]),
            (r#"["\ud83d\ude00", "\ud83dx", "\udc00", "\ud83d"]"#, &["😀", "\u{fffd}x", "\u{fffd}", "\u{fffd}"]),
            (r#"["ü"]"#, &["ü"]),
        ];
        for (text, expected) in cases {
            assert_eq!(texts(text).unwrap_or_else(|| panic!("{text}")), *expected, "{text}");
        }
    }

    #[test]
    fn anything_else_that_is_not_json_falls_back() {
        let cases = ["", "a", "['a']", r#"["a"] # c"#, r#"["a",]"#, r#"["a""#, r#"["c:\x"]"#, "[a]", r#"["\u12"]"#, r#"["\u+123"]"#, "[1,"];
        for text in cases {
            assert_eq!(read_array(text), JsonForm::NotJson, "{text}");
        }
    }

    #[test]
    fn valid_arrays_of_other_things_are_an_error() {
        for text in ["[1]", r#"["a", null]"#, "[[]]", r#"[{"a": 1}]"#, &format!("[{}{}]", "[".repeat(50_000), "]".repeat(50_000))] {
            assert_eq!(read_array(text), JsonForm::NotStrings, "{text:.40}");
        }
    }

    #[test]
    fn each_string_knows_its_bytes() {
        let text = r#" ["a", "ü"]"#;
        let JsonForm::Strings(found) = read_array(text) else { panic!("not strings") };
        let slices: Vec<&str> = found.iter().map(|(_, range)| &text[range.clone()]).collect();
        assert_eq!(slices, [r#""a""#, r#""ü""#]);
    }
}
