//! What a service needs of another one for a platform that this is not built for: planning refuses it, and asks nobody to know it.

use std::collections::BTreeMap;

use super::workspace::{Loaded, Workspace, dependency, plan_finding};
use crate::config::Finding;
use crate::dockerfile::Span;
use crate::oci::Platform;
use crate::plan::ErrorKind;

/// What planning would refuse, on the bytes that name the other service.
pub fn unbuilt(workspace: &Workspace) -> Vec<Finding> {
    workspace.services.iter().flat_map(|loaded| of_service(workspace, loaded)).collect()
}

/// Each place once. `FROM --platform` asks for its own platform, all else for that of the image.
fn of_service(workspace: &Workspace, loaded: &Loaded) -> Vec<Finding> {
    let built = |service: &str| workspace.config.services.get(service).map_or(&[][..], |service| &service.platforms);
    let mut missing: BTreeMap<(Span, &str, &str), Vec<Platform>> = BTreeMap::new();
    for (platform, survey) in &loaded.surveys {
        for outside in &survey.outside {
            let asked = outside.platform.as_ref().unwrap_or(platform);
            let Some((service, _)) = dependency(&loaded.contexts, &workspace.names, &outside.name, &loaded.service.name) else { continue };
            if !built(service).contains(asked) {
                let platforms = missing.entry((outside.span, &outside.name, service)).or_default();
                if !platforms.contains(asked) {
                    platforms.push(asked.clone());
                }
            }
        }
    }
    let finding = |((span, name, service), missing): ((Span, &str, &str), Vec<Platform>)| {
        let kind = ErrorKind::NotBuilt { name: name.to_owned(), service: service.to_owned(), missing, built: built(service).to_vec() };
        plan_finding(workspace.config, &loaded.dockerfile, &loaded.dockerfile.error(span, kind))
    };
    missing.into_iter().map(finding).collect()
}
