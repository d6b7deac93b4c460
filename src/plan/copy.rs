//! COPY and ADD: sources, their content in the key, and history as BuildKit's `dispatchCopy`.

use super::add::{Checksum, SourceKind, checksum, source_kind};
use super::error::{Error, ErrorKind};
use super::key::KeyInputs;
use super::mode::ModeChange;
use super::planner::{Outside, Selector};
use super::stage::{Current, StagePlanner};
use super::state::normalize_destination;
use super::step::{ContextId, CopyOp, CopySource, Op, Root};
use crate::dockerfile::ast::{AddFiles, CopyFiles, Transfer};
use crate::dockerfile::{Instruction, Span, Word};
use crate::source::{PatternList, mask_credentials, shown_source};

/// What COPY and ADD differ in.
#[derive(Default)]
struct Flags<'i> {
    add: bool,
    from: Option<&'i Word>,
    parents: bool,
    checksum: Option<&'i Word>,
    keep_git_dir: Option<bool>,
    unpack: Option<bool>,
}

impl StagePlanner<'_, '_> {
    pub fn copy(&mut self, current: &mut Current, instruction: &Instruction, copy: &CopyFiles) -> Result<(), Error> {
        self.transfer(current, instruction, &copy.transfer, &Flags { from: copy.from.as_ref(), parents: copy.parents, ..Flags::default() })
    }

    pub fn add(&mut self, current: &mut Current, instruction: &Instruction, add: &AddFiles) -> Result<(), Error> {
        let flags =
            Flags { add: true, checksum: add.checksum.as_ref(), keep_git_dir: add.keep_git_dir, unpack: add.unpack, ..Flags::default() };
        self.transfer(current, instruction, &add.transfer, &flags)
    }

    fn transfer(&mut self, current: &mut Current, instruction: &Instruction, transfer: &Transfer, flags: &Flags) -> Result<(), Error> {
        let dockerfile = self.dockerfile;
        let env = current.state.env.clone();
        let expand = |word: &Word| dockerfile.expand(word, &env);
        let optional = |word: &Option<Word>| word.as_ref().map(expand).transpose();
        let written_destination = expand(&transfer.destination)?;
        let destination = normalize_destination(&current.state.working_dir(), &written_destination);
        let (chown, chmod) = (optional(&transfer.chown)?.filter(|o| !o.is_empty()), optional(&transfer.chmod)?.filter(|m| !m.is_empty()));
        let sources = transfer.sources.iter().map(|word| Ok((expand(word)?, word.span))).collect::<Result<Vec<_>, Error>>()?;
        let kind = |(source, span): &(String, Span)| {
            source_kind(flags.add, source, flags.keep_git_dir).map_err(|error| dockerfile.error(*span, error))
        };
        // With --from every source is a path.
        let kinds = if flags.from.is_some() { Vec::new() } else { sources.iter().map(kind).collect::<Result<Vec<_>, _>>()? };
        let checksum = match flags.checksum {
            Some(word) => Some(checksum(&expand(word)?, &kinds).map_err(|error| dockerfile.error(word.span, error))?),
            None => None,
        };
        let (content, commit) = match &checksum {
            Some(Checksum::Content(digest)) => (Some(*digest), None),
            Some(Checksum::Commit(commit)) => (None, Some(commit.as_str())),
            None => (None, None),
        };
        let mode = chmod.as_deref().map(ModeChange::parse).transpose();
        let mode = mode.map_err(|error| dockerfile.error(transfer.chmod.as_ref().unwrap_or(&transfer.destination).span, error))?;
        let exclude: Vec<String> = transfer.exclude.iter().map(|word| word.text.clone()).collect();
        PatternList::new(&exclude).map_err(|error| dockerfile.error(transfer.destination.span, ErrorKind::Source(error.into())))?;
        let selector =
            |source: &str| Selector { source: source.to_owned(), wildcards: true, parents: flags.parents, exclude: exclude.clone() };

        let mut inputs = KeyInputs::new(if flags.add { "add" } else { "copy" });
        let mut history = if flags.add { "ADD".to_owned() } else { "COPY".to_owned() };
        inputs.add("destination", &destination);
        if flags.parents {
            history += " --parents";
            inputs.add("parents", "");
        }
        for (name, value) in [("chown", &chown), ("chmod", &chmod)] {
            if let Some(value) = value {
                history += &format!(" --{name}={value}");
                inputs.add(name, value);
            }
        }
        exclude.iter().for_each(|pattern| inputs.add("exclude", pattern));
        if let Some(unpack) = flags.unpack {
            inputs.add("unpack", unpack.to_string());
        }

        let from = match flags.from {
            Some(word) => Some(self.source_state(current, &word.text, word.span)?),
            None => None,
        };
        let mut planned = Vec::new();
        let mut kinds = kinds.into_iter();
        for (source, span) in &sources {
            history += &format!(" {}", shown_source(source));
            planned.push(match &from {
                Some(Outside::State(state)) => {
                    inputs.add_state(format!("from {source}"), self.planner.plan.root_key(state.root), state.root);
                    CopySource::Root { root: state.root, pattern: source.clone() }
                }
                Some(Outside::Files(context)) => self.context_source(*context, selector(source), &mut inputs, *span)?,
                None => match kinds.next().unwrap_or(SourceKind::File) {
                    SourceKind::Git(git) => self.git_source(git, (commit, flags.keep_git_dir), &exclude, &mut inputs, *span)?,
                    SourceKind::Url => self.url_source(source, content.as_ref(), &mut inputs, *span)?,
                    SourceKind::File => {
                        let context = self.planner.main_context(self.target).map_err(|kind| dockerfile.error(*span, kind))?;
                        self.context_source(context, selector(source), &mut inputs, *span)?
                    }
                },
            });
        }
        for heredoc in &transfer.heredocs {
            let body = heredoc.body();
            let text = match heredoc.expand {
                true => {
                    let lookup = |name: &str| env.get(name).map(str::to_owned);
                    dockerfile.expander().heredoc_body(&body, &lookup).map_err(|error| dockerfile.error(heredoc.span, error))?.text
                }
                false => body,
            };
            history += &format!(" <<{}", heredoc.name);
            inputs.add(format!("heredoc {}", heredoc.name), &text);
            planned.push(CopySource::Inline { name: heredoc.name.clone(), text });
        }
        history += &format!(" {written_destination} # buildkit");

        let op = CopyOp {
            add: flags.add,
            sources: planned,
            destination,
            chown,
            chmod: mode,
            parents: flags.parents,
            exclude,
            unpack: flags.unpack,
            checksum: content,
        };
        // As in BuildKit, --chmod takes the independence away.
        let independent = transfer.link && op.chmod.is_none();
        if let (Some(owner), Some(word)) = (&op.chown, &transfer.chown) {
            let place = if independent { "a linked layer" } else { "an empty root" };
            if independent || current.state.root == Root::Scratch {
                check_owner(owner, place).map_err(|kind| dockerfile.error(word.span, kind))?;
            }
        }
        self.step(current, instruction, shown(&instruction.statement.text), inputs, independent, Op::Copy(op));
        current.state.history(history, true);
        Ok(())
    }

    /// What is selected in a context, with the hash of it in the key.
    pub fn context_source(
        &mut self,
        context: ContextId,
        selector: Selector,
        inputs: &mut KeyInputs,
        span: Span,
    ) -> Result<CopySource, Error> {
        let dockerfile = self.dockerfile;
        let name = format!("files {}", selector.source);
        let (selection, hash) = self.planner.select(context, selector).map_err(|kind| dockerfile.error(span, kind))?;
        inputs.add(name, hash.to_string());
        Ok(CopySource::Context { context, selection })
    }
}

/// Refuses an owner that needs an /etc/passwd or /etc/group where there is none, as BuildKit does; `root` is 0 everywhere.
pub fn check_owner(owner: &str, place: &'static str) -> Result<(), ErrorKind> {
    let id = |part: &str| part == "root" || part.parse::<i32>().is_ok();
    if owner.splitn(2, ':').all(id) {
        return Ok(());
    }
    Err(ErrorKind::NamedOwner { owner: owner.to_owned(), place })
}

/// An instruction on one line, cut where it is long, without credentials of URLs.
pub fn shown(text: &str) -> String {
    let line = mask_credentials(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
