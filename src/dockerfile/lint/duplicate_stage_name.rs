//! DuplicateStageName.

use std::collections::BTreeSet;

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let mut seen = BTreeSet::new();
    for name in reading.file.stages.iter().filter_map(|stage| stage.name.as_ref()) {
        let lower = name.text.to_ascii_lowercase();
        let message = format!("Duplicate stage name {lower:?}, stage names should be unique");
        if !seen.insert(lower) {
            warnings.about_file(name.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn names_are_told_the_second_time() {
        let message = "Duplicate stage name \"b\", stage names should be unique";
        expect(
            "DuplicateStageName",
            &bare(),
            &[
                ("\nFROM scratch AS b\nFROM scratch AS b\n", &[(3, message)]),
                ("FROM scratch AS b\nFROM scratch AS B\nFROM scratch AS b\n", &[(2, message), (3, message)]),
                ("\nFROM scratch AS b1\nFROM scratch AS b2\nFROM scratch\nFROM scratch\n", &[]),
            ],
        );
    }
}
