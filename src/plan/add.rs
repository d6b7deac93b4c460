//! What ADD takes from elsewhere: downloads and git repositories.

use super::error::{Error, ErrorKind};
use super::key::KeyInputs;
use super::planner::Selector;
use super::stage::StagePlanner;
use super::step::CopySource;
use crate::dockerfile::Span;
use crate::oci::Digest;
use crate::source::{GitRef, is_http, shown_source, url_file_name};

/// A source of COPY or ADD, by its text.
pub(super) enum SourceKind {
    File,
    Url,
    Git(GitRef),
}

/// `--checksum` of the only source.
pub(super) enum Checksum {
    Content(Digest),
    Commit(String),
}

/// What `source` is. `--keep-git-dir` makes a repository of every URL.
pub(super) fn source_kind(add: bool, source: &str, keep_git_dir: Option<bool>) -> Result<SourceKind, ErrorKind> {
    let refuse = |text: &str| Err(ErrorKind::Instruction(text.to_owned()));
    match GitRef::parse(source, keep_git_dir.is_some()) {
        Some(_) if !add => refuse("source can't be a git ref for COPY"),
        Some(git) => Ok(SourceKind::Git(git?)),
        None if !is_http(source) => Ok(SourceKind::File),
        None if !add => refuse("source can't be a URL for COPY"),
        None => Ok(SourceKind::Url),
    }
}

/// Reads `--checksum` for the sources that it is given with.
pub(super) fn checksum(text: &str, kinds: &[SourceKind]) -> Result<Checksum, ErrorKind> {
    let refuse = |text: String| Err(ErrorKind::Instruction(text));
    match kinds {
        [SourceKind::Git(git)] => Ok(git.clone().with_checksum(text).map(|_| Checksum::Commit(text.to_owned()))?),
        [SourceKind::Url] => match text.split_once(':') {
            Some((algorithm @ ("sha384" | "sha512"), _)) => refuse(format!("--checksum of a URL is sha256:…, not {algorithm}:…")),
            _ => text.parse().map(Checksum::Content).or_else(|error: crate::oci::DigestError| refuse(error.to_string())),
        },
        [_] => refuse("checksum requires HTTP(S) or Git sources".to_owned()),
        _ => refuse("checksum can't be specified for multiple sources".to_owned()),
    }
}

impl StagePlanner<'_, '_> {
    pub(super) fn url_source(
        &mut self,
        url: &str,
        checksum: Option<&Digest>,
        inputs: &mut KeyInputs,
        span: Span,
    ) -> Result<CopySource, Error> {
        let shown = shown_source(url);
        let download = self.planner.options.remote.download(&self.target.service, url, checksum);
        let failed = |reason| self.dockerfile.error(span, ErrorKind::Download { name: shown.clone(), reason });
        let download = download.map_err(failed)?;
        let name = url_file_name(url);
        inputs.add(format!("url {shown}"), download.digest.to_string());
        inputs.add(format!("name {shown}"), &name);
        Ok(CopySource::Url { url: shown, digest: download.digest, name, modified: download.modified })
    }

    /// All files of a repository. They are keyed by what they are, as those of a context: a commit that changes none of them
    /// makes no Step run.
    pub(super) fn git_source(
        &mut self,
        git: GitRef,
        (checksum, keep_git_dir): (Option<&str>, Option<bool>),
        exclude: &[String],
        inputs: &mut KeyInputs,
        span: Span,
    ) -> Result<CopySource, Error> {
        let dockerfile = self.dockerfile;
        let at = |kind: ErrorKind| dockerfile.error(span, kind);
        let keep = match (keep_git_dir, git.keep_git_dir) {
            (Some(flag), Some(query)) if flag != query => {
                return Err(at(ErrorKind::Instruction("inconsistent keep-git-dir configuration".to_owned())));
            }
            (flag, query) => query.or(flag).unwrap_or(false),
        };
        let git = match checksum {
            Some(checksum) => git.with_checksum(checksum).map_err(|error| dockerfile.error(span, error))?,
            None => git,
        };
        let context = self.planner.checkout(&self.target.service, &git, keep).map_err(at)?;
        let selector = Selector { source: "/".to_owned(), exclude: exclude.to_vec(), ..Selector::default() };
        self.context_source(context, selector, inputs, span)
    }
}
