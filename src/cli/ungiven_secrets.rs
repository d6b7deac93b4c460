//! Secrets that a RUN mounts and its service is not given, where that is a mistake: an id that is spelled otherwise in brik.toml, or one
//! without which the RUN fails. Any other RUN may do without, and many do.

use std::collections::BTreeSet;

use super::workspace::{Loaded, Workspace, printable, source_of, within};
use crate::config::{Finding, did_you_mean};
use crate::dockerfile::{InstructionKind, Mount, MountType};

/// Warnings, for what brik.toml does not say may be given with `--secret`.
pub fn ungiven_secrets(workspace: &Workspace) -> Vec<Finding> {
    workspace.services.iter().flat_map(|loaded| of_service(workspace, loaded)).collect()
}

fn of_service(workspace: &Workspace, loaded: &Loaded) -> Vec<Finding> {
    let (service, dockerfile) = (loaded.service, &loaded.dockerfile);
    let source = source_of(workspace.config, dockerfile);
    let needed: BTreeSet<_> = loaded.surveys.iter().flat_map(|(_, survey)| &survey.needed).collect();
    let mut findings = Vec::new();
    for instruction in needed.into_iter().flat_map(|stage| &dockerfile.syntax.stages[*stage].instructions) {
        let InstructionKind::Run(run) = &instruction.kind else { continue };
        for word in &run.mounts {
            // What has variables in it, a build says.
            let Ok(mount) = Mount::parse(&word.text, &mut |value| Ok(value.to_owned())) else { continue };
            let Some(id) = mount.source.or(mount.id).filter(|id| mount.kind == MountType::Secret && !id.contains('$')) else { continue };
            if service.secrets.iter().any(|secret| secret.id == id) {
                continue;
            }
            let near = did_you_mean(&id, service.secrets.iter().map(|secret| secret.id.as_str()));
            if near.is_none() && !mount.required {
                continue;
            }
            let message = format!("{} is given no secret {:?}", service.name, printable(&id));
            let help = near.unwrap_or_else(|| format!("list it in [services.{}], or give it with `--secret id={id}`", service.name));
            let finding = Finding::warning("brik::secret::not-given", message).help(printable(&help));
            findings.push(finding.at(within(&source, word.span.range())));
        }
    }
    findings
}
