//! brik.toml in its layers.

use std::path::PathBuf;

use brik::config::metadata_action::Flavor;
use brik::config::{Config, Findings, Glob, LoadOptions, NameError, NamedContext, Policy, Severity, load};
use brik::source::Files;

use super::project::{Project, ROOT};
use super::{findings, tags};

/// `input` is brik.toml and, after a NUL each, an overlay (none where it is empty) and texts for `--set` and in the place of a service.
pub fn check(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let mut project = Project::new();
    project.add("brik.toml", parts.next().unwrap_or_default());
    let overlay = parts.next().filter(|overlay| !overlay.is_empty());
    overlay.iter().for_each(|overlay| project.add("brik.test.toml", overlay));
    let texts: Vec<String> = parts.take(8).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    let options = LoadOptions {
        cwd: PathBuf::from(ROOT),
        environment: overlay.map(|_| "test".to_owned()),
        set: texts.iter().filter(|text| text.contains('=')).cloned().collect(),
        ..LoadOptions::default()
    };
    let loaded = load(&options, &project);
    assert_eq!(format!("{:?}", load(&options, &project)), format!("{loaded:?}"), "twice");
    match loaded {
        Ok(config) => self::config(&config, &project, &texts),
        Err(Findings(found)) => {
            findings::check(&found);
            assert!(found.iter().any(|finding| finding.severity == Severity::Error));
        }
    }
}

fn config(config: &Config, project: &Project, texts: &[String]) {
    if !config.warnings.is_empty() {
        findings::check(&config.warnings);
        assert!(config.warnings.iter().all(|warning| warning.severity != Severity::Error), "{:?}", config.warnings);
    }
    assert!(!config.platforms.is_empty());
    for (name, service) in &config.services {
        assert_eq!(*name, service.name);
        assert!(service.image.tag.is_none() && service.image.digest.is_none() && !service.platforms.is_empty());
        assert!(service.cache.as_ref().is_none_or(|cache| cache.digest.is_none()), "{:?}", service.cache);
        assert!(project.is_dir(&service.context) && project.is_file(&service.dockerfile));
        let directories = service.contexts.values().filter_map(|context| match context {
            NamedContext::Directory(path) | NamedContext::OciLayout { path, .. } => Some(path),
            _ => None,
        });
        for path in directories.chain([&service.context, &service.dockerfile]) {
            assert!(path.starts_with(&config.repository), "{path:?} is outside");
        }
        findings::inside(&service.location);
        findings::inside(&service.tags_location);
        tags::rendered(&service.tags, service.flavor.as_ref().unwrap_or(&Flavor::default()));
        assert_eq!(config.services_named(name).map(|found| found.contains(name)), Ok(true));
    }
    for (name, members) in &config.groups {
        assert!(!members.is_empty() && members.iter().all(|member| config.services.contains_key(member)), "{name}");
        assert_eq!(config.services_named(name).as_ref(), Ok(members));
    }
    for text in texts {
        match config.services_named(text) {
            Ok(found) => assert!(!found.is_empty() && found.iter().all(|name| config.services.contains_key(name))),
            Err(error @ NameError::Glob { .. }) => assert!(!error.to_string().is_empty()),
            Err(NameError::Unknown { name } | NameError::NoMatch { glob: name }) => assert_eq!(name, *text),
        }
    }
    config.policy.iter().for_each(policy);
}

fn policy(policy: &Policy) {
    for glob in policy.required_tags.iter().chain(&policy.forbidden_tags) {
        let glob = Glob::of_names(glob).expect("the configuration has seen to it");
        let _ = glob.is_match("v1.2.3") || glob.is_match("sha-2f4c9a1");
    }
    for waiver in &policy.waivers {
        findings::inside(&waiver.location);
        assert!(!waiver.reason.is_empty());
    }
}
