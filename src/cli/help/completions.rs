//! `brik completions SHELL`.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::super::{failure::Failure, print};
use super::command;

pub fn run(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut command(), "brik", &mut script);
    print::out(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
}
