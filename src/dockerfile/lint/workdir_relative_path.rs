//! WorkdirRelativePath.

use super::reading::{Reading, Role};
use super::warning::Warnings;

/// Only the first WORKDIR of a stage and its bases matters: it makes the next ones right. That of the base image is none to rely on.
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten().filter(|step| !step.workdir) {
        for path in step.certain(Role::Path).filter(|path| !path.expanded.text.starts_with('/')) {
            let message = format!("Relative workdir {:?} can have unexpected results if the base image changes", path.expanded.text);
            warnings.about(step.statement(), step.place(path.span), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect};

    #[test]
    fn the_first_workdir_is_absolute() {
        let app = "Relative workdir \"app/\" can have unexpected results if the base image changes";
        let cases: &[(&str, &[(usize, &str)])] = &[
            ("\nFROM scratch\nWORKDIR app/\n", &[(3, app)]),
            ("\nFROM scratch AS a\nWORKDIR /app\n\nFROM a AS b\nWORKDIR subdir/\n", &[]),
            ("FROM scratch\nWORKDIR app/\nWORKDIR app/\n", &[(2, app)]),
            ("FROM scratch\nENV A=app\nWORKDIR $A/\n", &[(3, app)]),
            ("FROM scratch\nENV A=/app\nWORKDIR $A\n", &[]),
            ("\nFROM scratch\n# check=skip=WorkdirRelativePath\nWORKDIR app/\n", &[]),
        ];
        expect("WorkdirRelativePath", &bare(), cases);
        // What a variable of an unknown base image says decides nothing.
        let unknown: &[(&str, &[(usize, &str)])] =
            &[("FROM base\nENV A=$B\nWORKDIR $A\n", &[]), ("FROM base\nWORKDIR app/\n", &[(2, app)])];
        expect("WorkdirRelativePath", &Given::default(), unknown);
    }
}
