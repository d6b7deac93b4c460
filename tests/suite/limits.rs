//! Limits under which brik itself is started (setrlimit(2)): an error that names the limit, and a store that works on.

use std::process::Command;

use crate::support::{Project, Run};

/// Builds under `limit`, which is too low, and then without it.
fn too_low(limit: &str) -> Run {
    let random = std::iter::repeat_with(|| fastrand::u8(..)).take(256 << 10).collect::<Vec<u8>>();
    let project = Project::dockerfile("FROM {busybox}\nCOPY large /a/b/c/\nRUN true\n").file("large", random);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]);
    let build = || project.build::<&str>([]);
    let run = build().under(shell).exits(1);
    let _ = build().succeeds();
    run
}

#[test]
fn a_file_that_grows_beyond_what_is_allowed_is_an_error_with_a_name() {
    too_low("ulimit -f 256").says(&["File too large", "raise `ulimit -f`"]);
}

#[test]
fn too_few_open_files_are_an_error_that_says_so() {
    too_low("ulimit -n 32").says(&["Too many open files", "raise `ulimit -n`"]);
}
