//! Flags that are about one image alone, given where brik.toml says what is built: what to write in their place.

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flag, and the key of a service that says the same.
const KEYS: [(&str, &str); 5] =
    [("platform", "platforms"), ("target", "target"), ("dockerfile", "dockerfile"), ("context", "context"), ("cache_repo", "cache")];

/// What to write with a brik.toml, where only the name of an image is missing. `matches`: what else the command line says.
pub fn hint(error: &clap::Error, matches: &ArgMatches) -> Option<String> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::MissingRequiredArgument || !missing.iter().any(|name| name.contains("--image")) {
        return None;
    }
    let (_, matches) = matches.subcommand()?;
    let services = words(matches, "services");
    let named = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let mut services: Vec<&str> = services.iter().map(String::as_str).filter(named).collect();
    if services.is_empty() {
        services.push("SERVICE");
    }
    let given = KEYS.iter().map(|(flag, key)| (key, words(matches, flag))).filter(|(_, values)| !values.is_empty());
    let settings = given.flat_map(|(key, values)| {
        let value = values.join(",");
        services.iter().map(move |service| format!("--set services.{service}.{key}={value}")).collect::<Vec<_>>()
    });
    let settings: Vec<String> = settings.collect();
    (!settings.is_empty()).then(|| format!("with a brik.toml it is {}", settings.join(" ")))
}

/// What an argument was given, as it was written; nothing for one that the command has not.
fn words(matches: &ArgMatches, name: &str) -> Vec<String> {
    let raw = matches.try_get_raw(name).ok().flatten().into_iter().flatten();
    raw.map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Cli;

    fn hinted(line: &[&str]) -> Option<String> {
        let error = Cli::try_parse_from(line).unwrap_err();
        hint(&error, &Cli::command().ignore_errors(true).try_get_matches_from(line).unwrap())
    }

    #[test]
    fn a_flag_of_one_image_is_a_key_of_each_service_that_is_named() {
        for (line, expected) in [
            (&["brik", "build", "docs", "--platform", "linux/arm64"][..], "--set services.docs.platforms=linux/arm64"),
            (&["brik", "plan", "--platform=linux/arm64,linux/amd64"], "--set services.SERVICE.platforms=linux/arm64,linux/amd64"),
            (&["brik", "why", "a", "b", "./c", "--target", "t"], "--set services.a.target=t --set services.b.target=t"),
            (&["brik", "build", "-f", "x", "a"], "--set services.a.dockerfile=x"),
        ] {
            assert_eq!(hinted(line), Some(format!("with a brik.toml it is {expected}")), "{line:?}");
        }
        for other in [&["brik", "build", "--build-context", "a=b"][..], &["brik", "build", "--nope"], &["brik", "tags", "--image"]] {
            assert_eq!(hinted(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_flags_are_those_that_want_an_image() {
        for (flag, _) in KEYS {
            let flag = format!("--{}=x", flag.replace('_', "-"));
            assert!(hinted(&["brik", "build", "a", &flag]).is_some(), "{flag}");
        }
    }
}
