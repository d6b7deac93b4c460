//! non-root: who the final image runs as.

use std::collections::BTreeMap;

use super::Subject;
use super::found::Found;
use super::subject::final_stages;
use crate::config::Policy;
use crate::dockerfile::ast::{Arg, KeyValue};
use crate::dockerfile::{InstructionKind, Span, Word};
use crate::oci::Platform;
use crate::plan::{BaseName, Dockerfile, NamedContexts, Survey};

/// Who an image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalUser {
    /// As USER has it; empty where nothing sets it; `None` where that is not known without asking a registry.
    pub name: Option<String>,
    /// The argument of the last USER, else the base of the final stage.
    pub span: Span,
    /// The image that sets it, where no USER of the Dockerfile does.
    pub base: Option<String>,
}

/// The final user as the Dockerfile says it. `base` tells whom an image or service runs as on a
/// platform (the target's own where none is named), if anybody knows.
pub fn final_user(
    dockerfile: &Dockerfile,
    survey: &Survey,
    contexts: &NamedContexts,
    args: &BTreeMap<String, String>,
    base: &dyn Fn(&str, Option<&Platform>) -> Option<String>,
) -> FinalUser {
    let (stages, below) = final_stages(dockerfile, survey, contexts);
    let mut variables = Variables { dockerfile, survey, args, values: BTreeMap::new() };
    let mut user = None;
    for instruction in stages.iter().flat_map(|stage| &dockerfile.syntax.stages[*stage].instructions) {
        match &instruction.kind {
            InstructionKind::Arg(args) => args.iter().for_each(|arg| variables.arg(arg)),
            InstructionKind::Env(pairs) => variables.env(pairs),
            InstructionKind::User(word) => user = Some((variables.expand(word), word.span)),
            _ => {}
        }
    }
    match (user, below) {
        (Some((name, span)), _) => FinalUser { name, span, base: None },
        (None, below) => {
            let lowest = stages.first().copied().unwrap_or(survey.target);
            let span = dockerfile.syntax.stages[lowest].from.span;
            match below {
                BaseName::Outside(name) => {
                    FinalUser { name: base(name, survey.stages[lowest].platform.as_ref()), span, base: Some(name.clone()) }
                }
                BaseName::Scratch | BaseName::Stage(_) => FinalUser { name: Some(String::new()), span, base: None },
            }
        }
    }
}

/// ARG and ENV as far as the Dockerfile sets them.
struct Variables<'a> {
    dockerfile: &'a Dockerfile,
    survey: &'a Survey,
    args: &'a BTreeMap<String, String>,
    values: BTreeMap<String, String>,
}

impl Variables<'_> {
    fn arg(&mut self, Arg { name, default }: &Arg) {
        let given = self.args.get(&name.text).cloned();
        let value = given.or_else(|| match default {
            Some(default) => self.expand(default),
            None => self.survey.global.get(&name.text).map(str::to_owned),
        });
        self.values.extend(value.map(|value| (name.text.clone(), value)));
    }

    fn env(&mut self, pairs: &[KeyValue]) {
        let set: Vec<(String, String)> =
            pairs.iter().filter_map(|pair| Some((self.expand(&pair.key)?, self.expand(&pair.value)?))).collect();
        self.values.extend(set);
    }

    /// Nothing where it names a variable that the base image may set.
    fn expand(&self, word: &Word) -> Option<String> {
        let expanded = self.dockerfile.expander().word(&word.text, &|name| self.values.get(name).cloned()).ok()?;
        expanded.unmatched.is_empty().then_some(expanded.text)
    }
}

const HELP: &str = "end the final stage with a USER that is not root, as in `USER 65532:65532`";

pub(super) fn non_root(_: &Policy, subject: &Subject, found: &mut Found) {
    let FinalUser { name, span, base } = &subject.user;
    let (at, service) = (subject.at(*span), &subject.service.name);
    match (name, base) {
        (Some(name), _) if !is_root(name) => {}
        (Some(_), Some(base)) => found.violation(at, format!("{service} runs as root: no USER is set, and {base} runs as root"), HELP),
        (Some(name), None) if name.is_empty() => found.violation(at, format!("{service} runs as root: no USER is set"), HELP),
        (Some(name), None) => found.violation(at, format!("{service} runs as root: its last USER is {name}"), HELP),
        (None, Some(base)) => {
            let message = format!("{service} may run as root: no USER is set, and nobody has seen yet whom {base} runs as");
            found.doubt(at, message, format!("{HELP}; before a push it is known"));
        }
        (None, None) => {
            let message = format!("{service} may run as root: its last USER hangs on a variable of the base image");
            found.doubt(at, message, "write a number or a name; before a push it is known");
        }
    }
}

/// Whether a USER, with or without a group, is root.
pub fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    name.is_empty() || name == "root" || name.parse::<u32>() == Ok(0)
}
