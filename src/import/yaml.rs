//! YAML as a tree: one document, bounded in size, depth and in what its aliases may grow to.

use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::left::Broken;

/// Far beyond any compose file or workflow.
const LARGEST: usize = 1 << 20;

/// Nodes that aliases may add.
const MOST_ALIASED: usize = 20_000;

/// Collections within each other.
const DEEPEST: usize = 64;

/// # Errors
/// A sentence where the text is no YAML, or more than is read.
pub(super) fn parse(text: &str) -> Result<Value, Broken> {
    if text.len() > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes").into());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEEPEST, max_documents: 1 },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_ALIASED },
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.to_string();
        let why = format!("it is no YAML: {}", said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing is there").trim());
        let place = error.location().and_then(|place| Some((place.line().try_into().ok()?, place.column().try_into().ok()?)));
        match place {
            Some((line, column)) if line > 0 => Broken::at(why, text, line, column),
            _ => why.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn anchors_and_merges_are_read_and_on_is_a_word() {
        let text = "on: push\nx: &x {a: 1, b: [yes]}\ny: {<<: *x, a: 2}\n";
        assert_eq!(parse(text), Ok(json!({"on": "push", "x": {"a": 1, "b": ["yes"]}, "y": {"a": 2, "b": ["yes"]}})));
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let one = format!("*a{},", level - 1);
            laughs += &format!("a{level}: &a{level} [{}]\n", one.repeat(10));
        }
        for text in [
            laughs,
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
            "a: *none\n".into(),
            "\u{0}".into(),
            "a: &a [*a]".into(),
        ] {
            assert!(parse(&text).is_err(), "{}", &text[..text.len().min(100)]);
        }
    }
}
