//! COPY and ADD.

use std::collections::HashMap;

use super::ast::{AddFiles, CopyFiles, Heredoc, InstructionKind, Transfer, Word};
use super::error::Faults;
use super::flags::{FlagKind, Flags};
use super::heredoc::{Announcement, announcement};
use super::mount::names_variable;
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};

const COPY_FLAGS: [(&str, FlagKind); 6] = [
    ("chmod", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("exclude", FlagKind::List),
    ("from", FlagKind::Text),
    ("link", FlagKind::Boolean),
    ("parents", FlagKind::Boolean),
];

const ADD_FLAGS: [(&str, FlagKind); 7] = [
    ("checksum", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("exclude", FlagKind::List),
    ("keep-git-dir", FlagKind::Boolean),
    ("link", FlagKind::Boolean),
    ("unpack", FlagKind::Boolean),
];

pub(super) fn parse_copy(request: &Request<'_>, faults: &mut Faults) -> Option<InstructionKind> {
    let flags = Flags::parse(&request.flags, &COPY_FLAGS, faults);
    let from = flags.text("from");
    if let Some(variable) = from.as_ref().filter(|from| names_variable(&from.text)) {
        faults.add(SyntaxErrorKind::FromVariable, variable.span);
    }
    let transfer = faults.keep(transfer(request, &flags))?;
    Some(InstructionKind::Copy(CopyFiles { transfer, from, parents: flags.boolean("parents").unwrap_or(false) }))
}

pub(super) fn parse_add(request: &Request<'_>, faults: &mut Faults) -> Option<InstructionKind> {
    let flags = Flags::parse(&request.flags, &ADD_FLAGS, faults);
    let transfer = faults.keep(transfer(request, &flags))?;
    let checksum = flags.text("checksum");
    Some(InstructionKind::Add(AddFiles {
        transfer,
        checksum,
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
    }))
}

fn transfer(request: &Request<'_>, flags: &Flags) -> Result<Transfer, SyntaxError> {
    // A word that announces a here-document wrongly is a path.
    let announced = |word: &Word| announcement(&word.text).ok().flatten();
    let mut words = request.words()?;
    let destination = words.pop().filter(|_| !words.is_empty());
    let destination = destination.ok_or_else(|| request.error(SyntaxErrorKind::NoDestination { instruction: request.name }))?;
    if announced(&destination).is_some() {
        return Err(SyntaxError::new(SyntaxErrorKind::HeredocDestination { instruction: request.name }, destination.span));
    }
    let mut sources = Vec::new();
    let mut heredocs = Vec::new();
    // Where several have a name, the last one counts.
    let bodies: HashMap<&str, &Heredoc> = request.heredocs.iter().map(|heredoc| (heredoc.name.as_str(), heredoc)).collect();
    for word in words {
        match announced(&word) {
            Some(announced) => heredocs.push(with_body(announced, &bodies, &word)),
            None => sources.push(word),
        }
    }
    Ok(Transfer {
        sources,
        heredocs,
        destination,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        exclude: flags.list("exclude"),
        link: flags.boolean("link").unwrap_or(false),
    })
}

/// In JSON form there are no bodies, and BuildKit makes an empty file.
fn with_body(announced: Announcement, bodies: &HashMap<&str, &Heredoc>, word: &Word) -> Heredoc {
    let Announcement { name, expand, chomp } = announced;
    let found = bodies.get(name.as_str());
    let (content, span) = found.map_or((String::new(), word.span), |heredoc| (heredoc.content.clone(), heredoc.span));
    Heredoc { name, expand, chomp, content, span }
}
