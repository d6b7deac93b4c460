//! required-labels: of brik.toml, of LABEL in the stages that make the image, and of git. Those of a base describe the base.

use std::collections::BTreeSet;

use super::Subject;
use super::found::Found;
use crate::config::Policy;
use crate::dockerfile::InstructionKind;

pub(super) fn required(policy: &Policy, subject: &Subject, found: &mut Found) {
    let mut there: BTreeSet<String> = subject.service.labels.keys().chain(&subject.standard_labels).cloned().collect();
    for instruction in subject.final_instructions() {
        if let InstructionKind::Label(pairs) = &instruction.kind {
            let expander = subject.dockerfile.expander();
            there.extend(pairs.iter().filter_map(|pair| Some(expander.word(&pair.key.text, &|_| None).ok()?.text)));
        }
    }
    for label in policy.required_labels.iter().filter(|label| !there.contains(*label)) {
        let message = format!("{} lacks the label {label}", subject.service.name);
        let help = format!("add `LABEL {label}=…` to the final stage, or {label:?} to [labels] in brik.toml");
        found.violation(subject.at(subject.final_from()), message, help);
    }
}
