//! FromPlatformFlagConstDisallowed.

use super::reading::Reading;
use super::warning::Warnings;
use crate::oci::Platform;

/// A stage that is named after its system or processor is meant to be for that one.
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for (stage, from) in reading.file.stages.iter().zip(&reading.froms) {
        let (Some(word), Some(expanded)) = (&stage.platform, &from.platform) else { continue };
        if !expanded.matched.is_empty() || expanded.unmatched {
            continue;
        }
        // A platform that cannot be read fails the build.
        let Ok(platform) = expanded.text.parse::<Platform>() else { continue };
        let name = stage.name.as_ref().map(|name| name.text.to_ascii_lowercase()).unwrap_or_default();
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!("FROM --platform flag should not use constant value {:?}", expanded.text);
            warnings.about(&stage.statement, word.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect, label};

    #[test]
    fn constants_are_for_stages_that_say_so() {
        let rule = "FromPlatformFlagConstDisallowed";
        let message = "FROM --platform flag should not use constant value \"linux/amd64\"";
        expect(
            rule,
            &bare(),
            &[
                ("\nFROM --platform=linux/amd64 scratch\n", &[(2, message)]),
                ("\nFROM --platform=linux/amd64 scratch AS my_AMD64_stage\n", &[]),
                ("\nFROM --platform=linux/x86_64 scratch AS amd64\n", &[]),
                ("\nFROM --platform=linux/amd64 scratch AS linux\n", &[]),
                ("\nFROM --platform=linux/amd64 scratch AS arm64\n", &[(2, message)]),
                ("ARG P=linux/amd64\nFROM --platform=$P scratch\nFROM --platform=$BUILDPLATFORM scratch\n", &[]),
                ("# a\n# check=skip=FromPlatformFlagConstDisallowed\nFROM --platform=linux/amd64 scratch\n", &[]),
            ],
        );
        assert_eq!(label(rule, "FROM --platform=linux/amd64 scratch", &bare()), Some("linux/amd64"));
    }
}
