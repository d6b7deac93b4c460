//! StageNameCasing.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for stage in &reading.file.stages {
        if let Some(name) = stage.name.as_ref().filter(|name| name.text.chars().any(|c| c.is_ascii_uppercase())) {
            warnings.about(&stage.statement, name.span, format!("Stage name '{}' should be lowercase", name.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn capitals_in_stage_names_are_told() {
        expect(
            "StageNameCasing",
            &bare(),
            &[
                ("\n# a stage\n#\nFROM scratch AS BadStageName\n", &[(4, "Stage name 'BadStageName' should be lowercase")]),
                ("FROM scratch AS base3\nFROM scratch", &[]),
                ("# a\n# check=skip=StageNameCasing\nFROM scratch AS Bad", &[]),
            ],
        );
    }
}
