//! brik beside the builders that Debian packages, on the same inputs, in turn, over several rounds: medians, ratios and counters.
//! `benches/README.md` says how to run it and how to read what it prints.

mod brik;
mod buildah;
mod builder;
mod buildkit;
mod edit;
mod inputs;
mod measure;
mod process;
mod registry;
mod scenario;
mod shelf;
mod table;
#[path = "../../tests/suite/support/trace.rs"]
mod trace;
mod traffic;
mod walk;
mod watch;

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use brik::{BRIK, Brik, ROOTLESS};
use buildah::Buildah;
use builder::{Builder, Job};
use buildkit::BuildKit;
use edit::Edits;
use inputs::Inputs;
use registry::Registry;
use scenario::{Scenario, Tell};
use table::{Row, Table};

#[derive(Parser)]
struct Args {
    /// Every builder runs every scenario once a round.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Families of scenarios: services, many, runs, big, base, wide, fill, fresh, runners.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "brik,buildah,buildkit")]
    builders: Vec<String>,
    /// An unprivileged user, as whom root runs brik once more where that is of interest.
    #[arg(long)]
    user: Option<String>,
    /// No round under strace, so no forks, programs and files.
    #[arg(long)]
    no_counts: bool,
    /// A monorepo with services/*/Dockerfile in place of the generated one. Its base images are in the registry 127.0.0.1:5077.
    #[arg(long)]
    monorepo: Option<PathBuf>,
    /// The file of that monorepo that `one file` changes; without it, changing.txt of the first service.
    #[arg(long, requires = "monorepo")]
    one_file: Option<PathBuf>,
    /// The file of that monorepo from which the same is built when it gets a comment; without it, that phase is left out.
    #[arg(long, requires = "monorepo")]
    same_output: Option<PathBuf>,
    /// A registry's data directory with the base images of that monorepo.
    #[arg(long)]
    bases: Option<PathBuf>,
    /// Another brik than the one of this checkout.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_brik"))]
    brik: PathBuf,
    /// Where inputs, stores and registries lie; removed at the end unless it was there.
    #[arg(long, default_value = "/var/tmp/brik-bench")]
    scratch: PathBuf,
    /// cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), String> {
    let args = Args::parse();
    process::end_on_signals()?;
    let keep = args.scratch.exists();
    fs::create_dir_all(&args.scratch).map_err(|error| format!("cannot create {}: {error}", args.scratch.display()))?;
    let outcome = Bench::new(&args).and_then(|mut bench| {
        let outcome = bench.run();
        // What was measured until then is told, too.
        println!("\n{}", bench.table);
        outcome
    });
    if !keep {
        process::remove(&args.scratch)?;
    }
    outcome
}

struct Bench<'a> {
    args: &'a Args,
    registry: Registry,
    builders: Vec<Box<dyn Builder>>,
    table: Table,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> Result<Self, String> {
        let wanted = |name: &str| args.builders.iter().any(|builder| builder == name);
        let mut builders: Vec<Box<dyn Builder>> = Vec::new();
        if wanted(BRIK) {
            builders.push(Box::new(Brik::new(&args.brik, &args.scratch)));
            builders.push(Box::new(Brik::without_remote_cache(&args.brik, &args.scratch)));
            builders.push(Box::new(Brik::four_runners(&args.brik, &args.scratch)));
        }
        if let Some(user) = args.user.as_ref().filter(|_| process::is_root()) {
            builders.push(Box::new(Brik::rootless(&args.brik, &args.scratch, user)?));
        }
        if wanted("buildah") {
            builders.extend(Buildah::find(&args.scratch).map(|found| Box::new(found) as Box<dyn Builder>));
        }
        if wanted("buildkit") {
            builders.extend(BuildKit::find(&args.scratch).map(|found| Box::new(found) as Box<dyn Builder>));
        }
        let registry = Registry::prepare(&args.scratch.join("registry"), args.bases.as_deref(), &args.brik)?;
        Ok(Self { args, registry, builders, table: Table::default() })
    }

    fn run(&mut self) -> Result<(), String> {
        for builder in &self.builders {
            println!("{:14} {}", builder.name(), builder.version());
        }
        let counts = !self.args.no_counts && process::is_installed("strace");
        let wanted = |family: &str| self.args.only.is_empty() || self.args.only.iter().any(|name| name == family);
        let edits = Edits { one_file: self.args.one_file.clone(), same_output: self.args.same_output.clone() };
        let scenarios = Scenario::all(&self.args.scratch, self.args.monorepo.as_deref().map(|directory| (directory, &edits)));
        for scenario in scenarios.iter().filter(|scenario| wanted(scenario.family)) {
            let inputs = scenario.prepare()?;
            let base = inputs.directory.join("base");
            if base.exists() {
                if !process::is_installed("skopeo") {
                    continue;
                }
                self.registry.prepare_large(&base)?;
            }
            for round in 0..self.args.rounds {
                self.round(scenario, &inputs, Round::Timed(round))?;
            }
            if counts && !scenario.shared_cache {
                self.round(scenario, &inputs, Round::Counted)?;
            }
            scenario.clear();
        }
        Ok(())
    }

    /// Every builder once. One that fails is left out from here on, unless it is brik.
    fn round(&mut self, scenario: &Scenario, inputs: &Inputs, round: Round) -> Result<(), String> {
        let mut builders = std::mem::take(&mut self.builders);
        let mut failure = None;
        builders.retain_mut(|builder| {
            // newuidmap has no power under strace, so that what is counted would not be what is timed.
            let uncountable = round == Round::Counted && builder.name() == ROOTLESS;
            if failure.is_some() || uncountable || !scenario.is_for(builder.name()) {
                return true;
            }
            let outcome = self.sequence(scenario, inputs, builder.as_mut(), round);
            let forgotten = builder.forget();
            match outcome.and(forgotten) {
                Ok(()) => true,
                Err(error) if builder.name().starts_with(BRIK) || process::interrupted() => {
                    failure = Some(error);
                    true
                }
                Err(error) => {
                    let last = error.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                    println!("{} is left out from here on: {last}", builder.name());
                    false
                }
            }
        });
        self.builders = builders;
        failure.map_or(Ok(()), Err)
    }

    /// All phases of a scenario, from an empty state.
    fn sequence(&mut self, scenario: &Scenario, inputs: &Inputs, builder: &mut dyn Builder, round: Round) -> Result<(), String> {
        let trace = self.args.scratch.join("trace");
        process::remove(&trace)?;
        let daemon = trace.join("daemon");
        self.registry.start_afresh()?;
        builder.start((round == Round::Counted).then_some(daemon.as_path()))?;
        inputs.restore()?;
        for phase in &scenario.phases {
            let name = builder.name();
            let row = Row { name: phase.row, tell: phase.tell, shared_cache: scenario.shared_cache };
            let job = Job { tag: phase.tag, shared_cache: scenario.shared_cache };
            if phase.fresh {
                builder.start(None)?;
            }
            match round {
                Round::Timed(n) => {
                    inputs.before(phase, n)?;
                    eprintln!("round {} of {}: {}: {name}", n + 1, self.args.rounds, phase.row);
                    let figures = measure::build(builder, inputs, job, &self.registry)?;
                    if phase.tell != Tell::Nothing {
                        self.table.add(row, name, figures);
                    }
                    if phase.tell == Tell::StatWalk && name == BRIK {
                        self.table.add(row, "bare stat walk", measure::stat_walk(inputs)?);
                    }
                }
                Round::Counted if phase.tell == Tell::Nothing => measure::build(builder, inputs, job, &self.registry).map(drop)?,
                Round::Counted => {
                    inputs.before(phase, self.args.rounds)?;
                    eprintln!("under strace: {}: {name}", phase.row);
                    let counts = measure::count(builder, inputs, job, &trace.join("commands"), &daemon)?;
                    self.table.add_counts(phase.row, name, counts);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Timed(usize),
    /// Under strace, which makes everything slow: no times.
    Counted,
}
