//! What git and CI tell of where an image comes from.

use std::collections::BTreeMap;
use std::path::Path;

use super::failure::Failure;
use super::request::created;
use crate::plan::SourceFacts;
use crate::source::{GitFacts, license, top_level, web_url};

/// Of an image that is built of `context`, where git was asked about `root`. Of files that lie elsewhere, git says nothing.
pub fn source_facts(
    git: &GitFacts,
    env: &BTreeMap<String, String>,
    root: &Path,
    context: &Path,
    version: Option<String>,
) -> Result<SourceFacts, Failure> {
    let top = top_level(root);
    let repository = top.as_deref().unwrap_or(root);
    if git.sha.is_none() || !context.starts_with(repository) {
        return Ok(SourceFacts::default());
    }
    Ok(SourceFacts {
        url: git.remote_url.as_deref().and_then(web_url),
        license: license(repository),
        revision: git.sha.clone(),
        version,
        created: created(env)?.or(git.commit_time),
    })
}
