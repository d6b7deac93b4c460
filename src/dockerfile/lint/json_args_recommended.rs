//! JSONArgsRecommended.

use super::super::ast::{CommandLine, InstructionKind};
use super::reading::Reading;
use super::warning::Warnings;

/// Who sets a SHELL means it. That the image has none is taken for granted where it is not known: hardly any has.
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten().filter(|step| !step.shell) {
        if let InstructionKind::Cmd(CommandLine::Shell(line)) | InstructionKind::Entrypoint(CommandLine::Shell(line)) =
            &step.instruction.kind
        {
            let keyword = &step.statement().keyword;
            let span = if line.text.is_empty() { keyword.span } else { line.span };
            let message = format!("JSON arguments recommended for {} to prevent unintended behavior related to OS signals", keyword.text);
            warnings.about(step.statement(), step.place(span), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect, label};

    const RULE: &str = "JSONArgsRecommended";
    const CMD: &str = "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals";
    const ENTRYPOINT: &str = "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals";

    #[test]
    fn shell_form_is_told_without_a_shell() {
        expect(
            RULE,
            &bare(),
            &[
                ("\nFROM scratch\nCMD mycommand\n", &[(3, CMD)]),
                ("\nFROM scratch\nENTRYPOINT mycommand\n", &[(3, ENTRYPOINT)]),
                ("FROM scratch\nCMD\n", &[(2, CMD)]),
                ("FROM scratch\nCMD [\"a\"]\nENTRYPOINT []\nHEALTHCHECK CMD a\nRUN a\n", &[]),
                ("\nFROM scratch\nSHELL [\"/usr/bin/customshell\"]\nCMD mycommand\n", &[]),
                ("\nFROM scratch\nCMD mycommand\nSHELL [\"/usr/bin/customshell\"]\n", &[(3, CMD)]),
                ("\nFROM scratch AS base\nSHELL [\"/usr/bin/customshell\"]\n\nFROM base\nENTRYPOINT mycommand\n", &[]),
                ("\nFROM scratch\n# check=skip=JSONArgsRecommended\nCMD mycommand\n", &[]),
                ("FROM scratch AS base\nONBUILD CMD a\nFROM base\n", &[(3, CMD)]),
            ],
        );
        expect(RULE, &Given { stages: vec![1], ..bare() }, &[("FROM scratch\nCMD a\nFROM scratch\n", &[])]);
        expect(RULE, &Given { on_build: vec!["CMD a"], ..bare() }, &[("FROM base\n", &[(1, CMD)])]);
        assert_eq!(label(RULE, "FROM scratch\nCMD  a \\\n  b\n", &bare()), Some("a \\\n  b"));
        assert_eq!(label(RULE, "FROM base\n", &Given { on_build: vec!["CMD a"], ..bare() }), Some("base"));
    }
}
