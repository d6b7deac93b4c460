//! What keeps the RUNs of one brik apart where each sees the others' processes: where brik's own /proc is partly covered, as in a container,
//! the kernel refuses a fresh one. They have one user namespace, one user and the same capabilities, so that environments, memory and
//! roots are open among them. Landlock's scopes make a domain of each, into which no other can look; without them there is one at a
//! time, and no slirp4netns beside it.
//!
//! On rung 3 it is a root that has to be kept from the others. No mount can be made read-only under a file that a RUN has handed to another
//! one, which would write to it after its digest was taken: only that there is no other keeps it as it was, or that none can be reached.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::mount::MountFlags;
use rustix::thread::UnshareFlags;

use super::error::SandboxError;
use super::rung::Rung;
use super::spec::Network;
use super::{respawn, sys};

/// The first version of Landlock that has scopes (Linux 6.12).
const SCOPES: i32 = 6;

/// What a RUN holds from beginning to end.
pub(super) struct Turn(Option<MutexGuard<'static, ()>>);

impl Turn {
    /// Waits for other RUNs of this process where nothing else keeps them apart. Whoever has a turn must wait for nothing that another RUN
    /// holds.
    pub fn wait(rung: Rung, network: Network) -> Result<Self, SandboxError> {
        static ALONE: OnceLock<bool> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::new(());
        // Without mounts there are a few files in the place of /proc, and Landlock may be refused though the kernel has it.
        let alone = *ALONE.get_or_init(|| match rung {
            Rung::Chroot => !has_scopes(),
            _ => is_alone(sys::landlock_version(), has_own_proc),
        });
        match (alone, network) {
            (true, Network::Private) => Err(SandboxError::NetworkSeen),
            (true, _) => Ok(Self(Some(TURN.lock().unwrap_or_else(PoisonError::into_inner)))),
            (false, _) => Ok(Self(None)),
        }
    }

    /// Whether no other RUN of this process runs meanwhile.
    pub fn is_alone(&self) -> bool {
        self.0.is_some()
    }
}

fn is_alone(landlock: Option<i32>, has_own_proc: impl FnOnce() -> bool) -> bool {
    landlock.is_none_or(|version| version < SCOPES) && !has_own_proc()
}

/// Whether a RUN can have a /proc of its own. Tries it once, in namespaces that are thrown away.
fn has_own_proc() -> bool {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let mount = || i32::from(rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None).is_err());
    let tried = sys::fork(UnshareFlags::NEWPID | UnshareFlags::NEWNS, mount);
    tried.is_ok_and(|child| respawn::wait(&child).is_ok_and(|code| code == 0))
}

/// Whether a RUN can be given Landlock's scopes. Tries it once, in a process that is thrown away.
fn has_scopes() -> bool {
    let tried = sys::fork(UnshareFlags::empty(), || i32::from(sys::scope_abstract_sockets().is_err()));
    tried.is_ok_and(|child| respawn::wait(&child).is_ok_and(|code| code == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_where_neither_proc_nor_landlock_keeps_runs_apart() {
        for (landlock, own_proc, alone) in [
            (None, false, true),
            (Some(5), false, true),
            (Some(6), false, false),
            (None, true, false),
            (Some(5), true, false),
            (Some(7), true, false),
        ] {
            assert_eq!(is_alone(landlock, || own_proc), alone, "{landlock:?} {own_proc}");
        }
    }
}
