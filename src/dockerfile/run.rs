//! RUN, and the other instructions that take a command line.

use super::ast::{CommandLine, InstructionKind, Network, RunCommand, Script, Security, Word};
use super::flags::{FlagKind, Flags};
use super::heredoc::announcement;
use super::mount;
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};

const RUN_FLAGS: [(&str, FlagKind); 4] =
    [("device", FlagKind::List), ("mount", FlagKind::List), ("network", FlagKind::Text), ("security", FlagKind::Text)];

pub(super) fn parse_run(request: &Request<'_>) -> Result<InstructionKind, SyntaxError> {
    let command = request.command_line()?;
    let flags = Flags::parse(&request.flags, &RUN_FLAGS)?;
    let mounts = flags.list("mount");
    mounts.iter().try_for_each(mount::check)?;
    let network = flag(&flags, "network", |value| match value {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(SyntaxErrorKind::InvalidNetwork { value: other.to_owned() }),
    })?;
    let security = flag(&flags, "security", |value| match value {
        "sandbox" => Ok(Security::Sandbox),
        "insecure" => Ok(Security::Insecure),
        other => Err(SyntaxErrorKind::InvalidSecurity { value: other.to_owned() }),
    })?;
    let heredocs = request.heredocs.to_vec();
    Ok(InstructionKind::Run(RunCommand { command, heredocs, mounts, network, security, devices: flags.list("device") }))
}

fn flag<T: Default>(flags: &Flags, name: &str, read: impl Fn(&str) -> Result<T, SyntaxErrorKind>) -> Result<T, SyntaxError> {
    match flags.first(name) {
        None => Ok(T::default()),
        Some(Word { text, span }) => read(text).map_err(|kind| SyntaxError::new(kind, *span)),
    }
}

impl RunCommand {
    /// What is to run, with here-documents in their place: a body alone is the script, or a file of its own if it starts with `#!`;
    /// in other lines the shell reads the bodies itself.
    pub fn script(&self) -> Script {
        let line = match &self.command {
            CommandLine::Exec(words) => return Script::Exec(words.iter().map(|word| word.text.clone()).collect()),
            CommandLine::Shell(line) => &line.text,
        };
        let alone = announcement(line).is_ok_and(|found| found.is_some());
        match self.heredocs.first() {
            Some(first) if alone && first.content.starts_with("#!") => Script::File { name: first.name.clone(), content: first.body() },
            Some(first) if alone => Script::Shell(first.body()),
            _ => {
                let bodies = self.heredocs.iter().flat_map(|heredoc| ["\n", &heredoc.content, &heredoc.name]);
                Script::Shell(std::iter::once(line.as_str()).chain(bodies).collect())
            }
        }
    }
}
