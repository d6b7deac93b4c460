//! The directory that brik was started in: brik.toml and git.

use std::path::Path;

use super::check::Check;
use crate::cli::surroundings::Surroundings;
use crate::config::{Config, Findings};
use crate::source::{Checkout, GitFacts, Head};

pub fn checks(around: &Surroundings, loaded: &Result<Option<Config>, Findings>) -> Vec<Check> {
    let has_config = !matches!(loaded, Ok(None));
    let checkout = Checkout::find(&around.cwd);
    let known = GitFacts::read(&around.cwd, &around.env).sha.is_some();
    let mut checks = vec![config(&around.cwd, loaded), git(checkout.as_ref(), known, has_config)];
    checks.extend(checkout.filter(|checkout| !checkout.trusted).map(|checkout| owner(&checkout)));
    let path = around.env.get("PATH").map(String::as_str).unwrap_or_default();
    if !std::env::split_paths(path).any(|directory| directory.join("git").is_file()) {
        checks.push(
            Check::warning("git program", "is not installed: contexts in git repositories cannot be fetched")
                .fix("sudo apt-get install git"),
        );
    }
    checks
}

fn config(cwd: &Path, loaded: &Result<Option<Config>, Findings>) -> Check {
    const NAME: &str = "brik.toml";
    match loaded {
        Ok(Some(config)) => {
            let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            let found = format!("{}: {}", config.file.display(), count(config.services.len(), "service"));
            match config.warnings.len() {
                0 => Check::ok(NAME, found),
                warnings => Check::warning(NAME, format!("{found}, {}", count(warnings, "warning"))).fix("brik check"),
            }
        }
        Ok(None) => Check::ok(NAME, format!("none in {} or above: single images can be built (brik build --image)", cwd.display())),
        Err(findings) => Check::failed(NAME, findings.to_string()).fix("brik check"),
    }
}

/// `known`: the commit is, if only from variables of CI.
fn git(checkout: Option<&Checkout>, known: bool, has_config: bool) -> Check {
    const NAME: &str = "git";
    const COMMIT: &str = "git add --all && git commit -m 'first commit'";
    // Without a brik.toml nobody asks for a commit.
    let lacking = |found: String| if has_config { Check::warning(NAME, found) } else { Check::ok(NAME, found) };
    let without = "{sha} and {branch} of tags have no value";
    let Some(Checkout { top, head, shallow, .. }) = checkout else {
        return match known {
            true => Check::ok(NAME, "no repository here; the commit is known from variables of CI"),
            false => lacking(format!("no repository here: {without}")).fix(format!("git init && {COMMIT}")),
        };
    };
    let shown = top.display();
    match head {
        None => lacking(format!("the repository of {shown} cannot be read: {without}")).fix("git status"),
        Some(Head::Unborn) => lacking(format!("{shown} has no commit yet: {without}")).fix(COMMIT),
        Some(_) if *shallow => Check::warning(NAME, format!("{shown} is a shallow clone: --since may not find where branches part"))
            .fix("git fetch --unshallow"),
        Some(Head::Detached) => Check::ok(NAME, format!("{shown}, with a detached HEAD: {{branch}} has a value in CI only")),
        Some(Head::Branch) => Check::ok(NAME, shown.to_string()),
    }
}

/// brik reads the repositories of others; git itself does not.
fn owner(checkout: &Checkout) -> Check {
    let top = checkout.top.display();
    let found = format!("{top} belongs to uid {}: brik reads it, the program git refuses to", checkout.owner);
    Check::warning("git owner", found).fix(format!("git config --global --add safe.directory {top}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Status;

    #[test]
    fn a_checkout_is_judged_by_what_tags_and_since_need() {
        let checkout = |head, shallow| Checkout { top: "/work".into(), head, owner: 0, trusted: true, shallow };
        for (checkout, has_config, status, fix) in [
            (None, true, Status::Warning, "git init"),
            (None, false, Status::Ok, "git init"),
            (Some(checkout(None, false)), true, Status::Warning, "git status"),
            (Some(checkout(Some(Head::Unborn), false)), true, Status::Warning, "git commit"),
            (Some(checkout(Some(Head::Detached), false)), true, Status::Ok, ""),
            (Some(checkout(Some(Head::Detached), true)), true, Status::Warning, "--unshallow"),
            (Some(checkout(Some(Head::Branch), false)), true, Status::Ok, ""),
        ] {
            let check = git(checkout.as_ref(), false, has_config);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.fix.unwrap_or_default().contains(fix));
        }
    }
}
