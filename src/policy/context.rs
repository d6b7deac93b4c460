//! narrow-context: a context as narrow as practical.

use super::Subject;
use super::found::Found;
use crate::config::Policy;

pub(super) fn narrow(_: &Policy, subject: &Subject, found: &mut Found) {
    let Some((first, others)) = subject.holds.split_first() else { return };
    let name = &subject.service.name;
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let message = format!("the context of {name} is wide: it holds the directory of the service {first}{more}");
    let help = "set `context` to the service's own directory, or leave the others out in .dockerignore";
    found.violation(subject.service.location.clone(), message, help);
}
