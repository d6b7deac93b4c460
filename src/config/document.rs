//! A TOML document whose every key and value knows its bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A date or time, as written.
    Date(String),
    /// What brik.toml has no use for: floats, integers beyond 64 bits. Named for the message.
    Foreign(&'static str),
}

pub(super) type Table = BTreeMap<String, Entry>;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: Range<usize>,
    pub node: Node,
}

/// A syntax error and its bytes.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub message: String,
    pub span: Range<usize>,
}

impl From<toml::de::Error> for SyntaxError {
    fn from(error: toml::de::Error) -> Self {
        Self { message: error.message().to_owned(), span: error.span().unwrap_or(0..0) }
    }
}

/// Reads a whole document.
pub(super) fn parse(text: &str) -> Result<Table, SyntaxError> {
    Ok(table(DeTable::parse(text)?.get_ref(), 0))
}

/// Reads one value that begins at byte `offset` of its source.
pub(super) fn parse_value(text: &str, offset: usize) -> Result<Node, SyntaxError> {
    let value = DeValue::parse(text).map_err(|error| {
        let SyntaxError { message, span } = error.into();
        SyntaxError { message, span: shifted(span, offset) }
    })?;
    Ok(node(&value, offset))
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A string, or a date as it is written.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Date(text) => Some(text),
            _ => None,
        }
    }

    /// With its article, for messages.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Date(_) => "a date",
            Value::Foreign(name) => name,
        }
    }
}

fn shifted(span: Range<usize>, offset: usize) -> Range<usize> {
    span.start + offset..span.end + offset
}

fn table(table: &DeTable<'_>, offset: usize) -> Table {
    let entry = |(key, value): (&toml::Spanned<_>, &_)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        (key.get_ref().to_string(), Entry { key: shifted(key.span(), offset), node: node(value, offset) })
    };
    table.iter().map(entry).collect()
}

fn node(value: &toml::Spanned<DeValue<'_>>, offset: usize) -> Node {
    let span = shifted(value.span(), offset);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Foreign("an integer that does not fit 64 bits"),
        },
        DeValue::Float(_) => Value::Foreign("a floating-point number"),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, offset)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, offset)),
    };
    Node { span, value }
}
