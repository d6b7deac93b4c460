//! ExposeInvalidFormat.

use super::reading::{Reading, Role};
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten() {
        for port in step.certain(Role::Port) {
            // `[[address:]host:]port`: `:80` and `::80` have colons and nothing before them.
            if port.expanded.text.rsplitn(3, ':').skip(1).any(|part| !part.is_empty()) {
                let message =
                    format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{}'", port.expanded.text);
                warnings.about(step.statement(), step.place(port.span), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn ports_are_those_of_the_container_alone() {
        let message = |port: &str| format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
        expect(
            "ExposeInvalidFormat",
            &bare(),
            &[
                (
                    "\nFROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000\n",
                    &[(3, &message("127.0.0.1:80:80")), (3, &message("[::1]:8080:8080")), (3, &message("5000:5000"))],
                ),
                ("FROM scratch\nEXPOSE 80 81-82/udp :83 ::84\n", &[]),
            ],
        );
    }
}
