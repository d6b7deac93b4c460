//! One layer of configuration: a file, an environment variable or a `--set`, each a document with its own bytes.

use std::ops::Range;

use super::document::{self, Entry, Node, SyntaxError, Table, Value};
use super::finding::{Finding, Source};
use super::format::Format;
use super::metadata_action::MetadataTag;
use super::schema::Shape;

#[derive(Debug)]
pub(super) struct Layer {
    pub source: Source,
    pub document: Table,
    /// The path that `--set path+=…` appends to.
    pub appends_to: Option<Vec<String>>,
}

impl Layer {
    pub fn toml(source: Source) -> Result<Self, Finding> {
        match document::parse(&source.text) {
            Ok(document) => Ok(Self { source, document, appends_to: None }),
            Err(error) => Err(syntax(&source, error)),
        }
    }

    /// `--set path=value`, `--set path+=value`. The path is a dotted TOML key: `registries."docker.io".insecure=true`.
    pub fn assignment(shape: &Shape, text: &str) -> Result<Self, Finding> {
        let source = Source::new("--set", text);
        let Some(equals) = unquoted_equals(text) else {
            let finding = Finding::error("brik::config::invalid-set", format!("{text:?} has no `=`"));
            return Err(finding.help("write --set key=value or --set key+=value").at(source.at(0..text.len())));
        };
        let append = text[..equals].ends_with('+');
        let path = key_path(&text[..equals - usize::from(append)]).map_err(|error| syntax(&source, error))?;
        let target = path.iter().try_fold(shape, |shape, (key, _)| shape.below(key));
        let at = equals + 1..text.len();
        if append && target.is_some_and(|shape| shape.list.is_none()) {
            let finding = Finding::error("brik::config::invalid-set", "`+=` appends to lists only");
            return Err(finding.help("use `=`").at(source.at(equals - 1..equals + 1)));
        }
        let node = written(target, text, at).map_err(|error| syntax(&source, error))?;
        let appends_to = append.then(|| path.iter().map(|(key, _)| key.clone()).collect());
        Ok(Self { document: nest(path, node), source, appends_to })
    }

    /// `BRIK_REGISTRY`, `BRIK_BUILD__JOBS`, `BRIK_SERVICES__API__TAGS`: keys in capitals, levels apart by two underscores.
    /// None where the variable is not about brik.toml.
    pub fn variable(shape: &Shape, name: &str, value: &str) -> Option<Result<Self, Finding>> {
        let mut here = Some(shape);
        let mut path = Vec::new();
        for segment in name.strip_prefix("BRIK_")?.split("__") {
            let lower = segment.to_lowercase();
            // Names that the user made up keep their capitals, as build arguments need; services have none.
            let table = here.and_then(|shape| shape.table.as_ref());
            let verbatim = table.is_some_and(|table| table.others.is_some()) && path.last().is_none_or(|(last, _)| last != "services");
            let key = if verbatim { segment.to_owned() } else { lower };
            here = here.and_then(|shape| shape.below(&key));
            if path.is_empty() && here.is_none() {
                return None;
            }
            path.push((key, 0..value.len()));
        }
        let source = Source::new(format!("${name}"), value);
        let node = written(here, value, 0..value.len()).map_err(|error| syntax(&source, error));
        Some(node.map(|node| Self { document: nest(path, node), source, appends_to: None }))
    }

    /// `$REGISTRY_URL`: the host before the path of `registry` as the weaker layers have it; with a path, all of it.
    pub fn registry_host(url: &str, weaker: Option<&str>) -> Self {
        let url = url.rsplit_once('@').map_or(url, |(_credentials, rest)| rest);
        let start = url.find("://").map_or(0, |scheme| scheme + 3);
        let end = url.trim_end_matches('/').len().max(start);
        let host = &url[start..end];
        let path = weaker.and_then(|registry| match registry.split_once('/') {
            Some((_, path)) if super::format::begins_with_host(registry) => Some(path),
            _ if super::format::begins_with_host(&format!("{registry}/")) => None,
            _ => Some(registry),
        });
        let registry = match path {
            Some(path) if !host.contains('/') => format!("{host}/{path}"),
            _ => host.to_owned(),
        };
        let node = Node { span: start..end, value: Value::String(registry) };
        Self { source: Source::new("$REGISTRY_URL", url), document: nest(vec![("registry".into(), start..end)], node), appends_to: None }
    }
}

fn syntax(source: &Source, error: SyntaxError) -> Finding {
    Finding::error("brik::config::syntax", error.message).at(source.at(error.span))
}

fn unquoted_equals(text: &str) -> Option<usize> {
    let mut quote = None;
    text.bytes().position(|b| match (quote, b) {
        (None, b'=') => true,
        (None, b'"' | b'\'') => {
            quote = Some(b);
            false
        }
        (Some(open), _) => {
            quote = quote.filter(|_| open != b);
            false
        }
        _ => false,
    })
}

type Path = Vec<(String, Range<usize>)>;

/// Reads a dotted key by TOML's own rules.
fn key_path(text: &str) -> Result<Path, SyntaxError> {
    let mut document = document::parse(&format!("{text}=0"))
        .map_err(|error| SyntaxError { message: format!("{:?} is not a key: {}", text, error.message), span: 0..text.len() })?;
    let mut path = Vec::new();
    while let Some((key, entry)) = document.pop_first() {
        path.push((key, entry.key));
        match entry.node.value {
            Value::Table(below) => document = below,
            _ => break,
        }
    }
    Ok(path)
}

fn nest(path: Path, leaf: Node) -> Table {
    let whole = leaf.span.clone();
    let nested = path.into_iter().rev().fold(leaf, |node, (key, span)| {
        let table = Table::from([(key, Entry { key: span, node })]);
        Node { span: whole.clone(), value: Value::Table(table) }
    });
    match nested.value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// A value as one writes it in a shell: bare strings, lists by comma or newline, TOML where it begins with a bracket or brace.
fn written(shape: Option<&Shape>, source: &str, at: Range<usize>) -> Result<Node, SyntaxError> {
    let text = &source[at.clone()];
    let list = shape.and_then(|shape| shape.list.as_deref());
    let takes_table = shape.is_some_and(|shape| shape.table.is_some());
    if (text.starts_with('[') && list.is_some()) || (text.starts_with('{') && takes_table) {
        return document::parse_value(text, at.start);
    }
    let Some(items) = list else {
        let value = match (text, shape) {
            ("true" | "false", Some(Shape { boolean: true, .. })) => Value::Boolean(text == "true"),
            (_, Some(Shape { integer: Some(_), string: None, .. })) => {
                text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
            }
            _ => Value::String(text.to_owned()),
        };
        return Ok(Node { span: at, value });
    };
    if text.starts_with('{') && items.table.is_some() {
        let item = document::parse_value(text, at.start)?;
        return Ok(Node { span: at, value: Value::Array(vec![item]) });
    }
    // Lines of metadata-action have commas of their own.
    let tags = items.string.as_ref().is_some_and(|rule| matches!(rule.format, Some(Format::TagTemplate | Format::TagFlavor)));
    let mut nodes = Vec::new();
    let mut start = at.start;
    for line in text.split('\n') {
        let whole = tags && MetadataTag::is_one(line);
        for part in line.split(|c| c == ',' && !whole) {
            let begin = start + (part.len() - part.trim_start().len());
            let end = begin + part.trim().len();
            start += part.len() + 1;
            if begin < end {
                nodes.push(written(Some(items), source, begin..end)?);
            }
        }
    }
    Ok(Node { span: at, value: Value::Array(nodes) })
}
