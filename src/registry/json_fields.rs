//! A JSON object of which some entries are changed, and the rest stays as it is written: order, spacing, numbers of any length.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The entries of an object in their order, each value as its text. Of several under one name the last counts.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The value under a name where that is an object, else an empty one.
    pub(super) fn object(&self, name: &str) -> Self {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a value in the place of the old one, or at the end.
    pub(super) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// The object's text, an entry a line, where it stands so many levels deep in a file.
    pub(super) fn pretty(&self, indent: &str, level: usize) -> String {
        if self.is_empty() {
            return "{}".to_owned();
        }
        let line = |(key, value): (&str, &RawValue)| format!("\n{}{}: {}", indent.repeat(level + 1), Value::from(key), value.get());
        format!("{{{}\n{}}}", self.iter().map(line).collect::<Vec<_>>().join(","), indent.repeat(level))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let (mut fields, mut places) = (Vec::new(), HashMap::new());
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match places.get(&key) {
                Some(&at) => fields[at] = (key, value),
                None => {
                    places.insert(key.clone(), fields.len());
                    fields.push((key, value));
                }
            }
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_is_written_as_it_was() {
        let text = r#"{"n": 123456789012345678901234567890.0e400, "o": {"b":1,  "a":[ ]}, "n2": 1, "x": 1, "n2": 18446744073709551616}"#;
        let mut fields: Fields = serde_json::from_str(text).unwrap();
        fields.set("new", RawValue::from_string("[1]".to_owned()).unwrap());
        fields.set("x", RawValue::from_string("\"\u{e9}\"".to_owned()).unwrap());
        fields.remove("gone");
        let expected = "{\n  \"n\": 123456789012345678901234567890.0e400,\n  \"o\": {\"b\":1,  \"a\":[ ]},\n  \
                        \"n2\": 18446744073709551616,\n  \"x\": \"\u{e9}\",\n  \"new\": [1]\n}";
        assert_eq!(fields.pretty("  ", 0), expected);
        let inner = fields.object("o");
        assert_eq!(inner.pretty("\t", 1), "{\n\t\t\"b\": 1,\n\t\t\"a\": [ ]\n\t}");
        assert!(fields.object("n").is_empty() && fields.object("nothing").is_empty());
    }
}
