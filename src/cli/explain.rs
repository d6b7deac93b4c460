//! `brik check --explain`: what a build check is about.

use std::process::ExitCode;

use super::failure::Failure;
use super::print;
use crate::config::did_you_mean;
use crate::dockerfile::lint::{RULES, Rule};

/// Prints the page of a rule; without a name, the rules.
pub fn run(name: &str) -> Result<ExitCode, Failure> {
    let text = match Rule::by_name(name) {
        Some(rule) => rule.page.to_owned() + &rule.url().map(|url| format!("\nBuildKit's page: {url}\n")).unwrap_or_default(),
        None if name.is_empty() => list(),
        None => {
            let hint = did_you_mean(name, RULES.iter().map(|rule| rule.name));
            let hint = hint.unwrap_or_else(|| "`brik check --explain` lists the rules".to_owned());
            return Err(Failure::usage(format!("there is no rule {name:?}; {hint}")));
        }
    };
    print::out(&text).map(|()| ExitCode::SUCCESS)
}

fn list() -> String {
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or_default();
    let line = |rule: &Rule| {
        let note = if rule.experimental { " (experimental: off by default)" } else { "" };
        format!("{:width$}  {}{note}\n", rule.name, rule.description)
    };
    RULES.iter().map(line).collect()
}
