//! NoEmptyContinuation.

use super::super::ast::Statement;
use super::reading::Reading;
use super::warning::Warnings;

/// One warning an instruction, on its last line, as BuildKit has it.
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let of_stages = reading
        .file
        .stages
        .iter()
        .flat_map(|stage| std::iter::once(&stage.statement).chain(stage.instructions.iter().map(|instruction| &instruction.statement)));
    let all = reading.file.meta_args.iter().map(|meta| &meta.statement).chain(of_stages);
    for Statement { last_line, .. } in all.filter(|statement| !statement.empty_continuations.is_empty()) {
        warnings.about_file(*last_line, "Empty continuation line".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn empty_lines_within_an_instruction_are_told_once() {
        let message = "Empty continuation line";
        expect(
            "NoEmptyContinuation",
            &bare(),
            &[
                ("\nFROM scratch\n# x\nCOPY Dockerfile \\\n\n.\nCOPY Dockerfile \\\n.\n", &[(6, message)]),
                ("FROM scratch\nRUN a \\\n\n\n  b \\\n\n  c\n", &[(7, message)]),
                ("ARG a \\\n\n  b\nFROM scratch\n", &[(3, message)]),
                ("FROM scratch\nRUN a \\\n\n", &[(3, message)]),
                ("FROM scratch\nCOPY <<E \\\n\n /x\n\nE\n", &[(4, message)]),
                ("FROM scratch\nRUN a \\\n # comment\n b\n", &[]),
                ("FROM scratch\nRUN <<E\n\nE\n", &[]),
            ],
        );
    }
}
