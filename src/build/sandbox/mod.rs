//! The RUN sandbox: brik's own small container runtime (design §6), with the defaults of runc under BuildKit.
//!
//! - `rung`, `refusal`: what this machine allows, or why not and the fix.
//! - `respawn` (`idmap`, `program`, `inherited`): the one step into a mount (and user) namespace, where everything below happens in-process.
//! - `overlay`: snapshots stacked as a root file system.
//! - `spec`, `user`, `cancel`, `error`: what callers say and hear. `core_dump`: what neither brik nor a RUN leaves.
//! - `run`: one RUN; `cgroup` counts it; `mounts` (`dev`, `etc`, `certificates`, `staging`, `stubs`, `rootfs`, `tmpfs`, `directory`) prepares its root, `child` (`command`,
//!   `confine`, `limits`, `seccomp`, `report`) becomes the command, `network` (`routes`) is the one that it has of its own, `apart` what keeps it from
//!   other RUNs, `output` and `agent` serve it, and `last_words` are what it ends with.
//! - Without namespaces (rung 3): `covers` (`proc`, `dev`, `placed_secret`) puts things into the root itself in place of mounting them, and takes them away
//!   again; the guard kills `descendants`. What a Step has changed is found by `build::workspace`.
//!   `tick`: what two changes of a file within one would hide.
//! - `sys`: every `unsafe` and raw system call of the project.

mod agent;
mod apart;
mod cancel;
mod certificates;
mod cgroup;
mod child;
mod command;
mod confine;
mod core_dump;
mod covers;
mod descendants;
mod dev;
mod directory;
mod error;
mod etc;
mod idmap;
mod inherited;
mod last_words;
mod limits;
mod mounts;
mod network;
mod output;
mod overlay;
mod placed_secret;
mod proc;
mod program;
mod refusal;
mod report;
mod respawn;
mod rootfs;
mod routes;
mod run;
mod rung;
mod seccomp;
mod spec;
mod staging;
mod stubs;
#[allow(unsafe_code, reason = "its only address")]
mod sys;
mod syscall_numbers;
mod tick;
mod tmpfs;
mod user;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod tests;

pub use cancel::CancelFlag;
pub use core_dump::forbid_core_dumps;
pub use error::SandboxError;
pub use idmap::{own_user, subordinate_ids};
pub use inherited::keep_inherited_descriptors;
pub use limits::limits_memory;
pub use overlay::{Overlay, unmount_below};
pub use refusal::{APPARMOR_FILE, Refusal, apparmor_profile};
pub use respawn::{Entry, ask_inside, enter, handed_over, inside, probe, probe_ladder};
pub use run::run;
pub use rung::Rung;
pub use spec::{Access, Limit, Network, Outcome, RunSpec, SandboxMount, Stream};
pub use sys::{ends_with_us, keep_ended_children};
pub use tick::wait_for_the_tick_after;
pub use user::{User, resolve_user};
