//! What a command works with that can do without a brik.toml.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::args::Global;
use super::environment;
use super::failure::{Code, Failure};
use super::secrets;
use crate::config::{Config, Findings, LoadOptions, load};
use crate::report::Redactor;
use crate::source::Disk;

pub struct Surroundings {
    pub cwd: PathBuf,
    pub env: BTreeMap<String, String>,
    pub redactor: Redactor,
    options: LoadOptions,
}

impl Surroundings {
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let (cwd, env) = (global.cwd()?, environment());
        let options = global.load_options(cwd.clone(), env.clone());
        Ok(Self { redactor: secrets::redactor(&env)?, cwd, env, options })
    }

    /// brik.toml; `None` where there is none and none was named.
    pub fn find_config(&self) -> Result<Option<Config>, Findings> {
        match load(&self.options, &Disk) {
            Err(Findings(findings))
                if self.options.file.is_none() && findings.iter().all(|finding| finding.code == "brik::config::not-found") =>
            {
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    /// The same for who cannot go on with a broken one.
    pub fn config(&self) -> Result<Option<Config>, Failure> {
        self.find_config().map_err(|Findings(findings)| Failure::findings(Code::Usage, &findings, Some(&self.redactor)))
    }
}
