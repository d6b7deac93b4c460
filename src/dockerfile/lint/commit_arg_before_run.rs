//! CommitArgBeforeRun.

use super::super::ast::InstructionKind;
use super::reading::Reading;
use super::warning::Warnings;

/// ARGs that brik fills from git, and what changes them.
const FILLED: [(&str, &str); 3] =
    [("VCS_REF", "each commit changes it"), ("BUILD_DATE", "each commit changes it"), ("IMAGE_SOURCE", "each fork and mirror changes it")];

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for steps in &reading.stages {
        let Some(last_run) = steps.iter().rposition(|step| matches!(step.instruction.kind, InstructionKind::Run(_))) else { continue };
        for step in &steps[..last_run] {
            let InstructionKind::Arg(args) = &step.instruction.kind else { continue };
            for name in args.iter().map(|arg| &arg.name) {
                let filled = FILLED.iter().find(|(known, _)| *known == name.text && !reading.surroundings.args.contains_key(*known));
                let Some((known, what)) = filled else { continue };
                let message = format!("ARG {known} stands before a RUN, which then runs again: {what}");
                warnings.about(step.statement(), step.place(name.span), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Given, bare, expect, label};

    const RULE: &str = "CommitArgBeforeRun";
    const REF: &str = "ARG VCS_REF stands before a RUN, which then runs again: each commit changes it";
    const SOURCE: &str = "ARG IMAGE_SOURCE stands before a RUN, which then runs again: each fork and mirror changes it";

    #[test]
    fn an_arg_of_git_stands_below_the_last_run() {
        expect(
            RULE,
            &bare(),
            &[
                ("FROM a\nARG VCS_REF\nRUN b\n", &[(2, REF)]),
                ("FROM a\nARG A=1 VCS_REF=none IMAGE_SOURCE\nCOPY a b\nRUN b\n", &[(2, REF), (2, SOURCE)]),
                ("FROM a\nRUN b\nARG VCS_REF BUILD_DATE IMAGE_SOURCE\nLABEL a=$VCS_REF\n", &[]),
                ("ARG VCS_REF\nFROM a\nRUN b\n", &[]),
                ("FROM a AS b\nARG VCS_REF\nFROM a\nRUN b\n", &[]),
                ("FROM a\n# check=skip=CommitArgBeforeRun\nARG VCS_REF\nRUN b\n", &[]),
            ],
        );
        assert_eq!(label(RULE, "FROM a\nARG A VCS_REF=1\nRUN b\n", &bare()), Some("VCS_REF"));
    }

    #[test]
    fn an_arg_that_is_given_is_the_users_own() {
        let given = Given { args: vec![("VCS_REF", "1")], ..bare() };
        expect(RULE, &given, &[("FROM a\nARG VCS_REF\nRUN b\n", &[])]);
    }
}
