//! Looks, every few milliseconds, at the processes of a builder: what they take of the processor and of memory (proc_pid_stat(5)).

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(10);

/// What has been seen of processes with certain names, all of them descendants of this one.
#[derive(Debug, Default)]
pub struct Seen {
    /// Their CPU time, without that of processes that they have waited for. A process is last seen at most [`INTERVAL`] before its end.
    pub own_cpu: Duration,
    /// CPU time of those that ran all along, with what they have waited for.
    pub daemon_cpu: Duration,
    /// Largest resident set of one of them, in bytes.
    pub memory: u64,
}

pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    own: u64,
    waited_for: u64,
}

impl Watch {
    pub fn start(names: Vec<String>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let before = look(&names);
        for pid in before.keys() {
            // Its largest resident set is counted anew from now on (proc_pid_clear_refs(5)).
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let is_over = over.clone();
        let thread = std::thread::spawn(move || watch(&names, &before, &is_over));
        Self { over, thread }
    }

    pub fn stop(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(names: &[String], before: &HashMap<u32, Times>, over: &AtomicBool) -> Seen {
    let mut last = before.clone();
    let mut memory = 0;
    loop {
        // Once more after the end, for the daemons.
        let ends = over.load(Ordering::Relaxed);
        for (pid, times) in look(names) {
            last.insert(pid, times);
            memory = memory.max(peak(pid));
        }
        if ends {
            break;
        }
        sleep(INTERVAL);
    }
    let mut seen = Seen { memory, ..Seen::default() };
    for (pid, now) in last {
        let then = before.get(&pid).copied().unwrap_or_default();
        seen.own_cpu += ticks(now.own.saturating_sub(then.own));
        if before.contains_key(&pid) {
            seen.daemon_cpu += ticks(now.own.saturating_sub(then.own)) + ticks(now.waited_for.saturating_sub(then.waited_for));
        }
    }
    seen
}

/// The descendants with these names. What others, such as shells, have started is looked at, what RUNs have started is not.
fn look(names: &[String]) -> HashMap<u32, Times> {
    let mut found = HashMap::new();
    let mut pending = children(std::process::id());
    while let Some(pid) = pending.pop() {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let is_own = names.iter().any(|wanted| wanted == name);
        if is_own || WRAPPERS.contains(&name) {
            pending.extend(children(pid));
        }
        if is_own {
            // utime, stime, cutime and cstime are fields 14 to 17, and the first of `rest` is field 3.
            let fields: Vec<u64> = rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
            if let [user, system, children_user, children_system] = fields[..] {
                found.insert(pid, Times { own: user + system, waited_for: children_user + children_system });
            }
        }
    }
    found
}

/// What stands between the bench and a builder.
const WRAPPERS: [&str; 3] = ["sh", "setpriv", "strace"];

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>()).collect()
}

fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.unwrap_or(0) << 10
}

/// USER_HZ, which the kernel's interface fixes.
const TICKS_A_SECOND: u64 = 100;

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}
