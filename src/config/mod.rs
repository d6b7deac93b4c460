//! brik.toml -> `Config`.
//!
//! ```text
//! place      where brik.toml is, what its paths may reach
//! layer(s)   defaults < brik.toml < brik.<env>.toml < environment < --set, each a `document` that knows its bytes
//! check      each layer against the `schema`, which is derived from `model`; strings by the rules of `format`, sizes as `size` reads them
//! resolve    the merged model -> `types`: defaults filled in, paths absolute, names looked up
//! policy     `[policy]` and what its presets stand for
//! tag_entry  what makes a tag: brik's `template`s and lines of docker/`metadata_action`
//! groups     names for several services, and what else may stand for them: globs
//! glob       globs, over names and over paths
//! lock       brik.lock, which stands beside brik.toml and is no layer of it
//! ```
//!
//! Everything that is wrong is collected as a `Finding` at its bytes. The room reads files, prints nothing, and takes the
//! environment as an argument.

mod check;
mod document;
mod finding;
mod format;
mod glob;
mod groups;
mod layer;
mod layers;
mod lock;
mod members;
pub mod metadata_action;
mod model;
mod place;
mod policy;
mod resolve;
mod schema;
mod service;
mod size;
mod suggest;
mod tag_entry;
mod template;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::source::Files;

pub use finding::{Finding, Findings, Location, Severity, Source};
pub use glob::{Glob, GlobError};
pub use groups::NameError;
pub use lock::{Lock, LockedBase};
pub use policy::{Policy, PolicyRule, Preset, RequireVersion, Waiver};
pub use schema::schema_json;
pub use size::parse_bytes;
pub use suggest::did_you_mean;
pub use tag_entry::{ListError, TagEntry, entry_lines};
pub use template::{Piece, TagTemplate, TemplateError, Variable};
pub use types::{
    BuildOptions, CacheOptions, Config, ImageFormat, Isolation, NamedContext, Network, RegistryOptions, Secret, SecretSource, Service,
    SshAgent, Timestamps,
};

/// What a load depends on, all of it. No `Debug`: the environment holds secrets.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// Absolute; brik.toml is searched from here upwards.
    pub cwd: PathBuf,
    /// Instead of the search; relative to `cwd`.
    pub file: Option<PathBuf>,
    /// Picks the overlay `brik.<environment>.toml`; `$BRIK_ENV` where None.
    pub environment: Option<String>,
    /// Variables in force: `BRIK_*`, `REGISTRY_URL` and `HOME` are read.
    pub env: BTreeMap<String, String>,
    /// `key=value` or `key+=value`, later ones stronger.
    pub set: Vec<String>,
}

/// Reads brik.toml in all its layers, and what it names, in `files`.
///
/// # Errors
/// Every finding, warnings included, if at least one is an error.
pub fn load(options: &LoadOptions, files: &dyn Files) -> Result<Config, Findings> {
    let place = place::Place::find(options, files)?;
    resolved(options, &place, &layers::Layers::gather(options, &place)?)
}

/// What variables say of how images are built, where there is no brik.toml: a configuration without services.
///
/// # Errors
/// As [`load`].
pub fn load_variables(options: &LoadOptions, files: &dyn Files) -> Result<Config, Findings> {
    resolved(options, &place::Place::without_file(options, files), &layers::Layers::of_variables(options)?)
}

fn resolved(options: &LoadOptions, place: &place::Place, layers: &layers::Layers) -> Result<Config, Findings> {
    let mut findings = Vec::new();
    let file = layers.merge(&mut findings);
    let mut config = resolve::resolve(options, place, layers, &file, &mut findings);
    layers.sort(&mut findings);
    let findings = Findings(findings);
    if findings.has_errors() {
        return Err(findings);
    }
    config.warnings = findings.0;
    Ok(config)
}
