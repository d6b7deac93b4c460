//! RUN, and the other instructions that take a command line.

use super::ast::{CommandLine, InstructionKind, Network, RunCommand, Script, Security, Word};
use super::error::Faults;
use super::flags::{FlagKind, Flags};
use super::heredoc::announcement;
use super::mount;
use super::request::Request;
use super::{SyntaxError, SyntaxErrorKind};

const RUN_FLAGS: [(&str, FlagKind); 4] =
    [("device", FlagKind::List), ("mount", FlagKind::List), ("network", FlagKind::Text), ("security", FlagKind::Text)];

pub(super) fn parse_run(request: &Request<'_>, faults: &mut Faults) -> Option<InstructionKind> {
    let flags = Flags::parse(&request.flags, &RUN_FLAGS, faults);
    let mounts = flags.list("mount");
    for mount in &mounts {
        faults.keep(mount::check(mount));
    }
    let network = choice(&flags, "network", faults, |value| match value {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(SyntaxErrorKind::InvalidNetwork { value: other.to_owned() }),
    });
    let security = choice(&flags, "security", faults, |value| match value {
        "sandbox" => Ok(Security::Sandbox),
        "insecure" => Ok(Security::Insecure),
        other => Err(SyntaxErrorKind::InvalidSecurity { value: other.to_owned() }),
    });
    let command = faults.keep(request.command_line())?;
    let heredocs = request.heredocs.to_vec();
    Some(InstructionKind::Run(RunCommand { command, heredocs, mounts, network, security, devices: flags.list("device") }))
}

fn choice<T: Default>(flags: &Flags, name: &str, faults: &mut Faults, read: impl Fn(&str) -> Result<T, SyntaxErrorKind>) -> T {
    let Some(Word { text, span }) = flags.first(name) else { return T::default() };
    faults.keep(read(text).map_err(|kind| SyntaxError::new(kind, *span))).unwrap_or_default()
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
