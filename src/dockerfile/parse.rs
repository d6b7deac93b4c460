//! From text to stages.

use std::borrow::Cow;

use super::arguments::Fragment;
use super::ast::{Dockerfile, Heredoc, Instruction, InstructionKind, MetaArg, Stage, Statement};
use super::heredoc::announcements;
use super::lines::{Lines, LogicalLine};
use super::request::{Parts, Request};
use super::stage::parse_from;
use super::{Span, SyntaxError, SyntaxErrorKind};
use super::{copy, healthcheck, onbuild, run, settings};

/// The largest Dockerfile that is read, in bytes.
const MAX_FILE: usize = 16 << 20;

/// Reads a Dockerfile. All faults that can be told apart are reported, in the order of the file.
pub fn parse(text: &[u8]) -> Result<Dockerfile, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text)?;
    let mut reader = Reader::new(&text, not_utf8);
    let mut meta_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let (mut any, mut from_seen, mut stray_seen) = (false, false, false);
    while let Some(item) = reader.next_item() {
        any = true;
        match item {
            Ok(Item::From(stage)) => {
                from_seen = true;
                stages.push(*stage);
            }
            Ok(Item::Instruction(instruction)) => match (stages.last_mut(), instruction) {
                (Some(stage), instruction) => {
                    stage.span.end = instruction.statement.span.end;
                    stage.instructions.push(instruction);
                }
                // The stage's FROM is at fault, and reported.
                (None, _) if from_seen => {}
                (None, Instruction { kind: InstructionKind::Arg(args), statement }) => meta_args.push(MetaArg { args, statement }),
                (None, Instruction { kind, statement }) => {
                    if !stray_seen {
                        let kind = SyntaxErrorKind::InstructionBeforeFrom { instruction: kind.name() };
                        reader.lines.errors.push(SyntaxError::new(kind, statement.keyword.span));
                    }
                    stray_seen = true;
                }
            },
            Err(Fault { error, in_from }) => {
                from_seen |= in_from;
                reader.lines.errors.push(error);
            }
        }
    }
    let Lines { mut errors, directives, .. } = reader.lines;
    if errors.is_empty() && stages.is_empty() {
        let kind = match (text.is_empty(), any) {
            (true, _) => SyntaxErrorKind::EmptyFile,
            (false, false) => SyntaxErrorKind::NoInstructions,
            (false, true) => SyntaxErrorKind::NoStages,
        };
        errors.push(SyntaxError::new(kind, Span::new(text.len(), text.len())));
    }
    if errors.is_empty() {
        return Ok(Dockerfile { directives, meta_args, stages });
    }
    errors.sort_by_key(|error| error.span);
    Err(errors)
}

/// Reads the text of an ONBUILD trigger, of a Dockerfile or of a base image. Spans are of `text`.
pub fn parse_trigger(text: &str) -> Result<Instruction, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text.as_bytes())?;
    let mut reader = Reader::new(&text, not_utf8);
    let single = || SyntaxError::new(SyntaxErrorKind::TriggerNotSingle, Span::new(0, text.len()));
    let found = match reader.next_item() {
        Some(Ok(Item::Instruction(instruction))) => Ok(instruction),
        Some(Ok(Item::From(stage))) => {
            let kind = SyntaxErrorKind::OnbuildTrigger { instruction: "FROM".into() };
            Err(SyntaxError::new(kind, stage.statement.keyword.span))
        }
        Some(Err(fault)) => Err(fault.error),
        None => Err(single()),
    };
    let found = found.and_then(|instruction| if reader.next_item().is_some() { Err(single()) } else { Ok(instruction) });
    let mut errors = reader.lines.errors;
    match found {
        Ok(instruction) if errors.is_empty() => return Ok(instruction),
        Ok(_) => {}
        Err(error) => errors.push(error),
    }
    errors.sort_by_key(|error| error.span);
    Err(errors)
}

/// What a name other than FROM stands for.
pub(super) fn parse_kind(request: &Request<'_>, statement: &Statement) -> Result<InstructionKind, SyntaxError> {
    let parse = match request.name {
        "ADD" => copy::parse_add,
        "ARG" => settings::parse_arg,
        "CMD" => settings::parse_cmd,
        "COPY" => copy::parse_copy,
        "ENTRYPOINT" => settings::parse_entrypoint,
        "ENV" => settings::parse_env,
        "EXPOSE" => settings::parse_expose,
        "HEALTHCHECK" => healthcheck::parse_healthcheck,
        "LABEL" => settings::parse_label,
        "MAINTAINER" => settings::parse_maintainer,
        "ONBUILD" => return onbuild::parse_onbuild(request, statement),
        "RUN" => run::parse_run,
        "SHELL" => settings::parse_shell,
        "STOPSIGNAL" => settings::parse_stopsignal,
        "USER" => settings::parse_user,
        "VOLUME" => settings::parse_volume,
        "WORKDIR" => settings::parse_workdir,
        name => return Err(request.error(SyntaxErrorKind::UnknownInstruction { name: name.to_owned(), suggestion: None })),
    };
    parse(request)
}

enum Item {
    From(Box<Stage>),
    Instruction(Instruction),
}

struct Fault {
    error: SyntaxError,
    in_from: bool,
}

struct Reader<'a> {
    lines: Lines<'a>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, not_utf8: Vec<Span>) -> Self {
        Self { lines: Lines::new(text, not_utf8) }
    }

    fn next_item(&mut self) -> Option<Result<Item, Fault>> {
        let line = self.lines.next_line()?;
        let heredocs = match self.heredocs(&line) {
            Ok(heredocs) => heredocs,
            Err(error) => return Some(Err(Fault { error, in_from: false })),
        };
        let parts = Parts::of(Fragment::whole(&line));
        let keyword = parts.keyword.word();
        let span = Span::new(keyword.span.start, self.lines.end().max(keyword.span.end));
        let statement = Statement {
            keyword,
            text: line.text.trim().to_owned(),
            span,
            lines: (line.first_line, self.lines.number()),
            comments: line.comments.clone(),
            empty_continuations: line.empty_continuations.clone(),
        };
        let in_from = parts.name().is_ok_and(|name| name == "FROM");
        let item = Request::new(parts, &heredocs, self.lines.directives.escape_char()).and_then(|request| {
            if in_from {
                parse_from(&request, statement).map(|stage| Item::From(Box::new(stage)))
            } else {
                parse_kind(&request, &statement).map(|kind| Item::Instruction(Instruction { kind, statement }))
            }
        });
        Some(item.map_err(|error| Fault { error, in_from }))
    }

    /// The bodies that follow the line. They are read even if the instruction turns out to be wrong.
    fn heredocs(&mut self, line: &LogicalLine) -> Result<Vec<Heredoc>, SyntaxError> {
        let whole = Fragment::whole(line);
        if !line.text.contains("<<") || !Parts::of(whole).may_have_heredocs() {
            return Ok(Vec::new());
        }
        let announced = announcements(&line.text).map_err(|error| whole.error(error.into()))?;
        Ok(announced.into_iter().filter_map(|announced| self.lines.heredoc(announced, whole.span())).collect())
    }
}

/// The text, with `?` for each byte that is no UTF-8, so that offsets stay; and where those bytes are.
fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Vec<Span>), Vec<SyntaxError>> {
    if bytes.len() > MAX_FILE {
        let kind = SyntaxErrorKind::FileTooLarge { size: bytes.len(), limit: MAX_FILE };
        return Err(vec![SyntaxError::new(kind, Span::new(MAX_FILE, bytes.len()))]);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut not_utf8 = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let bad = chunk.invalid();
        if !bad.is_empty() {
            not_utf8.push(Span::new(text.len(), text.len() + bad.len()));
            text.extend(std::iter::repeat_n('?', bad.len()));
        }
    }
    Ok((Cow::Owned(text), not_utf8))
}
