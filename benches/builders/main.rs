//! brik beside the builders that Debian packages, on the same inputs, in turn, over several rounds: medians, ratios and counters.
//! `benches/README.md` has the commands and a table of a quiet machine.

mod builder;
mod inputs;
mod measure;
mod registry;
mod table;

use std::path::PathBuf;

use clap::Parser;

use builder::{Brik, BuildKit, Buildah, Builder};
use inputs::Scenario;
use registry::Registry;
use table::Table;

#[derive(Parser)]
struct Args {
    /// Every builder runs every scenario once a round.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Families of scenarios: services, many, runs, big, base, wide.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "brik,buildah,buildkit")]
    builders: Vec<String>,
    /// A monorepo with services/*/Dockerfile in place of the generated one. Its Dockerfiles name their registry REGISTRY.
    #[arg(long)]
    monorepo: Option<PathBuf>,
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
    let keep = args.scratch.exists();
    std::fs::create_dir_all(&args.scratch).map_err(|error| format!("cannot create {}: {error}", args.scratch.display()))?;
    let outcome = run(&args);
    if !keep {
        let _ = std::fs::remove_dir_all(&args.scratch);
    }
    outcome
}

fn run(args: &Args) -> Result<(), String> {
    let registry = Registry::prepare(&args.scratch.join("registry"), args.bases.as_deref())?;
    let wanted = |name: &str| args.builders.iter().any(|builder| builder == name);
    let mut builders: Vec<Box<dyn Builder>> = Vec::new();
    if wanted("brik") {
        builders.push(Box::new(Brik::new(&args.brik, &args.scratch)));
    }
    if wanted("buildah") {
        builders.extend(Buildah::find(&args.scratch).map(|found| Box::new(found) as Box<dyn Builder>));
    }
    if wanted("buildkit") {
        builders.extend(BuildKit::find(&args.scratch).map(|found| Box::new(found) as Box<dyn Builder>));
    }
    for builder in &builders {
        println!("{:10} {}", builder.name(), builder.version());
    }
    let mut table = Table::default();
    for scenario in Scenario::all(&args.scratch, args.monorepo.as_deref()) {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == scenario.family) {
            continue;
        }
        let inputs = scenario.prepare(&args.brik, &registry)?;
        for round in 0..args.rounds {
            for builder in &mut builders {
                if scenario.only_brik && builder.name() != "brik" {
                    continue;
                }
                registry.start_afresh()?;
                builder.reset()?;
                for phase in &scenario.phases {
                    inputs.before(phase, round)?;
                    eprintln!("round {} of {}: {} with {}", round + 1, args.rounds, phase.row, builder.name());
                    let figures = measure::build(builder.as_mut(), &inputs, &registry)?;
                    if phase.told {
                        table.add(phase.row, builder.name(), figures);
                    }
                }
                inputs.restore()?;
            }
        }
    }
    builders.iter_mut().try_for_each(|builder| builder.reset())?;
    println!("\n{table}");
    Ok(())
}
