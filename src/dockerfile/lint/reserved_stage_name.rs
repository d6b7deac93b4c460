//! ReservedStageName.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for name in reading.file.stages.iter().filter_map(|stage| stage.name.as_ref()) {
        let lower = name.text.to_ascii_lowercase();
        if matches!(lower.as_str(), "context" | "scratch") {
            warnings.about_file(name.span, format!("Stage name should not use the same name as reserved stage {lower:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn scratch_and_context_are_no_names_for_stages() {
        expect(
            "ReservedStageName",
            &bare(),
            &[
                (
                    "\nFROM scratch AS scratch\nFROM scratch AS Context\n",
                    &[
                        (2, "Stage name should not use the same name as reserved stage \"scratch\""),
                        (3, "Stage name should not use the same name as reserved stage \"context\""),
                    ],
                ),
                ("\nFROM scratch\nFROM scratch AS a\n", &[]),
            ],
        );
    }
}
