//! base-registries and pinned-bases: the images that a Dockerfile takes from registries, in FROM, `--from` and mounts.

use super::Subject;
use super::found::Found;
use crate::config::Policy;
use crate::oci::Reference;

pub(super) fn registries(policy: &Policy, subject: &Subject, found: &mut Found) {
    for base in subject.bases.iter().filter(|base| !policy.base_registries.iter().any(|prefix| lies_below(&base.reference, prefix))) {
        let message = format!("the base {} is from no registry that the policy allows", base.reference);
        let help = format!("take one from below {}", policy.base_registries.join(", "));
        found.violation(subject.at(base.span), message, help);
    }
}

pub(super) fn pinned(_: &Policy, subject: &Subject, found: &mut Found) {
    for base in subject.bases.iter().filter(|base| base.reference.digest.is_none() && !base.locked) {
        let message = format!("the base {} is not pinned", base.reference);
        found.violation(subject.at(base.span), message, "`brik lock` pins it in brik.lock; or name it by its digest");
    }
}

fn lies_below(reference: &Reference, prefix: &str) -> bool {
    reference.name().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_slashes() {
        for (name, prefix, below) in [
            ("debian:12", "docker.io/library", true),
            ("debian:12", "docker.io", true),
            ("debian:12", "docker.io/library/debian", true),
            ("debian:12", "docker.io/lib", false),
            ("ghcr.io/org/base", "ghcr.io/org", true),
            ("ghcr.io/organ/base", "ghcr.io/org", false),
            ("ghcr.io.example.com/org/base", "ghcr.io", false),
        ] {
            assert_eq!(lies_below(&name.parse().unwrap(), prefix), below, "{name} {prefix}");
        }
    }
}
