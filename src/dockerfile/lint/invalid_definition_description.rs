//! InvalidDefinitionDescription.

use super::super::ast::{InstructionKind, Statement};
use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let mut look = |instruction: &str, names: &[&str], statement: &Statement| {
        let (Some(comment), Some(first)) = (statement.comments.last(), names.first()) else { return };
        if !names.contains(&comment.text.split(' ').next().unwrap_or_default()) {
            let example = if names.len() > 1 { "<arg_key>" } else { first };
            let message = format!("Comment for {instruction} should follow the format: `# {example} <description>`");
            // BuildKit counts it to the line of the instruction.
            warnings.about(statement, statement.keyword.span, message);
        }
    };
    for meta in &reading.file.meta_args {
        let names: Vec<&str> = meta.args.iter().map(|arg| arg.name.text.as_str()).collect();
        look("ARG", &names, &meta.statement);
    }
    for stage in &reading.file.stages {
        if let Some(name) = &stage.name {
            look("FROM", &[&name.text.to_ascii_lowercase()], &stage.statement);
        }
        for instruction in &stage.instructions {
            if let InstructionKind::Arg(args) = &instruction.kind {
                let names: Vec<&str> = args.iter().map(|arg| arg.name.text.as_str()).collect();
                look("ARG", &names, &instruction.statement);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn comments_right_above_describe_what_they_name() {
        let good = "# check=skip=all;experimental=InvalidDefinitionDescription\n# foo this is the foo\nARG foo=bar\n\n# base this is the base image\nFROM scratch AS base\n\n# version this is the version number\nARG version=latest\n\n# baz this is the baz\nARG foo=baz bar=qux baz=quux\n#\nARG bit=bat\n\n# comment for something other than ARG or FROM\nCOPY Dockerfile .\n";
        let bad = "# check=experimental=InvalidDefinitionDescription\n# bar this is the bar\nARG foo=bar\n# BasE this is the BasE image\nFROM scratch AS base\n# definitely a bad comment\nARG version=latest\n# definitely a bad comment\nARG foo=baz bar=qux baz=quux\n";
        expect(
            "InvalidDefinitionDescription",
            &bare(),
            &[
                (good, &[]),
                (
                    bad,
                    &[
                        (3, "Comment for ARG should follow the format: `# foo <description>`"),
                        (5, "Comment for FROM should follow the format: `# base <description>`"),
                        (7, "Comment for ARG should follow the format: `# version <description>`"),
                        (9, "Comment for ARG should follow the format: `# <arg_key> <description>`"),
                    ],
                ),
                ("# any\nFROM scratch\n# any\n#\nARG a\n", &[]),
            ],
        );
    }
}
