//! Regular expressions as JavaScript writes them, as far as both sides understand them.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// `v(.*)`, or with flags `/v(.*)/i`; displays as it was written.
#[derive(Debug, Clone)]
pub struct Pattern {
    written: String,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it, for people. Looking ahead or back and references to groups are not known: matching takes linear time.
    pub fn parse(text: &str) -> Result<Self, String> {
        let delimited = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')).filter(|(body, _)| !body.is_empty());
        let (body, flags) = delimited.unwrap_or((text, ""));
        if let Some(flag) = flags.chars().find(|flag| !"dgimsuvy".contains(*flag)) {
            return Err(format!("invalid regular expression: unknown flag {flag:?}"));
        }
        let regex = RegexBuilder::new(body)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .build()
            .map_err(|error| format!("invalid regular expression: {error}"))?;
        Ok(Self { written: text.to_owned(), regex })
    }

    /// The groups of the first match, by number; 0 is all of it. None where it does not match.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Vec<Option<&'t str>>> {
        let found = self.regex.captures(text)?;
        Some((0..found.len()).map(|group| found.get(group).map(|part| part.as_str())).collect())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere_and_take_flags_between_slashes() {
        for (pattern, text, group, expected) in [
            (r"\d.\d.\d", "v1.2.3", 0, Some("1.2.3")),
            (r"v(.*)", "v2.0.8-beta.67", 1, Some("2.0.8-beta.67")),
            (r"/V(.*)/i", "v2", 1, Some("2")),
            (r"a/b", "xa/b", 0, Some("a/b")),
            (r"v(\d)?x", "vx", 1, None),
            (r"v", "x", 0, None),
            (r"\d+", "٣", 0, None),
        ] {
            let found = Pattern::parse(pattern).unwrap().groups(text).and_then(|groups| groups[group]);
            assert_eq!(found, expected, "{pattern} on {text}");
        }
        for wrong in ["v(", "/a/x", r"(?=a)", r"(a)\1"] {
            assert!(Pattern::parse(wrong).unwrap_err().starts_with("invalid regular expression"), "{wrong}");
        }
    }
}
