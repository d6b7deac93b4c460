//! The inputs of a call under one name each: actions and reusable workflows call the same things differently.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::expression::Scope;
use crate::import::marks::mark;
use crate::import::values::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    BuildArgs,
    BuildContexts,
    Cache,
    CacheRepository,
    Context,
    Dockerfile,
    Image,
    Labels,
    Platforms,
    Registry,
    SecretFiles,
    Secrets,
    Ssh,
    Tags,
    Target,
    /// Says nothing of the image: credentials, and that it is pushed.
    Aside,
}

/// Expanded texts, and the names of inputs that nobody knows.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub texts: BTreeMap<Input, String>,
    pub unknown: Vec<String>,
}

impl Inputs {
    pub fn read(with: &Map<String, Value>, scope: &Scope) -> Self {
        let mut inputs = Self::default();
        for (name, value) in with {
            let Some(value) = text(value).map(|text| scope.expand(&text)).filter(|text| !text.trim().is_empty()) else { continue };
            match Input::named(name) {
                Some(Input::Aside) => {}
                // What names the commit is brik's template.
                Some(Input::Tags) => drop(inputs.texts.insert(Input::Tags, value.replace(&mark("github.sha"), "{sha_long}"))),
                Some(input) => drop(inputs.texts.insert(input, value)),
                None => inputs.unknown.push(name.clone()),
            }
        }
        inputs
    }

    pub fn get(&self, input: Input) -> Option<&str> {
        self.texts.get(&input).map(|text| text.trim())
    }

    /// One entry a line.
    pub fn lines(&self, input: Input) -> impl Iterator<Item = &str> {
        self.get(input).unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty())
    }
}

impl Input {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "build_args" | "build_arg" => Self::BuildArgs,
            "build_contexts" => Self::BuildContexts,
            "cache" | "cache_enabled" => Self::Cache,
            "cache_repo" | "cache_repository" | "cache_registry" => Self::CacheRepository,
            "context" | "path" => Self::Context,
            "build_file" | "dockerfile" | "file" => Self::Dockerfile,
            "image" | "image_name" => Self::Image,
            "labels" => Self::Labels,
            "platform" | "platforms" => Self::Platforms,
            "registry" => Self::Registry,
            "secret_files" => Self::SecretFiles,
            "secrets" | "secret_envs" => Self::Secrets,
            "ssh" => Self::Ssh,
            "tag" | "tags" | "destination" | "destinations" => Self::Tags,
            "target" => Self::Target,
            "push" | "username" | "password" | "registry_username" | "registry_password" | "github_token" | "executor" | "builder" => {
                Self::Aside
            }
            _ => return None,
        })
    }
}
