//! What is told of a text.

use brik::config::{Finding, Location};

/// Each points into its text, and can be told.
pub fn check(findings: &[Finding]) {
    assert!(!findings.is_empty());
    for finding in findings {
        assert!(finding.code.starts_with("brik::") && !finding.message.is_empty(), "{finding:?}");
        assert!(finding.help.as_ref().is_none_or(|help| !help.is_empty()), "{finding:?}");
        finding.location.iter().for_each(inside);
        assert!(finding.one_line().ends_with(&finding.message));
        serde_json::to_string(finding).unwrap();
    }
}

pub fn inside(Location { source, span }: &Location) {
    assert!(source.text.get(span.clone()).is_some(), "{span:?} of {} bytes of {}", source.text.len(), source.name);
    let (from, to) = (source.position(span.start), source.position(span.end));
    assert!(from <= to && from.0 >= 1 && from.1 >= 1, "{from:?} {to:?}");
}
