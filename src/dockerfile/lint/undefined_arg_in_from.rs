//! UndefinedArgInFrom.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for (stage, from) in reading.file.stages.iter().zip(&reading.froms) {
        for undefined in [&from.image, &from.platform].into_iter().flatten().flat_map(|expanded| &expanded.undefined) {
            let hint = undefined.suggestion.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            warnings.about(&stage.statement, undefined.span, format!("FROM argument '{}' is not declared{hint}", undefined.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect, label};

    #[test]
    fn arguments_of_from_are_declared_before_the_first_one() {
        expect(
            "UndefinedArgInFrom",
            &bare(),
            &[
                ("\nARG base=scratch\nFROM $base\nCOPY Dockerfile .\n", &[]),
                ("\nARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM scratch\n", &[]),
                ("\nFROM --platform=$BUILDPLATFORM scratch\n", &[]),
                ("\nARG DEBUG\nFROM scratch${DEBUG}\n", &[]),
                ("\nARG DEBUG\nFROM scra${DEBUG:-tch}\n", &[]),
                ("\nARG DEBUG=\"\"\nFROM scratch${DEBUG-@bogus}\n", &[]),
                (
                    "\nFROM --platform=$BULIDPLATFORM scratch\n",
                    &[(2, "FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)")],
                ),
                (
                    "\nARG MY_OS=linux\nARG MY_ARCH\nFROM --platform=linux/${MYARCH} busybox\n",
                    &[(4, "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)")],
                ),
                ("\nARG tag=latest\nFROM busybox:${tag}${version} AS b\n", &[(3, "FROM argument 'version' is not declared")]),
                ("FROM a\nARG later\nFROM b$later\n", &[(3, "FROM argument 'later' is not declared")]),
                ("# a\n# check=skip=UndefinedArgInFrom\nFROM a$b\n", &[]),
            ],
        );
        assert_eq!(label("UndefinedArgInFrom", "FROM a${v}b${version:-x}c", &bare()), Some("${v}"));
        assert_eq!(label("UndefinedArgInFrom", "ARG v=1\nFROM a$v.${version:-x}", &bare()), Some("${version:-x}"));
    }
}
