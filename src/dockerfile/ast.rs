//! What a Dockerfile says, before any variable is expanded. Every word knows its bytes in the file.
//!
//! Words are as written, quotes and escapes included, except where JSON form or the flag syntax has decoded them. Who builds the
//! plan expands them (see [`super::Expander`]), exactly these:
//!
//! | instruction | expanded with `Expander::word` |
//! |---|---|
//! | FROM | image and `--platform`, against the global ARGs only |
//! | ARG | the default value, if no build argument replaces it; never the name |
//! | ENV, LABEL | keys and values, all against the environment before the instruction |
//! | ADD, COPY | sources, destination, `--chown`, `--chmod`, `--checksum`; bodies of here-documents whose `expand` is set with `Expander::heredoc_body` |
//! | EXPOSE | each word with `Expander::words`, which may give several |
//! | USER, VOLUME, WORKDIR, STOPSIGNAL | the arguments |
//! | RUN | the values within `--mount` (by `Mount::parse`), nothing else |
//! | CMD, ENTRYPOINT, HEALTHCHECK, MAINTAINER, ONBUILD, SHELL | nothing |
//!
//! `--from`, `--exclude`, `--network`, `--security` and `--device` are never expanded.

use std::collections::HashMap;

pub use super::directives::Directives;
pub use super::heredoc::Heredoc;
use super::{Span, SyntaxError};
use crate::oci::Healthcheck;

/// Text and the bytes of the file that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub span: Span,
}

/// A comment, without `#` and the white space around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    pub text: String,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    pub directives: Directives,
    /// The ARGs before the first FROM.
    pub meta_args: Vec<MetaArg>,
    /// At least one.
    pub stages: Vec<Stage>,
    pub names: StageNames,
}

/// The stages of each name, without case, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageNames(HashMap<String, Vec<usize>>);

impl StageNames {
    pub fn of(stages: &[Stage]) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, name) in stages.iter().enumerate().filter_map(|(index, stage)| Some((index, stage.name.as_ref()?))) {
            names.entry(name.text.to_ascii_lowercase()).or_default().push(index);
        }
        Self(names)
    }
}

/// What every instruction has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The instruction's name as written.
    pub keyword: Word,
    /// The joined lines of the instruction, without white space around and without bodies of here-documents.
    pub text: String,
    /// From the keyword to the end of the last line, bodies of here-documents included.
    pub span: Span,
    /// The first and the last line, counted from 1.
    pub lines: (usize, usize),
    /// The comments right above.
    pub comments: Vec<Comment>,
    /// Empty lines after a line that is continued; BuildKit warns about them.
    pub empty_continuations: Vec<Span>,
    /// The last of the joined lines, before the bodies of here-documents.
    pub last_line: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaArg {
    pub args: Vec<Arg>,
    pub statement: Statement,
}

/// From one FROM to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The base: an image, an earlier stage or `scratch`.
    pub from: Word,
    /// The name after AS as written. Names are compared without case.
    pub name: Option<Word>,
    /// `AS` as written.
    pub as_keyword: Option<Word>,
    pub platform: Option<Word>,
    pub instructions: Vec<Instruction>,
    /// The FROM itself.
    pub statement: Statement,
    /// From FROM to the end of the last instruction.
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub kind: InstructionKind,
    pub statement: Statement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstructionKind {
    Add(AddFiles),
    Arg(Vec<Arg>),
    Cmd(CommandLine),
    Copy(CopyFiles),
    Entrypoint(CommandLine),
    Env(Vec<KeyValue>),
    /// Sorted, as BuildKit has them.
    Expose(Vec<Word>),
    Healthcheck(Healthcheck),
    Label(Vec<KeyValue>),
    Maintainer(Word),
    Onbuild(Onbuild),
    Run(RunCommand),
    Shell(Vec<Word>),
    Stopsignal(Word),
    User(Word),
    /// Without white space around.
    Volume(Vec<Word>),
    Workdir(Word),
}

impl InstructionKind {
    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// `NAME` or `NAME=default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub name: Word,
    pub default: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Word,
    pub value: Word,
    /// Written as `KEY value`, without `=`.
    pub legacy: bool,
}

/// Arguments of RUN, CMD and ENTRYPOINT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A line for the shell; may be empty.
    Shell(Word),
    /// JSON form: no shell; may have no words.
    Exec(Vec<Word>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCommand {
    pub command: CommandLine,
    pub heredocs: Vec<Heredoc>,
    /// `--mount` values, unexpanded: see [`super::Mount::parse`].
    pub mounts: Vec<Word>,
    pub network: Network,
    pub security: Security,
    /// `--device` values.
    pub devices: Vec<Word>,
}

/// What RUN is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// The argument after the SHELL's own.
    Shell(String),
    Exec(Vec<String>),
    /// An executable file of this name and content, whose path is the argument after the SHELL's own.
    File {
        name: String,
        content: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    #[default]
    Sandbox,
    Insecure,
}

/// What COPY and ADD have in common. There may be no sources but here-documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub sources: Vec<Word>,
    /// Sources that are written in the file, one for each `<<NAME` among the arguments.
    pub heredocs: Vec<Heredoc>,
    pub destination: Word,
    pub chown: Option<Word>,
    pub chmod: Option<Word>,
    pub exclude: Vec<Word>,
    pub link: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFiles {
    pub transfer: Transfer,
    /// A stage by name or index, a named context or an image.
    pub from: Option<Word>,
    pub parents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddFiles {
    pub transfer: Transfer,
    pub checksum: Option<Word>,
    pub keep_git_dir: Option<bool>,
    /// `None`: local archives are unpacked, remote ones are not.
    pub unpack: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The text that the image keeps, bodies of here-documents included.
    pub trigger: String,
    /// The trigger as an instruction. BuildKit reports what is wrong with it only when it fires.
    pub instruction: Result<Box<Instruction>, SyntaxError>,
}

impl Dockerfile {
    /// The stage that a name means to `COPY --from`, `--mount=from` and `--target`: the last of that name.
    pub fn stage_by_name(&self, name: &str) -> Option<usize> {
        self.last_named(&name.to_ascii_lowercase(), self.stages.len())
    }

    /// The stage that a name means to the FROM of stage `index`: the nearest earlier one of that name. However the stage's own name
    /// is written, FROM knows it in lower case only: `FROM Base` is an image.
    pub fn stage_before(&self, name: &str, index: usize) -> Option<usize> {
        self.last_named(name, index)
    }

    fn last_named(&self, lower_case: &str, before: usize) -> Option<usize> {
        let named = self.names.0.get(lower_case)?;
        named[..named.partition_point(|stage| *stage < before)].last().copied()
    }

    /// The stage that `COPY --from` means by a name or by an index, counted from 0.
    pub fn stage_by_name_or_index(&self, reference: &str) -> Option<usize> {
        match reference.parse::<usize>() {
            Ok(index) => (index < self.stages.len()).then_some(index),
            Err(_) => self.stage_by_name(reference),
        }
    }
}
