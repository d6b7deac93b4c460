//! InvalidBaseImagePlatform.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for (index, (stage, from)) in reading.file.stages.iter().zip(&reading.froms).enumerate() {
        let Some(image) = from.image.as_ref().filter(|_| reading.surroundings.stages.contains(&index)) else { continue };
        for (expected, actual) in (reading.surroundings.strangers)(index) {
            let message =
                format!("Base image {} was pulled with platform \"{actual}\", expected \"{expected}\" for current build", image.text);
            warnings.about(&stage.statement, stage.from.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, expect, label};

    #[test]
    fn a_base_for_another_platform_is_told() {
        let message =
            |name: &str| format!("Base image {name} was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build");
        let given = Given { strangers: vec![1], ..Given::default() };
        let text = "ARG tag=1\nFROM a\nFROM b:$tag\n";
        expect(
            "InvalidBaseImagePlatform",
            &given,
            &[(text, &[(3, &message("b:1"))]), ("FROM a\n\n# check=skip=InvalidBaseImagePlatform\nFROM b\n", &[])],
        );
        assert_eq!(label("InvalidBaseImagePlatform", text, &given), Some("b:$tag"));
        let unread = Given { strangers: vec![1], stages: vec![0], ..Given::default() };
        expect("InvalidBaseImagePlatform", &unread, &[(text, &[])]);
    }
}
