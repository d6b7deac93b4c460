//! What the command line and brik.toml together ask a build to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{Global, PlanArgs, Progress};
use super::failure::{Code, Failure};
use super::select::select;
use super::tagging::{GivenTags, Tagging};
use super::{environment, one_image, remote_context, size};
use crate::build::Answers;
use crate::config::{Config, Findings, LoadOptions, Secret, SshAgent, Timestamps, load, load_variables};
use crate::plan;
use crate::source::{Disk, Files, GitFacts};

/// 1980-01-02: the earliest day that every archive format and time zone can hold.
const DEFAULT_EPOCH: i64 = 315_619_200;

/// What the command line and brik.toml ask for.
pub struct Request {
    pub config: Config,
    /// Names of the services that were asked for; all where it is empty.
    pub services: Vec<String>,
    /// `--tags` and `--flavor`; the tag of `--image`.
    pub tags: GivenTags,
    /// Where the context of the one image was fetched from.
    pub fetched: Option<plan::Fetched>,
    pub hosts: Vec<(String, std::net::IpAddr)>,
    /// Bytes.
    pub shm_size: Option<u64>,
    pub progress: Progress,
    pub cwd: PathBuf,
    /// `--env`.
    environment: Option<String>,
    /// `--set`.
    set: Vec<String>,
    overrides: Overrides,
    pub env: BTreeMap<String, String>,
}

impl Request {
    pub fn new(global: &Global, args: &PlanArgs, answers: &Answers) -> Result<Self, Failure> {
        let (cwd, env) = (global.cwd()?, environment());
        let remote = remote_context::fetch(global, args, &cwd, &env, answers)?;
        let overrides = Overrides::new(args, &cwd, &env)?;
        let mut tags = GivenTags::new(&args.tagging)?;
        let read = |load: fn(&LoadOptions, &dyn Files) -> Result<Config, Findings>| {
            let options = global.load_options(cwd.clone(), env.clone());
            load(&options, &Disk).map_err(|Findings(findings)| Failure::findings(Code::Usage, &findings, None))
        };
        let mut config = match args.image.is_given() {
            true if global.config.is_none() && !global.set.is_empty() => {
                return Err(Failure::usage("--set is about brik.toml; --image and --tag build without one, unless --config names it"));
            }
            // Not clap's business: an argument that conflicts with a given one is not required any more, whoever says so.
            true if !args.services.is_empty() => return Err(one_image::too_many(&args.services)),
            true => {
                let (config, own) = one_image::config(args, &cwd, &env, remote.as_ref())?;
                tags.entries.get_or_insert(own);
                // Of the machine and its registries they know more than flags say.
                let Config { registries, build, cache, policy, .. } =
                    if global.config.is_some() { read(load)? } else { read(load_variables)? };
                Config { registries, build, cache, policy, ..config }
            }
            false => read(load)?,
        };
        if !args.image.is_given() {
            overrides.apply(&mut config);
        }
        config.build.network = args.image.network.unwrap_or(config.build.network);
        let services = select(&config, &cwd, &args.services)?;
        let shm_size =
            args.image.shm_size.as_deref().map(|text| {
                size::parse_bytes(text).ok_or_else(|| Failure::usage(format!("--shm-size {text:?}: expected a size, as in 128m")))
            });
        Ok(Self {
            services,
            tags,
            fetched: remote.map(|context| context.fetched),
            hosts: args.image.add_host.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
            shm_size: shm_size.transpose()?,
            progress: global.progress,
            environment: global.environment.clone(),
            set: global.set.clone(),
            overrides,
            cwd,
            env,
            config,
        })
    }
}

impl Request {
    pub fn tagging(&self, git: &GitFacts) -> Tagging {
        Tagging::new(git, &self.env, self.tags.clone())
    }

    /// `--build-arg`, with their values.
    pub fn given_args(&self) -> &BTreeMap<String, String> {
        &self.overrides.args
    }

    /// What the same command line asks for where brik.toml and all that it names are those of `files`.
    pub fn config_in(&self, files: &dyn Files, args: &PlanArgs) -> Result<Config, Findings> {
        if args.image.is_given() {
            return Ok(self.config.clone());
        }
        let options = LoadOptions {
            cwd: self.cwd.clone(),
            file: Some(self.config.file.clone()),
            environment: self.environment.clone(),
            env: self.env.clone(),
            set: self.set.clone(),
        };
        let mut config = load(&options, files)?;
        self.overrides.apply(&mut config);
        Ok(config)
    }
}

/// The time that images say they were made at, where the variable `SOURCE_DATE_EPOCH` says one. Names of stages and `context` are for
/// build arguments.
pub fn created(env: &BTreeMap<String, String>) -> Result<Option<i64>, Failure> {
    match env.get("SOURCE_DATE_EPOCH").map(String::as_str) {
        None | Some("") => Ok(None),
        // The name of a source, as a build argument has it, says nothing of the environment's image.
        Some(text) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(None),
        Some(text) => plan::epoch_seconds(text).map(Some).map_err(|error| Failure::usage(error.to_string())),
    }
}

/// The time of files where no `SOURCE_DATE_EPOCH` of their service says otherwise: seconds since 1970, or `None` to keep their own. A
/// variable of that name is not heard here: CI sets it to the time of each commit, which would make every Step run again.
pub fn epoch(config: &Config) -> Option<i64> {
    match config.build.timestamps {
        Timestamps::Preserve => None,
        Timestamps::Normalized => Some(DEFAULT_EPOCH),
    }
}

/// What the command line says for all services of brik.toml.
struct Overrides {
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    secrets: Vec<Secret>,
    agents: Vec<SshAgent>,
}

impl Overrides {
    fn new(args: &PlanArgs, cwd: &Path, env: &BTreeMap<String, String>) -> Result<Self, Failure> {
        Ok(Self {
            args: one_image::build_args(&args.image, env)?,
            labels: one_image::labels(&args.image)?,
            secrets: one_image::secrets(&args.image, cwd)?,
            agents: one_image::agents(&args.image, cwd),
        })
    }

    fn apply(&self, config: &mut Config) {
        for service in config.services.values_mut() {
            service.args.extend(self.args.clone());
            service.labels.extend(self.labels.clone());
            for secret in &self.secrets {
                match service.secrets.iter_mut().find(|declared| declared.id == secret.id) {
                    // Its key is the same: what a laptop gives by a file, CI gives by the variable of brik.toml.
                    Some(declared) => {
                        declared.source = secret.source.clone();
                        declared.location = secret.location.clone();
                    }
                    None => service.secrets.push(secret.clone()),
                }
            }
            for agent in &self.agents {
                service.ssh.retain(|declared| declared.id != agent.id);
                service.ssh.push(agent.clone());
            }
        }
    }
}

fn host(text: &str) -> Result<(String, std::net::IpAddr), Failure> {
    let refuse = || Failure::usage(format!("--add-host {text:?}: expected HOST:IP"));
    let (host, address) = text.split_once([':', '=']).ok_or_else(refuse)?;
    Ok((host.to_owned(), address.trim_matches(['[', ']']).parse().map_err(|_| refuse())?))
}
