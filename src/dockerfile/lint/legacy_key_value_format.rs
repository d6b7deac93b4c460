//! LegacyKeyValueFormat.

use super::super::Span;
use super::super::ast::InstructionKind;
use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten() {
        let (InstructionKind::Env(pairs) | InstructionKind::Label(pairs)) = &step.instruction.kind else { continue };
        for pair in pairs.iter().filter(|pair| pair.legacy) {
            let name = &step.statement().keyword.text;
            let message = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            let span = Span::new(pair.key.span.start, pair.value.span.end.max(pair.key.span.end));
            warnings.about(step.statement(), step.place(span), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect, label};

    #[test]
    fn pairs_have_an_equals_sign() {
        let env = "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format";
        let label_message = "\"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format";
        let rule = "LegacyKeyValueFormat";
        expect(
            rule,
            &bare(),
            &[
                ("\nFROM scratch\nENV testkey value\nLABEL key value\n", &[(3, env), (4, label_message)]),
                ("\nFROM scratch\nENV testkey=value\nLABEL key=value\n", &[]),
                ("FROM scratch\n# check=skip=LegacyKeyValueFormat\nENV a b\n", &[]),
                ("FROM scratch\nenv a b\n", &[(2, "\"env key=value\" should be used instead of legacy \"env key value\" format")]),
            ],
        );
        // From BuildKit: a build says nothing about a stage that it does not need.
        let text = "\nFROM scratch AS a\n\nFROM a AS b\nENV testkey value\n\nFROM a AS c\n";
        expect(rule, &Given { stages: vec![0, 2], ..bare() }, &[(text, &[])]);
        expect(rule, &bare(), &[(text, &[(5, env)])]);
        assert_eq!(label(rule, "FROM a\nENV  a b c \n", &bare()), Some("a b c"));
    }
}
