//! One measured build: wall clock, CPU of everything that it started, the builder's memory, and the registry's traffic.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::builder::Builder;
use crate::inputs::Inputs;
use crate::registry::{Registry, Traffic};

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Seconds.
    pub wall: f64,
    /// Seconds of all cores: the builder, its daemon, and what runs inside RUN.
    pub cpu: f64,
    /// Largest resident set of one of the builder's processes, in bytes.
    pub memory: u64,
    pub traffic: Traffic,
}

/// Builds all services and pushes them.
pub fn build(builder: &mut dyn Builder, inputs: &Inputs, registry: &Registry) -> Result<Figures, String> {
    let commands = builder.commands(inputs);
    let before = registry.traffic();
    let (cpu, daemon) = (children_cpu()?, builder.daemon_cpu());
    let started = Instant::now();
    let memory = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let (processes, at_once) = (builder.processes(), builder.at_once());
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| watch(processes, &memory, &over));
        let outcome = run_all(commands, at_once);
        over.store(true, Ordering::Relaxed);
        outcome
    });
    let wall = started.elapsed();
    outcome?;
    let cpu = children_cpu()? - cpu + builder.daemon_cpu().saturating_sub(daemon);
    let after = registry.traffic();
    Ok(Figures {
        wall: wall.as_secs_f64(),
        cpu: cpu.as_secs_f64(),
        memory: memory.into_inner(),
        traffic: Traffic {
            requests: after.requests - before.requests,
            bytes_down: after.bytes_down - before.bytes_down,
            bytes_up: after.bytes_up - before.bytes_up,
        },
    })
}

/// Runs commands, so many at a time.
fn run_all(commands: Vec<Command>, at_once: usize) -> Result<(), String> {
    let mut running: Vec<(String, Child)> = Vec::new();
    let finish = |(text, child): (String, Child)| {
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{text}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    };
    for mut command in commands {
        if running.len() == at_once {
            finish(running.remove(0))?;
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        running.push((format!("{command:?}"), child.map_err(|error| format!("cannot run {command:?}: {error}"))?));
    }
    running.into_iter().try_for_each(finish)
}

fn children_cpu() -> Result<Duration, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Notes the largest `VmHWM` of processes with these names, until it is over.
fn watch(names: &[&str], memory: &AtomicU64, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let status = entry.path().join("status");
            let Ok(text) = fs::read_to_string(status) else { continue };
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if field("Name:").is_some_and(|name| names.contains(&name)) {
                let kilobytes = field("VmHWM:").and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
                memory.fetch_max(kilobytes.unwrap_or(0) << 10, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
