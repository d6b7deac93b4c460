//! ExposeProtoCasing.

use super::reading::{Reading, Role};
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten() {
        for port in step.certain(Role::Port) {
            let text = &port.expanded.text;
            let last = text.rsplit(':').next().unwrap_or(text);
            let protocol = last.split_once('/').map_or("", |(_, protocol)| protocol);
            if protocol.contains(|c: char| c.is_ascii_uppercase()) {
                let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
                warnings.about(step.statement(), step.place(port.span), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect, label};

    #[test]
    fn protocols_are_lower_case() {
        let rule = "ExposeProtoCasing";
        let message = |port: &str| format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        expect(
            rule,
            &bare(),
            &[
                ("\nFROM scratch\nEXPOSE 80/TcP 8080/TCP 8080/udp\n", &[(3, &message("80/TcP")), (3, &message("8080/TCP"))]),
                ("FROM scratch\nARG P=\"80/UDP 81\"\nEXPOSE $P 90\n", &[(3, &message("80/UDP"))]),
                ("FROM scratch\n# check=skip=ExposeProtoCasing\nEXPOSE 80/TCP\n", &[]),
            ],
        );
        assert_eq!(label(rule, "FROM scratch\nEXPOSE 8080 80/Tcp\n", &bare()), Some("80/Tcp"));
    }
}
