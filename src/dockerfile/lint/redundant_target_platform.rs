//! RedundantTargetPlatform.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for (stage, from) in reading.file.stages.iter().zip(&reading.froms) {
        let (Some(word), Some(platform)) = (&stage.platform, &from.platform) else { continue };
        let only = platform.matched == ["TARGETPLATFORM"] && !platform.unmatched;
        if only && reading.target_platform.as_ref() == Some(&platform.text) {
            let message = format!("Setting platform to predefined {} in FROM is redundant as this is the default behavior", word.text);
            warnings.about(&stage.statement, word.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn the_default_need_not_be_written() {
        let message = |word: &str| format!("Setting platform to predefined {word} in FROM is redundant as this is the default behavior");
        expect(
            "RedundantTargetPlatform",
            &bare(),
            &[
                ("\nFROM --platform=$TARGETPLATFORM scratch\n", &[(2, &message("$TARGETPLATFORM"))]),
                ("\nFROM --platform=${TARGETPLATFORM} scratch\n", &[(2, &message("${TARGETPLATFORM}"))]),
                ("\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM scratch\n", &[]),
                ("FROM --platform=$BUILDPLATFORM scratch\n", &[]),
                ("FROM --platform=${TARGETPLATFORM}${X} scratch\n", &[]),
                ("FROM --platform=${TARGETPLATFORM%/*}/arm64 scratch\n", &[]),
                ("FROM scratch\n", &[]),
            ],
        );
    }
}
