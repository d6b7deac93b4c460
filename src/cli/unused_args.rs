//! Build arguments of the command line that nothing reads: most often a name that is spelled otherwise in the Dockerfile.

use std::collections::{BTreeMap, BTreeSet};

use super::workspace::Workspace;
use crate::config::Finding;
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::oci::{ImageConfig, Platform, Reference};
use crate::plan::{PROXY_ARGS, platform_args};

/// A warning about those of `given` that no Dockerfile declares, nor a trigger of a base image. `base` is asked only where one may.
pub fn unused_args(
    given: &BTreeMap<String, String>,
    workspace: &Workspace,
    base: impl Fn(&Reference, &Platform) -> Option<ImageConfig>,
) -> Option<Finding> {
    let mut declared = BTreeSet::new();
    workspace.services.iter().for_each(|loaded| declare(&loaded.dockerfile.syntax, &mut declared));
    let mut unused: Vec<&str> = given.keys().map(String::as_str).filter(|name| !declared.contains(name) && !has_meaning(name)).collect();
    if !unused.is_empty() {
        let images = workspace.references().into_iter().filter_map(|(reference, platform)| base(&reference, &platform));
        let triggers: Vec<String> = images.flat_map(|image| image.config.on_build).collect();
        unused.retain(|name| !triggers.iter().any(|trigger| trigger.contains(name)));
    }
    let message = match unused[..] {
        [] => return None,
        [one] => format!("--build-arg {one} is not used: no Dockerfile that is read declares it with ARG"),
        _ => format!("--build-arg {} are not used: no Dockerfile that is read declares them with ARG", unused.join(", ")),
    };
    Some(Finding::warning("brik::build_arg::unused", message))
}

fn declare<'d>(file: &'d Dockerfile, declared: &mut BTreeSet<&'d str>) {
    declared.extend(file.meta_args.iter().flat_map(|meta| &meta.args).map(|arg| arg.name.text.as_str()));
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        let kind = match &instruction.kind {
            InstructionKind::Onbuild(onbuild) => onbuild.instruction.as_ref().ok().map(|instruction| &instruction.kind),
            kind => Some(kind),
        };
        if let Some(InstructionKind::Arg(args)) = kind {
            declared.extend(args.iter().map(|arg| arg.name.text.as_str()));
        }
    }
}

/// Whether the builder itself reads it, declared or not.
fn has_meaning(name: &str) -> bool {
    let host = Platform::host();
    let is_platform = platform_args(&host, &host, "", &BTreeMap::new()).iter().any(|(known, _)| known == name);
    is_platform || name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_") || PROXY_ARGS.contains(&name.to_ascii_lowercase().as_str())
}
