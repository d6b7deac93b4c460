//! `brik update [BASE…]`: pins bases to what their tags lead to now.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::args::{Format, Global};
use super::failure::Failure;
use super::relock;
use crate::config::did_you_mean;
use crate::oci::Reference;

pub fn run(global: &Global, names: &[String], format: Format) -> Result<ExitCode, Failure> {
    relock::run(global, format, |bases| {
        let used: Vec<&Reference> = bases.keys().collect();
        match names {
            [] => Ok(used.into_iter().cloned().collect()),
            names => {
                names.iter().map(|name| named(name, &used)).collect::<Result<Vec<_>, _>>().map(|found| found.concat().into_iter().collect())
            }
        }
    })
}

/// The bases that a name means: all tags of a repository where it has none.
fn named(name: &str, used: &[&Reference]) -> Result<Vec<Reference>, Failure> {
    let means = |base: &&&Reference| match name.parse::<Reference>() {
        Ok(asked) if asked.tag.is_none() && asked.digest.is_none() => base.same_repository(&asked),
        Ok(asked) => asked.tagged().as_ref() == Some(**base),
        Err(_) => false,
    };
    let found: Vec<Reference> = used.iter().filter(means).map(|base| (*base).clone()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known: BTreeSet<String> =
        used.iter().flat_map(|base| [base.to_string(), base.name(), short(&base.to_string()), short(&base.name())]).collect();
    let hint = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| match used {
        [] => "there is none".to_owned(),
        used => format!("the bases are: {}", used.iter().map(|base| short(&base.to_string())).collect::<Vec<_>>().join(", ")),
    });
    Err(Failure::usage(format!("no Dockerfile names the base {name:?} by a tag; {hint}")))
}

/// Without what docker adds to names: `alpine:3.20`.
fn short(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_what_a_dockerfile_would_mean_by_it_or_all_tags_of_a_repository() {
        let bases = ["docker.io/library/alpine:3.19", "docker.io/library/alpine:3.20", "ghcr.io/org/tool:latest"];
        let bases = bases.map(|text| text.parse::<Reference>().unwrap());
        let used: Vec<&Reference> = bases.iter().collect();
        for (name, means) in [
            ("alpine", Some(&bases[..2])),
            ("alpine:3.20", Some(&bases[1..2])),
            ("docker.io/library/alpine:3.20", Some(&bases[1..2])),
            ("ghcr.io/org/tool", Some(&bases[2..])),
            ("ghcr.io/org/tool:latest", Some(&bases[2..])),
            ("alpine:3", None),
            ("tool", None),
            ("no name", None),
            (&format!("alpine@{}", crate::oci::Digest::of(b"")), None),
        ] {
            assert_eq!(named(name, &used).ok().as_deref(), means, "{name}");
        }
    }
}
