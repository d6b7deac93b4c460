//! MaintainerDeprecated.

use super::super::ast::InstructionKind;
use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for instruction in reading.file.stages.iter().flat_map(|stage| &stage.instructions) {
        if matches!(instruction.kind, InstructionKind::Maintainer(_)) {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            warnings.about(&instruction.statement, instruction.statement.keyword.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn maintainer_is_told_and_a_label_not() {
        expect(
            "MaintainerDeprecated",
            &bare(),
            &[
                ("\nFROM scratch\nMAINTAINER me@example.org\n", &[(3, "Maintainer instruction is deprecated in favor of using label")]),
                ("\nFROM scratch\nLABEL org.opencontainers.image.authors=\"me@example.org\"\n", &[]),
                ("\nFROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me@example.org\n", &[]),
            ],
        );
    }
}
