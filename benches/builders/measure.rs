//! One measured build: wall clock, CPU, the builder's memory, the registry's traffic; and, of a build under strace, exact counts.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::builder::{Builder, Job, traced};
use crate::inputs::Inputs;
use crate::process::run_all;
use crate::registry::Registry;
use crate::shelf::Shelf;
use crate::trace::Trace;
use crate::traffic::Traffic;
use crate::walk;
use crate::watch::Watch;

#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Seconds.
    pub wall: f64,
    /// Seconds of all cores: the builder, its daemon, and what runs inside RUN.
    pub cpu: f64,
    /// Of these, what the builder's own processes took.
    pub own_cpu: f64,
    /// Largest resident set of one of the builder's own processes, in bytes.
    pub memory: u64,
    pub traffic: Traffic,
    /// What the registry had afterwards.
    pub shelf: Shelf,
    pub services: usize,
}

/// What strace counted.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Processes that the builder, its daemon and RUNs made.
    pub forks: usize,
    pub programs: usize,
    /// How often files of the contexts were opened.
    pub files: usize,
}

/// Builds all services and pushes them.
pub fn build(builder: &dyn Builder, inputs: &Inputs, job: Job, registry: &Registry) -> Result<Figures, String> {
    let commands = builder.commands(inputs, job);
    let before = registry.traffic();
    let cpu = usage(UsageWho::RUSAGE_CHILDREN)?;
    let watch = Watch::start(builder.processes());
    let started = Instant::now();
    let outcome = run_all(commands, builder.at_once());
    let wall = started.elapsed();
    let seen = watch.stop();
    outcome?;
    // Daemons are no children that have ended: all of theirs is in what was seen.
    let cpu = usage(UsageWho::RUSAGE_CHILDREN)? - cpu + seen.daemon_cpu;
    Ok(Figures {
        wall: wall.as_secs_f64(),
        cpu: cpu.as_secs_f64(),
        own_cpu: seen.own_cpu.min(cpu).as_secs_f64(),
        memory: seen.memory,
        traffic: registry.traffic().since(&before),
        shelf: registry.shelf(),
        services: inputs.services.len(),
    })
}

/// Builds all services and pushes them, under strace. What a daemon does is in `daemon`, from its start.
pub fn count(builder: &dyn Builder, inputs: &Inputs, job: Job, directory: &Path, daemon: &Path) -> Result<Counts, String> {
    let failed = |error: std::io::Error| format!("cannot read what strace wrote: {error}");
    let read = |directory: &Path| -> std::io::Result<Counts> {
        let trace = Trace::read(directory)?;
        let files = trace.files_below(&inputs.directory).values().sum();
        Ok(Counts { forks: trace.forks, programs: trace.programs.len(), files })
    };
    let nothing = Counts { forks: 0, programs: 0, files: 0 };
    let before = if daemon.exists() { read(daemon).map_err(failed)? } else { nothing };
    let commands = traced(builder.commands(inputs, job), directory)?;
    let traces = commands.len();
    run_all(commands, builder.at_once())?;
    let mut sum = if daemon.exists() { read(daemon).map_err(failed)? } else { nothing };
    for n in 0..traces {
        let one = read(&directory.join(n.to_string())).map_err(failed)?;
        sum = Counts { forks: sum.forks + one.forks, programs: sum.programs + one.programs, files: sum.files + one.files };
    }
    let _ = std::fs::remove_dir_all(directory);
    Ok(Counts { forks: sum.forks - before.forks, programs: sum.programs - before.programs, files: sum.files - before.files })
}

/// What nobody who looks at every file of the contexts can do without.
pub fn stat_walk(inputs: &Inputs) -> Result<Figures, String> {
    let cpu = usage(UsageWho::RUSAGE_SELF)?;
    let started = Instant::now();
    inputs.services.iter().try_for_each(|service| walk::stat_all(&inputs.context(service)).map(drop)).map_err(|error| error.to_string())?;
    let wall = started.elapsed().as_secs_f64();
    let cpu = (usage(UsageWho::RUSAGE_SELF)? - cpu).as_secs_f64();
    Ok(Figures { wall, cpu, own_cpu: cpu, ..Figures::default() })
}

fn usage(who: UsageWho) -> Result<Duration, String> {
    let usage = getrusage(who).map_err(|error| error.to_string())?;
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}
