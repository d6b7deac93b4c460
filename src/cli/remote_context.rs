//! `--context` that is a git repository or a URL: fetched before anything else, for the Dockerfile is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{Global, PlanArgs};
use super::failure::Failure;
use super::one_image;
use super::secrets::{self, Shown};
use crate::build::{Answers, RemoteSources};
use crate::plan::{Fetched, Remote};
use crate::registry::{Client, ClientOptions};
use crate::report::Redactor;
use crate::source::{GitRef, is_http, shown_source};
use crate::store::Store;

/// A context that was fetched.
pub struct RemoteContext {
    /// A directory of the store.
    pub path: PathBuf,
    /// Its Dockerfile, if it has to be that and no other.
    pub dockerfile: Option<PathBuf>,
    pub fetched: Fetched,
}

/// `None` where `--context` is a directory, or is not given.
pub fn fetch(
    global: &Global,
    args: &PlanArgs,
    cwd: &Path,
    env: &BTreeMap<String, String>,
    answers: &Answers,
) -> Result<Option<RemoteContext>, Failure> {
    let Some(text) = args.image.context.as_deref().and_then(Path::to_str) else { return Ok(None) };
    let git =
        GitRef::parse(text, false).transpose().map_err(|error| Failure::usage(format!("--context {}: {error}", shown_source(text))))?;
    if git.is_none() && !is_http(text) {
        return Ok(None);
    }
    // Nothing has been told yet: what the redactor learns here shows only in the message below.
    let redactor = Redactor::new();
    let failed = |reason: String| Failure::failed(redactor.redact(&format!("--context {}: {reason}", shown_source(text))));
    let store = Store::open(&global.store_path(env)?).map_err(|error| Failure::failed(error.to_string()))?;
    let client = Client::new(ClientOptions::default()).map_err(|error| Failure::failed(error.to_string()))?;
    let (given, agents) = (one_image::secrets(&args.image, cwd)?, one_image::agents(&args.image, cwd));
    let shown = Shown { secrets: &given, agents: &agents };
    let remote = RemoteSources::new(&client, &store, secrets::access(BTreeMap::from([("", shown)]), env, &redactor), answers);
    let Some(git) = git else {
        let download = remote.download("", text, None).map_err(failed)?;
        let time = || download.modified.map_or_else(|| remote.newest_member(&download), |time| Ok(Some(time)));
        let (path, dockerfile) = match remote.unpacked(&download).map_err(failed)? {
            Some(path) => (path, None),
            // A Dockerfile alone (BuildKit).
            None => remote.as_directory(&download).map(|path| (path.clone(), Some(path.join("context")))).map_err(failed)?,
        };
        return Ok(Some(RemoteContext { path, dockerfile, fetched: Fetched { time: time().map_err(failed)? } }));
    };
    let build_args = one_image::build_args(&args.image, env)?;
    let keep = build_args
        .get("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
        .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE"));
    let checkout = remote.checkout("", &git, git.keep_git_dir.unwrap_or(keep)).map_err(failed)?;
    Ok(Some(RemoteContext { path: checkout.path, dockerfile: None, fetched: Fetched { time: Some(checkout.time) } }))
}

/// The Dockerfile of that name in a context that was fetched, whose links may not lead out of it.
pub fn dockerfile_in(context: &Path, name: &Path) -> Option<PathBuf> {
    let (root, file) = (context.canonicalize().ok()?, context.join(name).canonicalize().ok()?);
    (file.starts_with(root) && file.is_file()).then_some(file)
}
