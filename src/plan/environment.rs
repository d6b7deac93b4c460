//! Variables in force while a Dockerfile is read: global ARGs, and within a stage ENV and ARG together, as BuildKit keeps them.

use std::collections::{BTreeMap, HashMap};

use crate::oci::Platform;

/// PATH where the base image sets none (BuildKit `system.DefaultPathEnvUnix`).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Predefined ARGs that RUN sees without a declaration and that are no part of any key.
pub const PROXY_ARGS: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// ARGs that say something about the build and never are variables of RUN.
pub const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Names and values; setting a name moves it to the end, as BuildKit's `EnvList` does. A Dockerfile may set a name on every line.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// By place: each name stands once.
    entries: BTreeMap<usize, (String, String)>,
    places: HashMap<String, usize>,
}

impl Environment {
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        self.entries.get(place).map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        let end = self.entries.last_key_value().map_or(0, |(place, _)| place + 1);
        if let Some(before) = self.places.insert(name.to_owned(), end) {
            self.entries.remove(&before);
        }
        self.entries.insert(end, (name.to_owned(), value.to_owned()));
    }

    pub fn unset(&mut self, name: &str) {
        if let Some(place) = self.places.remove(name) {
            self.entries.remove(&place);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.entries.values()
    }
}

/// The ARGs that are there before the first line: the platforms, and the name of the target stage.
pub fn platform_args(target: &Platform, build: &Platform, stage: &str, build_args: &BTreeMap<String, String>) -> Environment {
    let mut args = Environment::default();
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        args.set(&format!("{prefix}PLATFORM"), &platform.to_string());
        args.set(&format!("{prefix}OS"), &platform.os);
        args.set(&format!("{prefix}OSVERSION"), "");
        args.set(&format!("{prefix}ARCH"), &platform.architecture);
        args.set(&format!("{prefix}VARIANT"), platform.variant.as_deref().unwrap_or(""));
    }
    args.set("TARGETSTAGE", if stage.is_empty() { "default" } else { stage });
    let given: Vec<_> = args.iter().filter_map(|(name, _)| build_args.get(name).map(|value| (name.clone(), value.clone()))).collect();
    given.iter().for_each(|(name, value)| args.set(name, value));
    args
}

/// The proxy variables among the build arguments, in lower and upper case.
pub fn proxy_env(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for name in PROXY_ARGS {
        // Lower case wins, also where it is empty.
        let given = build_args.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            env.push((name.to_ascii_uppercase(), value.clone()));
            env.push((name.to_owned(), value.clone()));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_moves_to_the_end() {
        let mut env = Environment::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            env.set(name, value);
        }
        assert_eq!(env.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>(), ["B=2", "A=3"]);
    }

    #[test]
    fn a_proxy_in_lower_case_wins_also_where_it_is_empty() {
        let env = |args: &[(&str, &str)]| proxy_env(&args.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect());
        let both = env(&[("HTTP_PROXY", "upper"), ("http_proxy", "lower"), ("NO_PROXY", "no")]);
        let pairs = [("HTTP_PROXY", "lower"), ("http_proxy", "lower"), ("NO_PROXY", "no"), ("no_proxy", "no")];
        assert_eq!(both, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(env(&[("HTTP_PROXY", "upper"), ("http_proxy", "")]), []);
    }

    #[test]
    fn platform_args_may_be_overridden() {
        let amd64 = "linux/amd64".parse().unwrap();
        let args = platform_args(&"linux/arm/v7".parse().unwrap(), &amd64, "", &BTreeMap::from([("TARGETARCH".into(), "x".into())]));
        assert_eq!(args.get("TARGETPLATFORM"), Some("linux/arm/v7"));
        assert_eq!(args.get("TARGETVARIANT"), Some("v7"));
        assert_eq!(args.get("TARGETARCH"), Some("x"));
        assert_eq!(args.get("BUILDARCH"), Some("amd64"));
        assert_eq!(args.get("TARGETSTAGE"), Some("default"));
    }
}
