//! `SOURCE_DATE_EPOCH` as a build argument or a global ARG: seconds since 1970, `context`, or the name of a named context or a stage whose
//! one remote source is as old as it says (BuildKit's `epoch.go`). What cannot be known (a local directory, an image) counts as unset.

use std::fmt;

use super::environment::Environment;
use super::error::{Error, ErrorKind};
use super::planner::{Planner, Target};
use super::remote::Download;
use super::survey::{Dockerfile, Survey};
use crate::config::NamedContext;
use crate::dockerfile::ast::{AddFiles, Stage};
use crate::dockerfile::{InstructionKind, Span};
use crate::oci::Digest;
use crate::source::{GitRef, is_http, shown_source};

pub(super) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// A SOURCE_DATE_EPOCH that was set: seconds since 1970, if they could be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceDate(pub Option<i64>);

/// What an ARG of that name has in a stage.
impl fmt::Display for SourceDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |seconds| write!(f, "{seconds}"))
    }
}

/// The last second that is in the year 9999, which RFC 3339 ends with, in every time zone.
const LATEST: i64 = 253_402_207_200;

/// What [`epoch_seconds`] does not read.
#[derive(Debug, thiserror::Error)]
#[error("invalid SOURCE_DATE_EPOCH: {0}; expected seconds since 1970, at most {LATEST}")]
pub struct EpochError(String);

/// A SOURCE_DATE_EPOCH that is a number: seconds since 1970.
pub fn epoch_seconds(text: &str) -> Result<i64, EpochError> {
    text.parse().ok().filter(|seconds| (0..=LATEST).contains(seconds)).ok_or_else(|| EpochError(text.to_owned()))
}

/// `None` where neither the service nor the Dockerfile sets one.
pub(super) fn resolve(planner: &Planner, target: &Target, survey: &Survey) -> Result<Option<SourceDate>, Error> {
    let value = target.args.get(SOURCE_DATE_EPOCH).map(String::as_str).or_else(|| survey.global.get(SOURCE_DATE_EPOCH));
    let Some(value) = value else { return Ok(None) };
    if value.is_empty() {
        return Ok(Some(SourceDate(None)));
    }
    let finder = Finder { planner, target, dockerfile: &target.dockerfile, survey };
    match epoch_seconds(value) {
        Ok(seconds) => return Ok(Some(SourceDate(Some(seconds)))),
        Err(error) if value.parse::<i64>().is_ok() => return Err(finder.invalid(&error)),
        Err(_) => {}
    }
    finder.named(value).map(|seconds| Some(SourceDate(seconds)))
}

struct Finder<'a, 'p> {
    planner: &'a Planner<'p>,
    target: &'a Target,
    dockerfile: &'a Dockerfile,
    survey: &'a Survey,
}

impl Finder<'_, '_> {
    fn named(&self, value: &str) -> Result<Option<i64>, Error> {
        if value == "context" {
            return Ok(self.target.fetched.and_then(|fetched| fetched.time));
        }
        let stage =
            self.dockerfile.syntax.stages.iter().find(|stage| stage.name.as_ref().is_some_and(|n| n.text.eq_ignore_ascii_case(value)));
        match (self.target.contexts.for_stage(value), stage) {
            (Some(NamedContext::Url(url)), stage) => self.source(url, None, stage.map_or(Span::default(), |stage| stage.from.span)),
            (Some(_), _) => Ok(None),
            (None, Some(stage)) => self.stage(stage),
            (None, None) => Err(self.invalid(&EpochError(value.to_owned()))),
        }
    }

    /// At the ARG of the Dockerfile, if there is one.
    fn invalid(&self, error: &EpochError) -> Error {
        let mut metas = self.dockerfile.syntax.meta_args.iter();
        let meta = metas.find(|meta| meta.args.iter().any(|arg| arg.name.text == SOURCE_DATE_EPOCH));
        self.refuse(meta.map_or(Span::default(), |meta| meta.statement.span), error.to_string())
    }

    fn refuse(&self, span: Span, text: impl Into<String>) -> Error {
        self.dockerfile.error(span, ErrorKind::Instruction(text.into()))
    }

    /// A stage that is nothing but one remote source: `FROM scratch`, ARGs and an ADD.
    fn stage(&self, stage: &Stage) -> Result<Option<i64>, Error> {
        let mut env = self.survey.global.clone();
        env.unset(SOURCE_DATE_EPOCH);
        if self.dockerfile.expand(&stage.from, &env)? != "scratch" {
            return Err(self.refuse(stage.from.span, "SOURCE_DATE_EPOCH stage must use FROM scratch"));
        }
        let mut source = None;
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Arg(args) => {
                    for arg in args {
                        let value = match (self.target.args.get(&arg.name.text), &arg.default) {
                            (Some(given), _) => given.clone(),
                            (None, Some(default)) => self.dockerfile.expand(default, &env)?,
                            (None, None) => continue,
                        };
                        env.set(&arg.name.text, &value);
                    }
                }
                InstructionKind::Add(add) if source.is_none() => source = Some(self.add(add, &env)?),
                InstructionKind::Add(add) => {
                    return Err(self.refuse(add.transfer.destination.span, "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"));
                }
                other => {
                    let text =
                        format!("SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {} instruction", other.name());
                    return Err(self.refuse(instruction.statement.span, text));
                }
            }
        }
        source.ok_or_else(|| self.refuse(stage.statement.span, "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"))
    }

    fn add(&self, add: &AddFiles, env: &Environment) -> Result<Option<i64>, Error> {
        let transfer = &add.transfer;
        let ([word], []) = (&transfer.sources[..], &transfer.heredocs[..]) else {
            let text = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source";
            return Err(self.refuse(transfer.destination.span, text));
        };
        let source = self.dockerfile.expand(word, env)?;
        let checksum = add.checksum.as_ref().map(|word| self.dockerfile.expand(word, env)).transpose()?;
        self.source(&source, Some((checksum.as_deref(), add.keep_git_dir)), word.span)
    }

    /// How old the source is that an ADD (with its checksum and `--keep-git-dir`) or a context names.
    fn source(&self, source: &str, add: Option<(Option<&str>, Option<bool>)>, span: Span) -> Result<Option<i64>, Error> {
        let remote = self.planner.options.remote;
        let failed = |name: String, reason| self.dockerfile.error(span, ErrorKind::Download { name, reason });
        let (checksum, keep) = add.unwrap_or((None, None));
        if let Some(git) = GitRef::parse(source, keep.is_some()) {
            let git = git.and_then(|git| checksum.map_or(Ok(git.clone()), |checksum| git.with_checksum(checksum)));
            let git = git.map_err(|error| self.dockerfile.error(span, error))?;
            let keep = git.keep_git_dir.or(keep).unwrap_or(false);
            let checkout = remote.checkout(&self.target.service, &git, keep).map_err(|reason| failed(git.shown(), reason))?;
            return Ok(Some(checkout.time));
        }
        if !is_http(source) {
            return Err(self.refuse(span, "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD"));
        }
        let checksum: Option<Digest> =
            checksum.map(str::parse).transpose().map_err(|error: crate::oci::DigestError| self.refuse(span, error.to_string()))?;
        let download = remote.download(&self.target.service, source, checksum.as_ref());
        // BuildKit does not ask the server about what a checksum pins.
        let time = download.and_then(|download: Download| match download.modified.filter(|_| checksum.is_none()) {
            Some(modified) => Ok(Some(modified)),
            None => remote.newest_member(&download),
        });
        time.map_err(|reason| failed(shown_source(source), reason))
    }
}
