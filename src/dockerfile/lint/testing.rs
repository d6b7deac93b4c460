//! Fixtures for the tests of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::parse;
use super::{CheckOptions, Surroundings, Warning, lint};
use crate::oci::{ImageConfig, Platform};

/// Surroundings that a test can write down.
#[derive(Default)]
pub(super) struct Given {
    pub args: Vec<(&'static str, &'static str)>,
    /// ENV of every base image; `None` where base images are not known.
    pub base: Option<Vec<&'static str>>,
    /// Triggers of every base image.
    pub on_build: Vec<&'static str>,
    /// Stages whose base is for linux/arm64.
    pub strangers: Vec<usize>,
    /// Sources that the ignore file leaves nothing of.
    pub ignored: Vec<&'static str>,
    /// All, if there are none.
    pub stages: Vec<usize>,
}

/// Base images that set no variable, and nothing else.
pub(super) fn bare() -> Given {
    Given { base: Some(Vec::new()), ..Given::default() }
}

pub(super) fn warn_with(text: &str, given: &Given, build_arg: Option<&str>) -> Vec<Warning> {
    let file = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let [amd64, arm64]: [Platform; 2] = ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().unwrap());
    let base = |_: usize| {
        let mut config = ImageConfig::scratch(&amd64);
        config.config.env = given.base.as_ref()?.iter().map(|entry| (*entry).to_owned()).collect();
        config.config.on_build = given.on_build.iter().map(|trigger| (*trigger).to_owned()).collect();
        Some(Arc::new(config))
    };
    let args: BTreeMap<String, String> = given.args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let stages: BTreeSet<usize> =
        if given.stages.is_empty() { (0..file.stages.len()).collect() } else { given.stages.iter().copied().collect() };
    let platforms = [("BUILDPLATFORM", "linux/amd64"), ("TARGETPLATFORM", "linux/amd64")];
    let surroundings = Surroundings {
        args: &args,
        predefined: platforms.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        stages,
        base: &base,
        strangers: &|stage| given.strangers.iter().filter(|at| **at == stage).map(|_| (amd64.clone(), arm64.clone())).collect(),
        ignored: &|source| given.ignored.contains(&source),
    };
    lint(&file, &surroundings, &CheckOptions::of(&file, build_arg).unwrap())
}

/// Line and message of what a rule says; experimental or not.
pub(super) fn found_with(rule: &str, text: &str, given: &Given) -> Vec<(usize, String)> {
    let warnings = warn_with(text, given, Some("experimental=all"));
    let own = warnings.into_iter().filter(|warning| warning.rule.name == rule);
    own.map(|warning| (text[..warning.span.start].matches('\n').count() + 1, warning.message)).collect()
}

/// Expects these lines and messages of a rule for each file; and nothing of it with `# check=skip=`.
#[track_caller]
pub(super) fn expect(rule: &str, given: &Given, cases: &[(&str, &[(usize, &str)])]) {
    for (text, expected) in cases {
        let found = found_with(rule, text, given);
        let found: Vec<(usize, &str)> = found.iter().map(|(line, message)| (*line, message.as_str())).collect();
        assert_eq!(found, *expected, "{text}");
    }
}

/// The bytes that the first warning of a rule is about.
pub(super) fn label<'t>(rule: &str, text: &'t str, given: &Given) -> Option<&'t str> {
    let warnings = warn_with(text, given, Some("experimental=all"));
    warnings.iter().find(|warning| warning.rule.name == rule).map(|warning| &text[warning.span.range()])
}
