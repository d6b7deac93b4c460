//! `brik matrix`: what is to be built, as jobs of a CI system.
//!
//! ```text
//! mod        which services: those that the cache repositories do not have, those that --since finds, or all
//! bases      the tags of base images, each asked for once: all jobs take what they lead to now
//! durations  what Steps took when their like ran last
//! jobs       services in waves -> jobs, balanced where there are more services than jobs
//! command    what a job says to `brik build`
//! notation   GitHub's and GitLab's forms of it
//! ```

mod bases;
mod command;
mod durations;
mod jobs;
mod notation;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::jobs::{Job, MOST_JOBS, Work};
use super::args::{Global, PlanArgs, Progress};
use super::failure::Failure;
use super::planning::{Planned, Setup, learn};
use super::workspace::Workspace;
use super::{print, since};
use crate::build::{Lookup, Origins, Sources, look_up};
use crate::cache::{Message, Shared};
use crate::plan::{StepId, waves};
use crate::store::Store;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik matrix --push               GitHub: what the cache repositories do not have, as {\"include\":[…]} for fromJSON
  brik matrix --push --since origin/main --shards 4
                                   what this branch has changed, on at most 4 machines at a time
  brik matrix --push --format gitlab > brik.yml
                                   a dynamic child pipeline

A job runs `brik build ${{ matrix.args }}`. Where $GITHUB_OUTPUT is set, it gets `matrix`, `jobs` and `waves` (numbers), and `wave_1`,
`wave_2`, … with a matrix each. Nothing to build is {\"include\":[]} and `jobs=0`, which the job that takes it asks for first:
  if: needs.plan.outputs.jobs != '0'")]
pub struct MatrixArgs {
    /// Jobs push what they build
    #[arg(long)]
    pub push: bool,
    /// All services, whether they need building or not
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// At most N jobs at the same time, each with what takes as long as what the others have
    #[arg(long, value_name = "N")]
    pub shards: Option<NonZeroUsize>,
    #[arg(long, value_enum, default_value_t)]
    pub format: MatrixFormat,
    #[command(flatten)]
    pub what: PlanArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// For `strategy: matrix: ${{ fromJSON(…) }}`
    #[default]
    Github,
    /// A child pipeline
    Gitlab,
    Json,
}

/// What is to be done, by whom.
#[derive(Debug, Serialize)]
struct Matrix {
    /// How many; the jobs of one need what those before have built.
    waves: usize,
    /// In the order of their waves.
    jobs: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    /// Unique, and short enough for a list of jobs.
    name: String,
    /// From 1.
    wave: usize,
    services: Vec<String>,
    /// What follows `brik build`, quoted for a shell.
    args: String,
    /// How long it is going to take, where that was asked for by `--shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

pub fn run(global: &Global, mut args: MatrixArgs) -> Result<ExitCode, Failure> {
    if args.what.image.is_given() {
        return Err(Failure::usage("brik matrix is about the services of brik.toml; --image builds one image without it"));
    }
    let setup = Setup::new(global, &args.what)?;
    let tell = |line: &str| {
        if !matches!(global.progress, Progress::Quiet) {
            print::err(&format!("{line}\n"));
        }
    };
    let found = bases::resolve(&setup, &args.what)?;
    args.what.pin.extend(found);
    let mut planned = setup.plan(&args.what, args.push)?;
    since::narrow(&setup, &args.what, &mut planned)?.iter().for_each(|line| tell(line));
    learn(&setup.redactor, &setup.client)?;
    let shared = setup.shared(&args.what.cache, true, &planned.workspace)?;
    let lookup = elsewhere(&setup, &planned, &shared)?;
    for message in shared.known.take_messages() {
        if let Message::Warning(text) = message {
            tell(&setup.redactor.redact(&format!("warning: {text}")));
        }
    }
    let wanted = wanted(&args, &planned, &lookup);
    let in_waves = in_waves(&planned.workspace, &wanted);
    let jobs = divide(&setup, &args, (&planned, &lookup, &shared), &in_waves);
    let waves = jobs.last().map_or(0, |job| job.wave);
    if jobs.len() < wanted.len() && args.shards.is_none() {
        tell(&format!("{} services are more than the {MOST_JOBS} jobs that GitHub runs: some jobs build several", wanted.len()));
    }
    if waves > 1 && !args.push && args.what.cache.cache_to.is_none() {
        tell("warning: without --push or --cache-to, jobs build again what those before them have built");
    }
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (some, all) = (wanted.len(), planned.workspace.services.len());
    tell(&format!("{some} of {all} services to build: {}, {}", count(jobs.len(), "job"), count(waves, "wave")));
    let entries = jobs.into_iter().map(|job| entry(global, &args, &planned.workspace, job));
    let matrix = Matrix { waves, jobs: entries.collect() };
    print::out(&match args.format {
        MatrixFormat::Github => {
            notation::write_outputs(&setup.request.env, &matrix)?;
            format!("{}\n", notation::github(&matrix.jobs))
        }
        MatrixFormat::Gitlab => format!("{:#}\n", notation::gitlab(&matrix)),
        MatrixFormat::Json => format!("{}\n", serde_json::to_string_pretty(&matrix).unwrap_or_default()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a machine with an empty store knows, as those that run the jobs have one. Without cache repositories, what this store knows.
fn elsewhere(setup: &Setup, planned: &Planned, shared: &Shared) -> Result<Lookup, Failure> {
    let origins = Origins::of(&planned.plan).and_of(shared.repositories());
    if !shared.is_read() {
        return Ok(setup.look_up(&planned.plan, shared, &origins, &BTreeMap::new()));
    }
    let failed = |error: crate::store::Error| Failure::failed(error.to_string());
    let directory = setup.store.temp_dir().map_err(failed)?;
    let empty = Store::open(directory.path()).map_err(failed)?;
    Ok(look_up(
        &planned.plan,
        &Sources { store: &empty, shared: Some(shared), origins: &origins, done: &BTreeMap::new(), single_uid: &|| setup.single_uid() },
    ))
}

/// The services that jobs are made for.
fn wanted<'p>(args: &MatrixArgs, planned: &'p Planned, lookup: &Lookup) -> BTreeSet<&'p str> {
    let all = args.all || args.what.since.is_some();
    let images = planned.plan.images.iter().enumerate();
    images.filter(|(index, _)| all || !lookup.images.contains_key(index)).map(|(_, image)| image.service.as_str()).collect()
}

fn in_waves<'w>(workspace: &'w Workspace, wanted: &BTreeSet<&str>) -> Vec<Vec<&'w str>> {
    let services = workspace.services.iter().map(|loaded| loaded.service.name.as_str());
    waves(services, &workspace.edges, |service| wanted.contains(service))
}

fn divide(setup: &Setup, args: &MatrixArgs, (planned, lookup, shared): (&Planned, &Lookup, &Shared), waves: &[Vec<&str>]) -> Vec<Job> {
    let shards = args.shards.map(usize::from);
    let sizes: Vec<usize> = waves.iter().map(Vec::len).collect();
    if shards.is_none() && jobs::caps(&sizes, None) == sizes {
        return jobs::one_each(waves);
    }
    let durations = durations::durations(setup, planned, lookup, shared);
    let plan = &planned.plan;
    // What a wave has run, later ones find.
    let mut before: BTreeSet<StepId> = BTreeSet::new();
    let mut work = Vec::new();
    for wave in waves {
        let runs = |service: &str| {
            let images = plan.images.iter().filter(move |image| image.service == service);
            let steps = images.flat_map(|image| plan.behind(image.root).0).filter(|id| lookup.run.contains(id) && !before.contains(id));
            steps.map(|id| (id, durations.get(&id).copied().unwrap_or_default())).collect::<BTreeMap<StepId, f64>>()
        };
        let services: Vec<Work> = wave.iter().map(|service| Work { service: (*service).to_owned(), steps: runs(service) }).collect();
        before.extend(services.iter().flat_map(|work| work.steps.keys().copied()).collect::<Vec<_>>());
        work.push(services);
    }
    jobs::divide(work, shards)
}

fn entry(global: &Global, args: &MatrixArgs, workspace: &Workspace, job: Job) -> Entry {
    let pins = bases::of(workspace, &args.what.pin, &job.services);
    let words = command::arguments(global, args, pins, &job.services);
    Entry { name: job.name(), wave: job.wave, args: command::quoted(&words), services: job.services, seconds: job.seconds }
}
