//! FROM.

use super::ast::{Stage, Statement, Word};
use super::flags::{FlagKind, Flags};
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};

pub(super) fn parse_from(request: &Request<'_>, statement: Statement) -> Result<Stage, SyntaxError> {
    let mut words = request.arguments.split_whitespace().into_iter();
    let (from, as_keyword, name) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(from), None, None, None) => (from, None, None),
        (Some(from), Some(keyword), Some(name), None) if keyword.text.eq_ignore_ascii_case("as") => (from, Some(keyword), Some(name)),
        _ => return Err(request.error(SyntaxErrorKind::FromArguments)),
    };
    if let Some(Word { text, span }) = name.as_ref().filter(|name| !is_stage_name(&name.text)) {
        return Err(SyntaxError::new(SyntaxErrorKind::InvalidStageName { name: text.clone() }, *span));
    }
    let flags = Flags::parse(&request.flags, &[("platform", FlagKind::Text)])?;
    let span = statement.span;
    Ok(Stage { from, name, as_keyword, platform: flags.text("platform"), instructions: Vec::new(), statement, span })
}

/// A letter, then letters, digits, `-`, `_` and `.`.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'))
}
