//! CopyIgnoredFile.

use super::super::ast::InstructionKind;
use super::reading::{Reading, Role};
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for step in reading.stages.iter().flatten() {
        let command = match &step.instruction.kind {
            InstructionKind::Copy(copy) if copy.from.is_none() => "Copy",
            InstructionKind::Add(_) => "Add",
            _ => continue,
        };
        for source in step.certain(Role::Source).filter(|source| !is_remote(&source.expanded.text)) {
            let path = clean(&source.expanded.text);
            if (reading.surroundings.ignored)(&path) {
                let message = format!("Attempting to {command} file {path:?} that is excluded by .dockerignore");
                warnings.about(step.statement(), step.place(source.span), message);
            }
        }
    }
}

/// URLs and git repositories.
fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    let joined = root.to_owned() + &parts.join("/");
    if joined.is_empty() { ".".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect, label};

    #[test]
    fn sources_that_the_ignore_file_takes_away_are_told() {
        let message = |command: &str, path: &str| format!("Attempting to {command} file {path:?} that is excluded by .dockerignore");
        let given = Given { ignored: vec!["Dockerfile", "."], ..bare() };
        let rule = "CopyIgnoredFile";
        expect(
            rule,
            &given,
            &[
                (
                    "\nFROM scratch\nCOPY Dockerfile .\nADD Dockerfile /windy\n",
                    &[(3, &message("Copy", "Dockerfile")), (4, &message("Add", "Dockerfile"))],
                ),
                ("FROM scratch\nCOPY ./a/../Dockerfile other .\n", &[(2, &message("Copy", "Dockerfile"))]),
                ("FROM scratch\nENV F=file\nCOPY Docker$F .\n", &[(3, &message("Copy", "Dockerfile"))]),
                ("FROM scratch\nCOPY ./ /\n", &[(2, &message("Copy", "."))]),
                ("FROM scratch AS base\nFROM base\nCOPY --from=base Dockerfile /x\nADD https://host/Dockerfile /y\n", &[]),
                ("# check=skip=Other\nFROM scratch\n# check=skip=CopyIgnoredFile\nCOPY Dockerfile .\n", &[]),
            ],
        );
        expect(rule, &Given { base: None, ..given }, &[("FROM base\nCOPY Dockerfile$X .\n", &[])]);
        let given = Given { ignored: vec!["b"], ..bare() };
        assert_eq!(label(rule, "FROM scratch\nCOPY a \\\n  ./b /\n", &given), Some("./b"));
    }
}
