//! HEALTHCHECK.

use super::arguments::Fragment;
use super::ast::{CommandLine, InstructionKind};
use super::duration::parse_duration;
use super::error::Faults;
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

pub(super) fn parse_healthcheck(request: &Request<'_>, faults: &mut Faults) -> Option<InstructionKind> {
    let text = request.arguments.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let kind = request.arguments.slice(0..end);
    let command = request.arguments.slice(end..text.len()).trim();
    let kind_name = kind.text().to_uppercase();
    if kind_name == "NONE" {
        if !command.is_empty() {
            faults.add(SyntaxErrorKind::HealthcheckNoneArguments, command.span());
        }
        return Some(InstructionKind::Healthcheck(Healthcheck { test: vec![kind_name], ..Healthcheck::default() }));
    }
    let flags = Flags::parse(&request.flags, &FLAGS, faults);
    let mut interval = |flag| faults.keep(interval(&flags, flag)).unwrap_or_default();
    Some(InstructionKind::Healthcheck(Healthcheck {
        interval: interval("interval"),
        timeout: interval("timeout"),
        start_period: interval("start-period"),
        start_interval: interval("start-interval"),
        retries: faults.keep(retries(&flags)).unwrap_or_default(),
        test: faults.keep(test(request, kind, kind_name, command))?,
    }))
}

/// The command in the form that the image's configuration has it in.
fn test(request: &Request<'_>, kind: Fragment<'_>, kind_name: String, command: Fragment<'_>) -> Result<Vec<String>, SyntaxError> {
    if kind.is_empty() {
        return Err(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name }));
    }
    if kind_name != "CMD" {
        return Err(kind.error(SyntaxErrorKind::HealthcheckType { name: kind_name }));
    }
    match request.command_line_of(command)? {
        CommandLine::Shell(line) if !line.text.is_empty() => Ok(vec!["CMD-SHELL".to_owned(), line.text]),
        CommandLine::Exec(words) if !words.is_empty() => {
            Ok(std::iter::once(kind_name).chain(words.into_iter().map(|word| word.text)).collect())
        }
        _ => Err(kind.error(SyntaxErrorKind::HealthcheckWithoutCommand)),
    }
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
