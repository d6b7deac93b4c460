//! Descriptors that this program was started with: its own, as a shell's `<(command)` that a path of brik's leads to, and the brik's that it
//! becomes, but of no other program.

use std::fs;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use super::sys;

static INHERITED: OnceLock<Vec<RawFd>> = OnceLock::new();

/// Keeps them from the programs that this one starts. Belongs at the start, before anything else is open.
pub fn keep_inherited_descriptors() {
    INHERITED.get_or_init(|| {
        let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|number| *number > 2);
        // What is closed anyway, as the directory itself, was not inherited.
        numbers.filter(|number| sys::set_close_on_exec(*number, true).is_ok_and(|closed| !closed)).collect()
    });
}

/// Gives them to the program that this process is about to become. System calls only.
pub(super) fn hand_on() {
    for number in INHERITED.get().into_iter().flatten() {
        let _ = sys::set_close_on_exec(*number, false);
    }
}
