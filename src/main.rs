use std::process::ExitCode;

fn main() -> ExitCode {
    brik::cli::main()
}
