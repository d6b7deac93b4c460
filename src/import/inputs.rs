//! The inputs of a call under one name each: actions, reusable workflows and Kaniko's flags call the same things differently.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::marks::mark;
use super::values::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    BuildArgs,
    BuildContexts,
    Cache,
    CacheRepository,
    Context,
    /// Images with their tags.
    Destinations,
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

/// What GitHub and GitLab call the commit.
const COMMIT: [&str; 3] = ["github.sha", "GITHUB_SHA", "CI_COMMIT_SHA"];

impl Inputs {
    /// Of a table of inputs, whose expressions `expand` knows.
    pub fn read(with: &Map<String, Value>, expand: impl Fn(&str) -> String) -> Self {
        let mut inputs = Self::default();
        for (name, value) in with {
            if let Some(value) = text(value) {
                inputs.add(name, &expand(&value));
            }
        }
        inputs
    }

    /// One more line where it is a list; else what is given last counts.
    pub fn add(&mut self, name: &str, value: &str) {
        let input = match Input::named(name) {
            _ if value.trim().is_empty() => return,
            Some(Input::Aside) => return,
            Some(input) => input,
            None => return self.unknown.push(name.to_owned()),
        };
        // What names the commit is brik's template.
        let value = match input {
            Input::Tags | Input::Destinations => {
                COMMIT.iter().fold(value.to_owned(), |value, name| value.replace(&mark(name), "{sha_long}"))
            }
            _ => value.to_owned(),
        };
        match self.texts.get_mut(&input).filter(|_| input.is_list()) {
            Some(lines) => *lines = format!("{lines}\n{value}"),
            None => drop(self.texts.insert(input, value)),
        }
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
    fn is_list(self) -> bool {
        matches!(self, Self::BuildArgs | Self::BuildContexts | Self::Destinations | Self::Labels | Self::Secrets | Self::Tags)
    }

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
            "destination" | "destinations" => Self::Destinations,
            "tag" | "tags" => Self::Tags,
            "target" => Self::Target,
            "push" | "username" | "password" | "registry_username" | "registry_password" | "github_token" | "executor" | "builder" => {
                Self::Aside
            }
            _ => return None,
        })
    }
}
