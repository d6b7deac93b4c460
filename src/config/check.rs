//! One layer against the schema: every unknown key, wrong type and malformed value, each at its bytes.
//!
//! What is wrong is reported and left out of the result, so that the layers still merge and later checks still run.

use std::ops::Range;

use figment::value::{Dict, Value as Merged};

use super::document::{Node, Table, Value};
use super::finding::{Finding, Source};
use super::format::{Complaint, Format};
use super::schema::{Shape, Strings, Tables};
use super::suggest::did_you_mean;

pub(super) struct Checker<'a> {
    source: &'a Source,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Checker<'a> {
    pub fn new(source: &'a Source, findings: &'a mut Vec<Finding>) -> Self {
        Self { source, findings }
    }

    /// The part of a document that is as `shape` wants it.
    pub fn document(&mut self, shape: &Shape, document: &Table) -> Dict {
        let keys = shape.table.as_ref();
        keys.map_or_else(Dict::new, |keys| self.table(keys, document, "").0)
    }

    fn report(&mut self, span: Range<usize>, finding: Finding) {
        self.findings.push(finding.at(self.source.at(span)));
    }

    fn value(&mut self, shape: &Shape, node: &Node, path: &str) -> Option<Merged> {
        match (&node.value, shape) {
            (Value::String(text), Shape { string: Some(rule), .. }) => self.string(rule, text, node, path),
            (Value::Date(text), Shape { string: Some(rule), .. }) if rule.format == Some(Format::Date) => {
                self.string(rule, text, node, path)
            }
            (Value::Boolean(yes), Shape { boolean: true, .. }) => Some(Merged::from(*yes)),
            (Value::Integer(number), &Shape { integer: Some((smallest, largest)), .. }) => {
                if (smallest..=largest).contains(number) {
                    return Some(Merged::from(*number));
                }
                let message = format!("`{path}` must be from {smallest} to {largest}, not {number}");
                self.report(node.span.clone(), Finding::error("brik::config::out-of-range", message));
                None
            }
            (Value::Array(items), Shape { list: Some(rule), .. }) => {
                let kept: Vec<Merged> = items.iter().filter_map(|item| self.value(rule, item, path)).collect();
                Some(Merged::from(kept))
            }
            (Value::Table(entries), Shape { table: Some(rule), .. }) => {
                let (dict, complete) = self.table(rule, entries, path);
                if complete {
                    self.required(rule, &dict, entries, node, path).then(|| Merged::from(dict))
                } else {
                    rule.required.iter().all(|key| dict.contains_key(key)).then(|| Merged::from(dict))
                }
            }
            _ => {
                self.wrong_type(shape, node, path);
                None
            }
        }
    }

    /// The entries that are right, and whether that is all of them.
    fn table(&mut self, rule: &Tables, entries: &Table, path: &str) -> (Dict, bool) {
        let mut dict = Dict::new();
        for (key, entry) in entries {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let shape = match (rule.keys.get(key), &rule.others) {
                (Some(shape), _) => shape,
                (None, Some((format, shape))) => {
                    if let Err(complaint) = format.map_or(Ok(()), |format| format.check(key)) {
                        let complaint = Complaint { span: None, ..complaint };
                        self.complain(complaint, key, entry.key.clone());
                        continue;
                    }
                    shape
                }
                (None, None) => {
                    self.unknown_key(rule, key, entry.key.clone(), &path);
                    continue;
                }
            };
            if let Some(value) = self.value(shape, &entry.node, &path) {
                dict.insert(key.clone(), value);
            }
        }
        let complete = dict.len() == entries.len();
        (dict, complete)
    }

    fn required(&mut self, rule: &Tables, dict: &Dict, entries: &Table, node: &Node, path: &str) -> bool {
        let missing: Vec<&String> = rule.required.iter().filter(|key| !dict.contains_key(*key)).collect();
        for key in &missing {
            // A table written with a header has no bytes of its own but its keys'.
            let span =
                if node.span.is_empty() { entries.values().next().map_or(0..0, |entry| entry.key.clone()) } else { node.span.clone() };
            self.report(span, Finding::error("brik::config::missing-key", format!("`{path}` lacks the key `{key}`")));
        }
        missing.is_empty()
    }

    fn string(&mut self, rule: &Strings, text: &str, node: &Node, path: &str) -> Option<Merged> {
        if !rule.choices.is_empty() && !rule.choices.iter().any(|choice| choice == text) {
            let choices: Vec<String> = rule.choices.iter().map(|choice| format!("{choice:?}")).collect();
            let message = format!("`{path}` is {text:?}; it must be {}", choices.join(" or "));
            let help = did_you_mean(text, rule.choices.iter().map(String::as_str));
            self.report(node.span.clone(), Finding::error("brik::config::unknown-value", message).maybe_help(help));
            return None;
        }
        match rule.format.map_or(Ok(()), |format: Format| format.check(text)) {
            Ok(()) => Some(Merged::from(text)),
            Err(complaint) => {
                self.complain(complaint, text, node.span.clone());
                None
            }
        }
    }

    fn complain(&mut self, complaint: Complaint, text: &str, whole: Range<usize>) {
        let span = complaint.span.and_then(|part| self.inside(&whole, text, part)).unwrap_or(whole);
        self.report(span, Finding::error(complaint.code, complaint.message).maybe_help(complaint.help));
    }

    /// The source's bytes of a part of a string: known where the string stands in the source as it is, quotes aside.
    fn inside(&self, whole: &Range<usize>, text: &str, part: Range<usize>) -> Option<Range<usize>> {
        let written = self.source.text.get(whole.clone())?;
        let quotes = written.len().checked_sub(text.len())? / 2;
        (written.get(quotes..quotes + text.len())? == text).then(|| whole.start + quotes + part.start..whole.start + quotes + part.end)
    }

    fn unknown_key(&mut self, rule: &Tables, key: &str, span: Range<usize>, path: &str) {
        let known = || rule.keys.keys().map(String::as_str);
        let help = did_you_mean(key, known()).unwrap_or_else(|| format!("known keys here: {}", known().collect::<Vec<_>>().join(", ")));
        self.report(span, Finding::error("brik::config::unknown-key", format!("unknown key `{path}`")).help(help));
    }

    fn wrong_type(&mut self, shape: &Shape, node: &Node, path: &str) {
        let found = if node.as_str() == Some("") { "an empty string" } else { node.type_name() };
        let message = format!("`{path}` must be {}, not {found}", shape.describe());
        let written = self.source.text.get(node.span.clone()).filter(|text| text.len() <= 80 && !text.contains('\n'));
        let help = match (&node.value, written) {
            (Value::String(_), Some(text)) if shape.list.is_some() => Some(format!("write [{text}]")),
            (Value::Foreign(_) | Value::Date(_) | Value::Integer(_) | Value::Boolean(_), Some(text)) if shape.string.is_some() => {
                Some(format!("write \"{text}\""))
            }
            _ => None,
        };
        self.report(node.span.clone(), Finding::error("brik::config::wrong-type", message).maybe_help(help));
    }
}
