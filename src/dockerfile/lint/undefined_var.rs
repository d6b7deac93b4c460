//! UndefinedVar.

use super::reading::{Reading, Role};
use super::warning::Warnings;

/// Stages whose base image is not known are left out: it may set the variable.
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten() {
        for undefined in step.words.iter().filter(|word| word.role != Role::Port).flat_map(|word| &word.expanded.undefined) {
            let hint = undefined.suggestion.as_ref().map(|name| format!(" (did you mean ${name}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${}'{hint}", undefined.name);
            warnings.about(step.statement(), step.place(undefined.span), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect, label};

    const RULE: &str = "UndefinedVar";
    const FOO: &str = "Usage of undefined variable '$foo'";

    #[test]
    fn variables_are_defined_before_they_are_used() {
        expect(
            RULE,
            &bare(),
            &[
                ("\nFROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n", &[]),
                ("\nFROM alpine AS base\nARG foo=Dockerfile\n\nFROM base\nCOPY $foo .\n", &[]),
                ("\nFROM alpine\nRUN echo $PATH $foo\nCMD echo $foo\n", &[]),
                ("\nFROM alpine\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n", &[(3, FOO)]),
                (
                    "\nFROM alpine\nARG DIR_BINARIES=binaries/\nARG DIR_ASSETS=assets/\nCOPY $DIR_ASSET .\n",
                    &[(5, "Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)")],
                ),
                ("\nFROM alpine\nENV PATH=$PAHT:/tmp/bin\n", &[(3, "Usage of undefined variable '$PAHT' (did you mean $PATH?)")]),
                ("ARG foo=1\nFROM alpine\nCOPY $foo .\n", &[(3, FOO)]),
                ("ARG foo=1\nFROM alpine\nARG foo\nCOPY $foo .\n", &[]),
                ("FROM a\nENV foo=1 bar=$foo\n", &[(2, FOO)]),
                ("FROM a\nARG foo=1 bar=$foo\n", &[]),
                (
                    "FROM a\nLABEL a=$foo\nUSER $foo\nWORKDIR /$foo\nVOLUME $foo\nSTOPSIGNAL ${foo:-9}\n",
                    &[2, 3, 4, 5, 6].map(|line| (line, FOO)),
                ),
                ("FROM a\nRUN --mount=type=cache,target=/$foo true\n", &[(2, FOO)]),
                ("FROM a\nCOPY --chown=$foo a /b\nADD --chmod=$foo a /b\n", &[(2, FOO), (3, FOO)]),
                ("FROM a\nCOPY <<E /x\n  $foo\nE\nCOPY <<'E' /x\n$foo\nE\n", &[(3, FOO)]),
                ("FROM a\nEXPOSE $foo 80\nHEALTHCHECK CMD $foo\nSHELL [\"$foo\"]\n", &[]),
                ("FROM a\nARG X=$BUILDKIT_SBOM_SCAN_STAGE\n", &[]),
                ("FROM a\n# check=skip=UndefinedVar\nUSER $foo\n", &[]),
                ("FROM a AS b\nONBUILD USER $foo\nFROM b\nENV foo=1\n", &[(3, FOO)]),
            ],
        );
    }

    #[test]
    fn a_variable_whose_value_cannot_be_expanded_is_defined() {
        expect(RULE, &bare(), &[("FROM a\nENV bar=\nENV foo=${bar:?no}\nUSER $foo\n", &[])]);
    }

    #[test]
    fn stages_that_nobody_asks_for_are_left_out() {
        // From BuildKit's testAllTargetUnmarshal.
        let text = "\nFROM scratch AS first\nCOPY $foo .\n\nFROM scratch AS second\nCOPY $bar .\n";
        let bar = (6, "Usage of undefined variable '$bar'");
        expect(RULE, &bare(), &[(text, &[(3, FOO), bar])]);
        expect(RULE, &Given { stages: vec![1], ..bare() }, &[(text, &[bar])]);
    }

    #[test]
    fn base_images_and_build_arguments_define_variables() {
        let text = "FROM base AS a\nUSER $foo\nFROM a\nUSER $foo\n";
        expect(RULE, &bare(), &[(text, &[(2, FOO), (4, FOO)])]);
        expect(RULE, &Given { base: Some(vec!["foo=1"]), ..bare() }, &[(text, &[])]);
        expect(RULE, &Given { base: None, ..bare() }, &[(text, &[]), ("FROM scratch\nUSER $foo\n", &[(2, FOO)])]);
        let given = Given { args: vec![("a", "1")], ..bare() };
        expect(
            RULE,
            &given,
            &[("FROM base\nARG a=$foo\nUSER $a\n", &[]), ("FROM base\nUSER $a\n", &[(2, "Usage of undefined variable '$a'")])],
        );
    }

    #[test]
    fn the_label_is_the_variable() {
        for (text, expected) in [
            ("FROM a\nCOPY a$foobar/$foo /x\n", "$foobar"),
            ("FROM a\nARG foobar\nCOPY a$foobar/${foo} /x\n", "${foo}"),
            ("FROM a\nUSER \\\n  u:$foo\n", "$foo"),
            ("FROM a\nCOPY <<E /x\n\t${foo:-1}\nE\n", "${foo:-1}"),
            ("FROM a\nCOPY [\"$foo\", \"/x\"]\n", "\"$foo\""),
        ] {
            assert_eq!(label(RULE, text, &bare()), Some(expected), "{text}");
        }
    }
}
