//! MultipleInstructionsDisallowed.

use super::super::ast::InstructionKind;
use super::reading::{Reading, Step};
use super::warning::Warnings;

/// Said of the instruction that is in vain; comments above the one that replaces it can skip it (BuildKit).
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let kinds: [fn(&InstructionKind) -> bool; 3] = [
        |kind| matches!(kind, InstructionKind::Cmd(_)),
        |kind| matches!(kind, InstructionKind::Entrypoint(_)),
        |kind| matches!(kind, InstructionKind::Healthcheck(_)),
    ];
    for steps in &reading.stages {
        for is_one in kinds {
            let same: Vec<&Step> = steps.iter().filter(|step| is_one(&step.instruction.kind)).collect();
            for pair in same.windows(2) {
                let name = &pair[1].statement().keyword.text;
                let message =
                    format!("Multiple {name} instructions should not be used in the same stage because only the last one will be used");
                warnings.about(pair[1].statement(), pair[0].place(pair[0].statement().keyword.span), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn all_but_the_last_of_a_stage_are_told() {
        let cmd = "Multiple CMD instructions should not be used in the same stage because only the last one will be used";
        let entrypoint = "Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used";
        let healthcheck = "Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used";
        let twice = "\nFROM scratch\nENTRYPOINT [\"/a\"]\nENTRYPOINT [\"/b\"]\nCMD [\"/a\"]\nCMD [\"/b\"]\nHEALTHCHECK CMD [\"/a\"]\nHEALTHCHECK CMD [\"/b\"]\n";
        let apart = "\nFROM scratch\nENTRYPOINT [\"/a\"]\nCMD [\"/a\"]\nHEALTHCHECK CMD [\"/a\"]\nCOPY <<EOF /a.txt\nHello\nEOF\nENTRYPOINT [\"/b\"]\nCMD [\"/b\"]\nHEALTHCHECK CMD [\"/b\"]\n";
        let stages = "\nFROM scratch AS a\nENTRYPOINT [\"/a\"]\nCMD [\"/a\"]\n\nFROM a AS b\nENTRYPOINT [\"/b\"]\nCMD [\"/b\"]\n";
        expect(
            "MultipleInstructionsDisallowed",
            &bare(),
            &[
                (twice, &[(3, entrypoint), (5, cmd), (7, healthcheck)]),
                (apart, &[(3, entrypoint), (4, cmd), (5, healthcheck)]),
                (stages, &[]),
                ("FROM scratch\nCMD []\nCMD []\nCMD []\n", &[(2, cmd), (3, cmd)]),
                ("FROM scratch\nCMD []\n# check=skip=MultipleInstructionsDisallowed\nCMD []\n", &[]),
                ("FROM scratch\nRUN a\nRUN b\nUSER a\nUSER b\n", &[]),
            ],
        );
    }
}
