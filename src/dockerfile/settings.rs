//! The instructions that only change an image's configuration or the environment of later ones.

use super::SyntaxErrorKind;
use super::arguments::split_word;
use super::ast::{Arg, InstructionKind, KeyValue, Word};
use super::error::Faults;
use super::flags::Flags;
use super::request::Request;

type Parsed = Option<InstructionKind>;

/// BuildKit does not look at flags of ARG and STOPSIGNAL.
pub(super) fn parse_arg(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    let words = faults.keep(request.at_least_one(request.arguments.split_quoted(request.escape)))?;
    let mut arg = |word: Word| match split_word(&word, '=') {
        Some((name, default)) => {
            if name.text.is_empty() {
                faults.add(SyntaxErrorKind::BlankName { instruction: request.name }, word.span);
            }
            Arg { name, default: Some(default) }
        }
        None => Arg { name: word, default: None },
    };
    Some(InstructionKind::Arg(words.into_iter().map(&mut arg).collect()))
}

pub(super) fn parse_env(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    key_values(request, faults).map(InstructionKind::Env)
}

pub(super) fn parse_label(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    key_values(request, faults).map(InstructionKind::Label)
}

fn key_values(request: &Request<'_>, faults: &mut Faults) -> Option<Vec<KeyValue>> {
    no_flags(request, faults);
    if request.arguments.is_empty() {
        faults.add(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name }, request.span);
        return None;
    }
    request.arguments.key_values(request.name, request.escape, faults)
}

pub(super) fn parse_expose(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    no_flags(request, faults);
    let mut ports = faults.keep(request.at_least_one(request.arguments.split_whitespace()))?;
    ports.sort_by(|left, right| left.text.cmp(&right.text));
    Some(InstructionKind::Expose(ports))
}

pub(super) fn parse_volume(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    no_flags(request, faults);
    let mut volumes = faults.keep(request.words().and_then(|words| request.at_least_one(words)))?;
    for volume in &mut volumes {
        volume.text = volume.text.trim().to_owned();
        if volume.text.is_empty() {
            faults.add(SyntaxErrorKind::EmptyVolume, volume.span);
        }
    }
    Some(InstructionKind::Volume(volumes))
}

pub(super) fn parse_shell(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    no_flags(request, faults);
    let words = match faults.keep(request.arguments.json())? {
        None if !request.arguments.is_empty() => {
            faults.add(SyntaxErrorKind::NotJson { instruction: request.name }, request.arguments.span());
            return None;
        }
        words => words.unwrap_or_default(),
    };
    faults.keep(request.at_least_one(words)).map(InstructionKind::Shell)
}

pub(super) fn parse_user(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    one_argument(request, faults).map(InstructionKind::User)
}

pub(super) fn parse_workdir(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    one_argument(request, faults).map(InstructionKind::Workdir)
}

pub(super) fn parse_maintainer(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    one_argument(request, faults).map(InstructionKind::Maintainer)
}

pub(super) fn parse_stopsignal(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    faults.keep(request.one_argument()).map(InstructionKind::Stopsignal)
}

pub(super) fn parse_cmd(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    no_flags(request, faults);
    faults.keep(request.command_line()).map(InstructionKind::Cmd)
}

pub(super) fn parse_entrypoint(request: &Request<'_>, faults: &mut Faults) -> Parsed {
    no_flags(request, faults);
    faults.keep(request.command_line()).map(InstructionKind::Entrypoint)
}

fn one_argument(request: &Request<'_>, faults: &mut Faults) -> Option<Word> {
    no_flags(request, faults);
    faults.keep(request.one_argument())
}

pub(super) fn no_flags(request: &Request<'_>, faults: &mut Faults) {
    Flags::parse(&request.flags, &[], faults);
}
