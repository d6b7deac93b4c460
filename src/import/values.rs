//! Reading trees that somebody else wrote: what has another shape than expected is `None`.

use std::collections::BTreeMap;

use serde_json::Value;

/// A scalar as its text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A list of scalars; a scalar is a list of one.
pub(super) fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Null => Some(Vec::new()),
        other => text(other).map(|one| vec![one]),
    }
}

/// A table of scalars, or a list of `NAME=VALUE`; `None` for a NAME that has no value here.
pub(super) fn pairs(value: &Value) -> Option<BTreeMap<String, Option<String>>> {
    let split = |line: String| match line.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (line, None),
    };
    match value {
        Value::Object(table) => {
            let one = |(name, value): (&String, &Value)| match value {
                Value::Null => Some((name.clone(), None)),
                other => text(other).map(|value| (name.clone(), Some(value))),
            };
            table.iter().map(one).collect()
        }
        other => list(other).map(|lines| lines.into_iter().map(split).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_lists_and_tables_are_read_however_they_are_written() {
        assert_eq!(text(&json!(8080)).as_deref(), Some("8080"));
        assert_eq!(list(&json!("a")), Some(vec!["a".into()]));
        assert_eq!(list(&json!([1, "b"])), Some(vec!["1".into(), "b".into()]));
        assert_eq!(list(&json!([[1]])), None);
        let expected = BTreeMap::from([("A".to_owned(), Some("1=2".to_owned())), ("B".to_owned(), None)]);
        assert_eq!(pairs(&json!(["A=1=2", "B"])), Some(expected.clone()));
        assert_eq!(pairs(&json!({"A": "1=2", "B": null})), Some(expected));
        assert_eq!(pairs(&json!({"A": {}})), None);
    }
}
