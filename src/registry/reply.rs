//! What a registry says when it refuses (distribution spec, "Error Codes"), cut and cleaned for people.

use std::fmt;

use serde::Deserialize;

/// At most this much of a registry's own words reaches a message, in characters.
const MAX_CHARS: usize = 300;

/// The first error of a registry's answer. Both parts may be empty: a HEAD is answered without a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// `DENIED`, `MANIFEST_UNKNOWN`…, or empty.
    pub code: String,
    pub message: String,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default)]
    message: serde_json::Value,
}

/// Token servers answer in OAuth's shape (RFC 6749 §5.2) or with a lone `details`.
#[derive(Deserialize)]
struct OAuth {
    #[serde(default)]
    error: String,
    #[serde(default, alias = "details", alias = "message")]
    error_description: String,
}

impl Reply {
    pub(super) fn parse(body: &[u8]) -> Self {
        if let Ok(Body { errors }) = serde_json::from_slice::<Body>(body) {
            let text = |value: &serde_json::Value| clean(value.as_str().unwrap_or_default());
            return errors.first().map(|e| Self { code: text(&e.code), message: text(&e.message) }).unwrap_or_default();
        }
        if let Ok(oauth) = serde_json::from_slice::<OAuth>(body) {
            return Self { code: clean(&oauth.error), message: clean(&oauth.error_description) };
        }
        let text = String::from_utf8_lossy(body);
        let message = if is_html(&text) { "an HTML page".to_owned() } else { clean(&text) };
        Self { code: String::new(), message }
    }

    /// With what may not be told masked. A part of it, where the message was cut, does not stay either.
    pub(super) fn without(self, secret: &str) -> Self {
        let hide = |text: String| {
            let text = text.replace(secret, "***");
            let begun = (8..secret.len()).rev().find(|length| secret.get(..*length).is_some_and(|begin| text.ends_with(begin)));
            begun.map_or(text.clone(), |length| text[..text.len() - length].to_owned() + "***")
        };
        if secret.is_empty() { self } else { Self { code: hide(self.code), message: hide(self.message) } }
    }

    /// GHCR says 403 when it means 429.
    pub(super) fn is_secondary_rate_limit(&self) -> bool {
        self.message.to_ascii_lowercase().contains("secondary rate limit")
    }
}

pub(super) fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// Without control characters, so that no registry can write to a terminal, and short.
pub(super) fn clean(text: &str) -> String {
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_CHARS).collect()
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => f.write_str("no explanation"),
            (code, "") => f.write_str(code),
            ("", message) => f.write_str(message),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_shapes_become_one_line() {
        for (body, text) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"permission_denied: write_package","detail":null}]}"#,
                "DENIED: permission_denied: write_package",
            ),
            (r#"{"errors":[]}"#, "no explanation"),
            (r#"{"errors":[{"code":null}]}"#, "no explanation"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, "invalid_grant: expired"),
            ("  <!DOCTYPE html><title>x</title>", "an HTML page"),
            ("", "no explanation"),
            ("a\u{1b}[31mb\r\nc", "a [31mb  c"),
        ] {
            assert_eq!(Reply::parse(body.as_bytes()).to_string(), text, "{body}");
        }
    }

    #[test]
    fn what_may_not_be_told_is_masked_also_where_the_answer_is_cut() {
        let secret = "s3cr3t-".repeat(30);
        let told = |text: String| Reply::parse(text.as_bytes()).without(&secret).message;
        assert_eq!(told(format!("no: Bearer {secret} is old")), "no: Bearer *** is old");
        assert_eq!(told("x".repeat(200) + &secret), "x".repeat(200) + "***");
        assert_eq!(Reply::parse(b"no").without("").message, "no");
    }

    #[test]
    fn a_long_answer_is_cut() {
        assert_eq!(Reply::parse("é".repeat(1000).as_bytes()).message.chars().count(), MAX_CHARS);
        assert!(!Reply::parse(&[0xff, 0xfe]).message.is_empty());
    }
}
