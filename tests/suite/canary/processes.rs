//! Processes that brik has started, as everybody on the machine sees them.

use std::fs;
use std::time::{Duration, Instant};

pub struct Process {
    pub name: String,
    pub arguments: Vec<u8>,
    /// Empty where it may not be read.
    pub environment: Vec<u8>,
    /// Soft and hard limit of core dumps, as `/proc/PID/limits` has them.
    pub core: String,
}

/// `pid`, and all that it has started.
pub fn of(pid: u32) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = numbers.filter_map(|number| Some((number, parent(number)?))).collect();
    let mut family = vec![pid];
    let mut at = 0;
    while at < family.len() {
        let older = family[at];
        family.extend(parents.iter().filter(|(_, parent)| *parent == older).map(|(number, _)| *number));
        at += 1;
    }
    family.into_iter().filter_map(read).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn read(pid: u32) -> Option<Process> {
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}"));
    let limits = String::from_utf8(file("limits").ok()?).ok()?;
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?;
    Some(Process {
        name: String::from_utf8_lossy(&file("comm").ok()?).trim().to_owned(),
        arguments: file("cmdline").ok()?,
        environment: file("environ").unwrap_or_default(),
        core: core.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
    })
}

/// Waits until `pid` has started a process with `words` among its arguments.
pub fn wait_for(pid: u32, words: &str) -> Vec<Process> {
    let begun = Instant::now();
    loop {
        let family = of(pid);
        let arguments = words.replace(' ', "\0");
        if family.iter().any(|process| process.arguments.starts_with(arguments.as_bytes())) {
            return family;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody has started {words:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
