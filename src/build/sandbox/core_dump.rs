//! No core dumps: they would hold whatever a process knows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One byte, by which the kernel writes no file and, unlike by zero, starts no program of `core_pattern` either (core(5)).
const LIMIT: u64 = 1;

/// For this process and all that it starts. Where the limit is lower it stays.
///
/// Called between fork and exec, too: system calls only.
pub fn forbid_core_dumps() -> rustix::io::Result<()> {
    let most = getrlimit(Resource::Core).maximum.map_or(LIMIT, |limit| limit.min(LIMIT));
    setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })
}
