//! HEALTHCHECK.

use super::ast::{CommandLine, InstructionKind};
use super::duration::parse_duration;
use super::flags::{FlagKind, Flags};
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};
use crate::oci::Healthcheck;

const FLAGS: [(&str, FlagKind); 5] = [
    ("interval", FlagKind::Text),
    ("timeout", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("retries", FlagKind::Text),
];

const MIN_INTERVAL: i64 = 1_000_000;

pub(super) fn parse_healthcheck(request: &Request<'_>) -> Result<InstructionKind, SyntaxError> {
    let text = request.arguments.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let kind = request.arguments.slice(0..end);
    let command = request.arguments.slice(end..text.len()).trim();
    let kind_name = kind.text().to_uppercase();
    if kind.is_empty() {
        return Err(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name }));
    }
    if kind_name == "NONE" {
        if !command.is_empty() {
            return Err(command.error(SyntaxErrorKind::HealthcheckNoneArguments));
        }
        return Ok(InstructionKind::Healthcheck(Healthcheck { test: vec![kind_name], ..Healthcheck::default() }));
    }
    let flags = Flags::parse(&request.flags, &FLAGS)?;
    if kind_name != "CMD" {
        return Err(kind.error(SyntaxErrorKind::HealthcheckType { name: kind_name }));
    }
    let test = match request.command_line_of(command)? {
        CommandLine::Shell(line) if line.text.is_empty() => Vec::new(),
        CommandLine::Shell(line) => vec!["CMD-SHELL".to_owned(), line.text],
        CommandLine::Exec(words) if words.is_empty() => Vec::new(),
        CommandLine::Exec(words) => std::iter::once(kind_name).chain(words.into_iter().map(|word| word.text)).collect(),
    };
    if test.is_empty() {
        return Err(kind.error(SyntaxErrorKind::HealthcheckWithoutCommand));
    }
    Ok(InstructionKind::Healthcheck(Healthcheck {
        test,
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(&flags)?,
    }))
}

/// Nanoseconds; 0 if not given.
fn interval(flags: &Flags, flag: &'static str) -> Result<i64, SyntaxError> {
    let Some(word) = flags.text(flag) else { return Ok(0) };
    let fault = |kind| SyntaxError::new(kind, word.span);
    match parse_duration(&word.text) {
        Err(error) => Err(fault(SyntaxErrorKind::Duration { flag, error })),
        Ok(duration) if duration != 0 && duration < MIN_INTERVAL => Err(fault(SyntaxErrorKind::IntervalTooShort { flag })),
        Ok(duration) => Ok(duration),
    }
}

fn retries(flags: &Flags) -> Result<i64, SyntaxError> {
    let Some(word) = flags.text("retries") else { return Ok(0) };
    match word.text.parse::<i32>() {
        Ok(value) if value < 0 => Err(SyntaxError::new(SyntaxErrorKind::RetriesNegative { value }, word.span)),
        Ok(value) => Ok(value.into()),
        Err(_) => Err(SyntaxError::new(SyntaxErrorKind::RetriesNotNumber { value: word.text }, word.span)),
    }
}
