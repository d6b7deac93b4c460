//! no-secrets: names of ARG and ENV in the stages that are built, by the words that BuildKit's check goes by. No comment silences it.

use super::Subject;
use super::found::Found;
use crate::config::Policy;
use crate::dockerfile::lint::is_secret;
use crate::dockerfile::{InstructionKind, Word};

const HELP: &str = "whoever can pull the image can read it: use RUN --mount=type=secret, and `secrets` in brik.toml";

pub(super) fn no_secrets(_: &Policy, subject: &Subject, found: &mut Found) {
    let syntax = &subject.dockerfile.syntax;
    let mut name = |instruction: &str, word: &Word| {
        if is_secret(&word.text) {
            found.violation(subject.at(word.span), format!("{instruction} {} is named like a secret", word.text), HELP);
        }
    };
    syntax.meta_args.iter().flat_map(|meta| &meta.args).for_each(|arg| name("ARG", &arg.name));
    let built = subject.survey.needed.iter().filter(|stage| !subject.dockerfile.is_replaced(**stage, subject.contexts));
    for instruction in built.flat_map(|stage| &syntax.stages[*stage].instructions) {
        match &instruction.kind {
            InstructionKind::Arg(args) => args.iter().for_each(|arg| name("ARG", &arg.name)),
            InstructionKind::Env(pairs) => pairs.iter().for_each(|pair| name("ENV", &pair.key)),
            _ => {}
        }
    }
}
