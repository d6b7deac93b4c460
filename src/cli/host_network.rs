//! RUNs that ask for the host's network where brik.toml keeps them off it: planning refuses them, and asks nobody to know it.

use std::collections::BTreeSet;

use super::workspace::{Loaded, Workspace, plan_finding};
use crate::config::{Finding, Network};
use crate::dockerfile::{InstructionKind, ast};
use crate::plan::ErrorKind;

/// What planning would refuse, on the bytes of the RUN.
pub fn host_networks(workspace: &Workspace) -> Vec<Finding> {
    match workspace.config.build.network {
        Network::Host => Vec::new(),
        network => workspace.services.iter().flat_map(|loaded| of_service(workspace, loaded, network)).collect(),
    }
}

fn of_service(workspace: &Workspace, loaded: &Loaded, network: Network) -> Vec<Finding> {
    let dockerfile = &loaded.dockerfile;
    let needed: BTreeSet<_> = loaded.surveys.iter().flat_map(|(_, survey)| &survey.needed).collect();
    let instructions = needed.into_iter().flat_map(|stage| &dockerfile.syntax.stages[*stage].instructions);
    let asking = instructions.filter(|instruction| match &instruction.kind {
        InstructionKind::Run(run) => run.network == ast::Network::Host,
        _ => false,
    });
    let error = |span| dockerfile.error(span, ErrorKind::HostNetwork { network });
    asking.map(|instruction| plan_finding(workspace.config, dockerfile, &error(instruction.statement.span))).collect()
}
