//! multi-stage: what builds an image does not stay in it.

use super::Subject;
use super::found::Found;
use crate::config::Policy;
use crate::plan::EdgeReason;

/// An image or service that the final stage copies or mounts from is as good as a stage.
pub(super) fn multi_stage(_: &Policy, subject: &Subject, found: &mut Found) {
    let beside = subject.survey.outside.iter().any(|outside| outside.reason != EdgeReason::From);
    if subject.dockerfile.syntax.stages.len() < 2 && !beside {
        let message = format!("{} has a single stage", subject.source.name);
        let help = "build in a stage of its own, and take the result with COPY --from into a small final one";
        found.violation(subject.at(subject.final_from()), message, help);
    }
}
