//! FROM.

use super::SyntaxErrorKind;
use super::ast::{Stage, Statement, Word};
use super::error::Faults;
use super::flags::{FlagKind, Flags};
use super::request::Request;

pub(super) fn parse_from(request: &Request<'_>, statement: Statement, faults: &mut Faults) -> Option<Stage> {
    let flags = Flags::parse(&request.flags, &[("platform", FlagKind::Text)], faults);
    let mut words = request.arguments.split_whitespace().into_iter();
    let (from, as_keyword, name) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(from), None, None, None) => (from, None, None),
        (Some(from), Some(keyword), Some(name), None) if keyword.text.eq_ignore_ascii_case("as") => (from, Some(keyword), Some(name)),
        _ => {
            faults.add(SyntaxErrorKind::FromArguments, request.span);
            return None;
        }
    };
    if let Some(Word { text, span }) = name.as_ref().filter(|name| !is_stage_name(&name.text)) {
        faults.add(SyntaxErrorKind::InvalidStageName { name: text.clone() }, *span);
    }
    let span = statement.span;
    Some(Stage { from, name, as_keyword, platform: flags.text("platform"), instructions: Vec::new(), statement, span })
}

/// A letter, then letters, digits, `-`, `_` and `.`.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'))
}
