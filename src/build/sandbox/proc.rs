//! A few files of /proc, for a RUN that cannot have its own (rung 3): what programs read to find out about the machine.

use std::fs;
use std::io;
use std::path::Path;

/// Each is copied as it is now. Nothing in it is about a process.
const COPIED: [&str; 14] = [
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
    "sys/kernel/cap_last_cap",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/uuid",
    "sys/kernel/threads-max",
];

/// Fills an empty directory.
pub(super) fn fill(proc: &Path) -> io::Result<()> {
    for name in COPIED {
        // What a container may not read is not there.
        let Ok(text) = fs::read(Path::new("/proc").join(name)) else { continue };
        let path = proc.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    fs::write(proc.join("mounts"), "rootfs / rootfs rw 0 0\n")
}
