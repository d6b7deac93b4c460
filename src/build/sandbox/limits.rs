//! How many processes a RUN may have, and whom the kernel kills first where memory ends.
//!
//! | rung | processes and threads |
//! |---|---|
//! | all with namespaces, Linux 6.14 | `kernel.pid_max` of the RUN's own process id namespace |
//! | user namespaces before | `RLIMIT_NPROC`, which counts in the user namespace (Linux 5.14): all RUNs of this brik together |
//! | root before, and rung 3 | a control group, where brik may make one: the rlimit does not bind real root |
//!
//! Memory has a limit where one is asked for and brik may make a control group. Else it is that of brik's own group, of the container or
//! of the machine; brik and what else runs there outlive a RUN that takes too much of it.

use std::fs;
use std::num::NonZeroUsize;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit};

use super::cgroup::{ControlGroup, Wanted};
use super::rung::Rung;
use super::spec::RunSpec;

/// What is added to a RUN's chance to be killed (proc_pid_oom_score_adj(5)), of [`OOM_MOST`].
const OOM_ADDED: i32 = 500;
const OOM_MOST: i32 = 1000;

/// Process ids that the kernel does not give a second time (RESERVED_PIDS), and its smallest limit.
const RESERVED: u32 = 300;

/// What only a control group can limit.
pub(super) fn for_group(rung: Rung, processes: u32, memory: Option<u64>) -> Wanted {
    Wanted { processes: (!Limits::of(rung, processes).count_processes()).then_some(processes), memory }
}

/// Whether a RUN's memory can be limited on this rung: brik may make control groups.
pub fn limits_memory(rung: Rung) -> bool {
    ControlGroup::make(for_group(rung, RunSpec::PROCESSES, Some(1 << 30))).is_some()
}

/// Prepared before the fork, applied after it.
pub(super) struct Limits {
    /// For /proc/sys/kernel/pid_max.
    process_ids: Option<Vec<u8>>,
    processes: Option<u64>,
    /// For /proc/self/oom_score_adj.
    oom_score: Vec<u8>,
}

impl Limits {
    pub fn of(rung: Rung, processes: u32) -> Self {
        let kernel = version(&rustix::system::uname().release().to_string_lossy());
        let own_score = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
        let mut limits = Self::by_kernel(rung, kernel, processes);
        limits.oom_score = own_score.unwrap_or(0).saturating_add(OOM_ADDED).min(OOM_MOST).to_string().into_bytes();
        limits
    }

    fn by_kernel(rung: Rung, kernel: (u32, u32), processes: u32) -> Self {
        // Before 6.14 there was one limit, and it was the host's.
        let own_ids = kernel >= (6, 14) && rung != Rung::Chroot;
        let own_count = kernel >= (5, 14) && matches!(rung, Rung::UserNamespace | Rung::SingleUid);
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
        Self {
            process_ids: own_ids.then(|| processes.saturating_add(RESERVED).to_string().into_bytes()),
            processes: (own_count && !own_ids).then(|| u64::from(processes).saturating_mul(at_once)),
            oom_score: Vec::new(),
        }
    }

    /// Whether processes are limited without a control group: nobody is told then who has run into it.
    pub fn count_processes(&self) -> bool {
        self.process_ids.is_some() || self.processes.is_some()
    }

    /// In a forked child, like all below: for this process and those that it starts. A /proc without that file is no reason not to run.
    pub fn offer_to_the_oom_killer(&self) {
        let file = rustix::fs::openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let _ = file.and_then(|file| rustix::io::write(&file, &self.oom_score));
    }

    /// In the RUN's process id namespace, whose /proc is in the working directory.
    pub fn limit_process_ids(&self) -> rustix::io::Result<()> {
        let Some(number) = &self.process_ids else { return Ok(()) };
        let file = rustix::fs::openat(CWD, c"proc/sys/kernel/pid_max", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, number).map(drop)
    }

    pub fn limit_processes(&self) -> rustix::io::Result<()> {
        match self.processes {
            Some(most) => {
                let most = Some(rustix::process::getrlimit(Resource::Nproc).maximum.map_or(most, |limit| limit.min(most)));
                rustix::process::setrlimit(Resource::Nproc, Rlimit { current: most, maximum: most })
            }
            None => Ok(()),
        }
    }
}

/// Of a release as in `6.18.44-generic`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_limit_is_never_touched() {
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
        for (rung, release, ids, count) in [
            (Rung::Root, "6.18.44-fc", true, false),
            (Rung::UserNamespace, "6.14.0-1-generic", true, false),
            (Rung::Root, "6.13.9", false, false),
            (Rung::UserNamespace, "6.1.0-18-amd64", false, true),
            (Rung::SingleUid, "5.15.0", false, true),
            (Rung::UserNamespace, "5.11.0", false, false),
            (Rung::Chroot, "6.18.1", false, false),
            (Rung::Root, "odd", false, false),
        ] {
            let limits = Limits::by_kernel(rung, version(release), 1000);
            let expected = (ids.then(|| b"1300".to_vec()), count.then_some(1000 * at_once));
            assert_eq!((limits.process_ids, limits.processes), expected, "{rung:?} {release}");
        }
    }
}
