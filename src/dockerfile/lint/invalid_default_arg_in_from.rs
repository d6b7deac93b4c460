//! InvalidDefaultArgInFrom.

use super::reading::Reading;
use super::warning::Warnings;
use crate::oci::Reference;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for (stage, from) in reading.file.stages.iter().zip(&reading.froms) {
        let Some(image) = &from.default_image else { return };
        if image.parse::<Reference>().is_err() {
            let message = format!("Default value for ARG {} results in empty or invalid base image name", stage.from.text);
            warnings.about_file(stage.from.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect};

    #[test]
    fn defaults_alone_make_a_valid_name() {
        let message = |name: &str| format!("Default value for ARG {name} results in empty or invalid base image name");
        let args = vec![("VERSION", "latest"), ("IMAGE", "busybox:latest"), ("SFX", "box:latest"), ("VARIANT", "-musl")];
        expect(
            "InvalidDefaultArgInFrom",
            &Given { args, ..bare() },
            &[
                ("\nARG VERSION\nFROM busybox:$VERSION\n", &[(3, &message("busybox:$VERSION"))]),
                ("\nARG IMAGE\nFROM $IMAGE\n", &[(3, &message("$IMAGE"))]),
                ("\nARG SFX=\"box:\"\nFROM busy${SFX}\n", &[(3, &message("busy${SFX}"))]),
                ("\nARG VERSION=\"latest\"\nFROM busybox:${VERSION}\n", &[]),
                ("\nARG VARIANT=\"\"\nFROM busybox:stable${VARIANT}\n", &[]),
                ("\nARG VARIANT\nFROM busybox:stable${VARIANT}\n", &[]),
                ("ARG VERSION\nFROM busybox:${VERSION:-1}\n", &[]),
                ("FROM scratch AS a\nFROM a\n", &[]),
            ],
        );
    }
}
