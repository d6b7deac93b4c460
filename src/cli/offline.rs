//! brik.toml and the Dockerfiles, for commands that neither ask a server nor open the store.

use super::args::Global;
use super::environment;
use super::failure::{Code, Failure};
use super::tagging::{GivenTags, Tagging};
use super::workspace::Workspace;
use crate::config::{Config, Finding, Findings, Severity, load};
use crate::source::{Disk, GitFacts};

pub fn config(global: &Global) -> Result<Config, Failure> {
    let options = global.load_options(global.cwd()?, environment());
    load(&options, &Disk).map_err(|Findings(findings)| Failure::findings(Code::Usage, &findings, None))
}

/// The services that are named (all without any) and those that they need. That one has no tag yet says nothing of that.
pub fn workspace<'c>(config: &'c Config, services: &[String]) -> Result<Workspace<'c>, Failure> {
    let env = environment();
    let tagging = Tagging::new(&GitFacts::read(&config.root, &env), &env, GivenTags::default());
    let (workspace, findings) = Workspace::load(config, &Disk, services, &tagging);
    let wrong = |finding: &Finding| finding.severity == Severity::Error && finding.code != "brik::tags::none";
    let errors: Vec<Finding> = findings.into_iter().filter(wrong).collect();
    if errors.is_empty() { Ok(workspace) } else { Err(Failure::findings(Code::Usage, &errors, None)) }
}
