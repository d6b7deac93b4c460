//! COPY and ADD: sources, their content in the key, and history as BuildKit's `dispatchCopy`.

use std::path::Path;

use super::error::{Error, ErrorKind};
use super::key::KeyInputs;
use super::mode::ModeChange;
use super::planner::{Outside, Selector};
use super::stage::{Current, StagePlanner};
use super::state::normalize_destination;
use super::step::{CopyOp, CopySource, Op};
use crate::dockerfile::ast::{AddFiles, CopyFiles, Transfer};
use crate::dockerfile::{Instruction, Span, Word};
use crate::oci::Digest;
use crate::source::PatternList;

/// What COPY and ADD differ in.
#[derive(Default)]
struct Flags<'i> {
    add: bool,
    from: Option<&'i Word>,
    parents: bool,
    checksum: Option<&'i Word>,
    unpack: Option<bool>,
}

impl StagePlanner<'_, '_> {
    pub fn copy(&mut self, current: &mut Current, instruction: &Instruction, copy: &CopyFiles) -> Result<(), Error> {
        self.transfer(current, instruction, &copy.transfer, &Flags { from: copy.from.as_ref(), parents: copy.parents, ..Flags::default() })
    }

    pub fn add(&mut self, current: &mut Current, instruction: &Instruction, add: &AddFiles) -> Result<(), Error> {
        let flags = Flags { add: true, checksum: add.checksum.as_ref(), unpack: add.unpack, ..Flags::default() };
        self.transfer(current, instruction, &add.transfer, &flags)
    }

    fn transfer(&mut self, current: &mut Current, instruction: &Instruction, transfer: &Transfer, flags: &Flags) -> Result<(), Error> {
        let dockerfile = self.dockerfile;
        let env = current.state.env.clone();
        let expand = |word: &Word| dockerfile.expand(word, &env);
        let optional = |word: &Option<Word>| word.as_ref().map(expand).transpose();
        let written_destination = expand(&transfer.destination)?;
        let destination = normalize_destination(current.state.working_dir(), &written_destination);
        let (chown, chmod) = (optional(&transfer.chown)?.filter(|o| !o.is_empty()), optional(&transfer.chmod)?.filter(|m| !m.is_empty()));
        let sources = transfer.sources.iter().map(|word| Ok((expand(word)?, word.span))).collect::<Result<Vec<_>, Error>>()?;
        let checksum = self.checksum(flags, &sources, &env)?;
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
        for (source, span) in &sources {
            history += &format!(" {source}");
            planned.push(match &from {
                Some(Outside::State(state)) => {
                    inputs.add(format!("from {source}"), self.planner.root_key(state.root));
                    CopySource::Root { root: state.root, pattern: source.clone() }
                }
                Some(Outside::Directory(path)) => self.context_source(path, None, selector(source), &mut inputs, *span)?,
                None if is_git(source) => return Err(self.refuse_git(flags.add, source, *span)),
                None if is_http(source) => self.url_source(flags.add, source, checksum.as_ref(), &mut inputs, *span)?,
                None => self.context_source(&self.target.context, Some(&dockerfile.path), selector(source), &mut inputs, *span)?,
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
            checksum,
        };
        // As in BuildKit, --chmod takes the independence away; a named owner needs the parent's passwd.
        let named_owner = op.chown.as_ref().is_some_and(|owner| owner.split(':').any(|part| part.parse::<u32>().is_err()));
        let independent = transfer.link && op.chmod.is_none() && !named_owner;
        self.step(current, instruction, shown(&instruction.statement.text), inputs, independent, Op::Copy(op));
        current.state.history(history, true);
        Ok(())
    }

    /// What is selected in a directory, with the digest of it in the key. `ruled_by` is the Dockerfile that the directory is the
    /// context of, `None` for a named context.
    pub fn context_source(
        &mut self,
        path: &Path,
        ruled_by: Option<&Path>,
        selector: Selector,
        inputs: &mut KeyInputs,
        span: Span,
    ) -> Result<CopySource, Error> {
        let dockerfile = self.dockerfile;
        let at = |kind: ErrorKind| dockerfile.error(span, kind);
        let context = self.planner.context(path, ruled_by).map_err(at)?;
        let name = format!("files {}", selector.source);
        let (matches, digest) = self.planner.select(context, selector).map_err(at)?;
        inputs.add(name, digest.to_string());
        Ok(CopySource::Context { context, matches })
    }

    fn url_source(
        &mut self,
        add: bool,
        url: &str,
        checksum: Option<&Digest>,
        inputs: &mut KeyInputs,
        span: Span,
    ) -> Result<CopySource, Error> {
        if !add {
            return Err(self.dockerfile.error(span, ErrorKind::Instruction("source can't be a URL for COPY".to_owned())));
        }
        let download = self.planner.options.remote.download(url, checksum);
        let download = download.map_err(|reason| self.dockerfile.error(span, ErrorKind::Download { name: url.to_owned(), reason }))?;
        let name = url_file_name(url);
        inputs.add(format!("url {url}"), download.digest.to_string());
        inputs.add(format!("name {url}"), &name);
        Ok(CopySource::Url { digest: download.digest, name, modified: download.modified })
    }

    fn refuse_git(&self, add: bool, source: &str, span: Span) -> Error {
        let kind = match add {
            true => ErrorKind::Unsupported {
                what: format!("ADD of the git repository {source}"),
                instead: "check it out into the context and COPY it",
            },
            false => ErrorKind::Instruction("source can't be a git ref for COPY".to_owned()),
        };
        self.dockerfile.error(span, kind)
    }

    fn checksum(&self, flags: &Flags, sources: &[(String, Span)], env: &super::environment::Environment) -> Result<Option<Digest>, Error> {
        let Some(word) = flags.checksum else { return Ok(None) };
        let text = self.dockerfile.expand(word, env)?;
        let sources: Vec<&str> = sources.iter().map(|(source, _)| source.as_str()).collect();
        checksum(&text, &sources).map_err(|error| self.dockerfile.error(word.span, error))
    }
}

fn is_http(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// As BuildKit's `dfgitutil.ParseGitRef` tells git from files and URLs.
fn is_git(source: &str) -> bool {
    let path = source.split(['#', '?']).next().unwrap_or(source);
    let scheme = source.starts_with("git://") || source.starts_with("ssh://");
    let scp = source.split_once(':').is_some_and(|(host, path)| host.starts_with("git@") && !path.is_empty() && !host.contains('/'));
    scheme || scp || (is_http(source) && path.ends_with(".git"))
}

/// The `--checksum` of an ADD of these sources; that of a repository is not looked at.
pub(super) fn checksum(text: &str, sources: &[&str]) -> Result<Option<Digest>, ErrorKind> {
    match sources {
        [source] if is_git(source) => Ok(None),
        [source] if is_http(source) => text.parse().map(Some).map_err(|e: crate::oci::DigestError| ErrorKind::Instruction(e.to_string())),
        [_] => Err(ErrorKind::Instruction("checksum requires HTTP(S) or Git sources".to_owned())),
        _ => Err(ErrorKind::Instruction("checksum can't be specified for multiple sources".to_owned())),
    }
}

/// The last component of a URL's path (BuildKit: `__unnamed__` where there is none).
fn url_file_name(url: &str) -> String {
    let after_host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_host.split(['?', '#']).next().unwrap_or("").split_once('/').map_or("", |(_, path)| path);
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    if name.is_empty() || name == "." { "__unnamed__".to_owned() } else { name.to_owned() }
}

/// An instruction on one line, cut where it is long.
pub fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_sources_are_told_from_files_and_urls() {
        for (source, git) in [
            ("https://github.com/a/b.git#main", true),
            ("git@github.com:a/b", true),
            ("git://host/x", true),
            ("https://host/x.tar.gz", false),
            ("file.git", false),
            ("a:b", false),
        ] {
            assert_eq!(is_git(source), git, "{source}");
        }
    }

    #[test]
    fn a_download_is_named_by_its_url() {
        for (url, name) in
            [("http://h/a/b.txt?q=/x", "b.txt"), ("http://h", "__unnamed__"), ("http://h/", "__unnamed__"), ("http://h/d/", "d")]
        {
            assert_eq!(url_file_name(url), name, "{url}");
        }
    }
}
