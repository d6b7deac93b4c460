//! The instructions that only change an image's configuration or the environment of later ones.

use super::arguments::split_word;
use super::ast::{Arg, InstructionKind, KeyValue, Word};
use super::flags::Flags;
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};

type Parsed = Result<InstructionKind, SyntaxError>;

/// BuildKit does not look at flags of ARG and STOPSIGNAL.
pub(super) fn parse_arg(request: &Request<'_>) -> Parsed {
    let words = request.at_least_one(request.arguments.split_quoted(request.escape))?;
    let arg = |word: Word| match split_word(&word, '=') {
        Some((name, _)) if name.text.is_empty() => {
            Err(SyntaxError::new(SyntaxErrorKind::BlankName { instruction: request.name }, word.span))
        }
        Some((name, default)) => Ok(Arg { name, default: Some(default) }),
        None => Ok(Arg { name: word, default: None }),
    };
    Ok(InstructionKind::Arg(words.into_iter().map(arg).collect::<Result<_, _>>()?))
}

pub(super) fn parse_env(request: &Request<'_>) -> Parsed {
    key_values(request).map(InstructionKind::Env)
}

pub(super) fn parse_label(request: &Request<'_>) -> Parsed {
    key_values(request).map(InstructionKind::Label)
}

fn key_values(request: &Request<'_>) -> Result<Vec<KeyValue>, SyntaxError> {
    if request.arguments.is_empty() {
        return Err(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name }));
    }
    let pairs = request.arguments.key_values(request.name, request.escape)?;
    no_flags(request)?;
    Ok(pairs)
}

pub(super) fn parse_expose(request: &Request<'_>) -> Parsed {
    let mut ports = request.at_least_one(request.arguments.split_whitespace())?;
    no_flags(request)?;
    ports.sort_by(|left, right| left.text.cmp(&right.text));
    Ok(InstructionKind::Expose(ports))
}

pub(super) fn parse_volume(request: &Request<'_>) -> Parsed {
    let mut volumes = request.at_least_one(request.words()?)?;
    no_flags(request)?;
    for volume in &mut volumes {
        volume.text = volume.text.trim().to_owned();
        if volume.text.is_empty() {
            return Err(SyntaxError::new(SyntaxErrorKind::EmptyVolume, volume.span));
        }
    }
    Ok(InstructionKind::Volume(volumes))
}

pub(super) fn parse_shell(request: &Request<'_>) -> Parsed {
    let words = request.arguments.json()?;
    no_flags(request)?;
    match words {
        Some(words) => request.at_least_one(words).map(InstructionKind::Shell),
        None if request.arguments.is_empty() => Err(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name })),
        None => Err(request.arguments.error(SyntaxErrorKind::NotJson { instruction: request.name })),
    }
}

pub(super) fn parse_user(request: &Request<'_>) -> Parsed {
    one_argument(request).map(InstructionKind::User)
}

pub(super) fn parse_workdir(request: &Request<'_>) -> Parsed {
    one_argument(request).map(InstructionKind::Workdir)
}

pub(super) fn parse_maintainer(request: &Request<'_>) -> Parsed {
    one_argument(request).map(InstructionKind::Maintainer)
}

pub(super) fn parse_stopsignal(request: &Request<'_>) -> Parsed {
    request.one_argument().map(InstructionKind::Stopsignal)
}

pub(super) fn parse_cmd(request: &Request<'_>) -> Parsed {
    let command = request.command_line()?;
    no_flags(request)?;
    Ok(InstructionKind::Cmd(command))
}

pub(super) fn parse_entrypoint(request: &Request<'_>) -> Parsed {
    let command = request.command_line()?;
    no_flags(request)?;
    Ok(InstructionKind::Entrypoint(command))
}

fn one_argument(request: &Request<'_>) -> Result<Word, SyntaxError> {
    // Only a flag and nothing else is an unknown flag to BuildKit too, but after the missing argument.
    let word = request.one_argument()?;
    no_flags(request)?;
    Ok(word)
}

pub(super) fn no_flags(request: &Request<'_>) -> Result<(), SyntaxError> {
    Flags::parse(&request.flags, &[]).map(|_| ())
}
