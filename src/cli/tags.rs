//! `brik tags`: what a build would tag, name and label, for people, for JSON and as outputs of a GitHub Actions step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Global, TaggingArgs};
use super::failure::{Code, Failure};
use super::select::select;
use super::source_facts::source_facts;
use super::tagging::{GivenTags, Tagging, no_tag};
use super::{environment, github_output, offline, print};
use crate::config::TagEntry;
use crate::oci::Reference;
use crate::plan::SourceFacts;
use crate::plan::tags::Tags;
use crate::report::sanitise;
use crate::source::GitFacts;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik tags                           what every service of brik.toml would be tagged with here
  brik tags api --format json         one service, for machines
  brik tags --image ghcr.io/org/app --tags 'type=semver,pattern={{version}}' --flavor latest=auto
                                      as docker/metadata-action has it, without a brik.toml

In GitHub Actions, the step has the outputs version, tags, tag-names, labels and json afterwards.")]
pub struct TagsArgs {
    /// Services: names, groups, globs or folders; all without any
    #[arg(value_name = "SERVICE", conflicts_with = "image")]
    pub services: Vec<String>,
    #[command(flatten)]
    pub tagging: TaggingArgs,
    /// Tag this image, without a brik.toml; repeatable
    #[arg(long, value_name = "NAME")]
    pub image: Vec<String>,
    /// Add outputs of a GitHub Actions step to this file
    #[arg(long, value_name = "FILE", env = "GITHUB_OUTPUT", hide_env_values = true)]
    pub github_output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `--format json`.
#[derive(Serialize)]
pub struct Report {
    pub services: Vec<Tagged>,
}

/// What one service would be given.
#[derive(Serialize)]
pub struct Tagged {
    pub service: String,
    /// Registry and repository.
    pub image: Reference,
    /// The first of its tags by priority; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// In order.
    pub tags: Vec<String>,
    /// The same with the image before them.
    pub references: Vec<Reference>,
    /// Without those of the Dockerfile and its base image.
    pub labels: BTreeMap<String, String>,
    /// Entries of the list of tags that have no value here.
    pub skipped: Vec<SkippedEntry>,
}

#[derive(Serialize)]
pub struct SkippedEntry {
    pub entry: String,
    pub reason: String,
}

/// What is tagged where metadata-action is given no list.
const DEFAULT: &str = "type=schedule\ntype=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr";

pub fn run(global: &Global, args: &TagsArgs) -> Result<ExitCode, Failure> {
    let env = environment();
    let given = GivenTags::new(&args.tagging)?;
    let services = if args.image.is_empty() { of_config(global, args, &env, given)? } else { of_images(global, args, &env, given)? };
    if let Some(path) = args.github_output.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        let path = global.cwd()?.join(path);
        let written = github_output::append(&path, &github_output::outputs(&services));
        written.map_err(|error| Failure::failed(format!("cannot write outputs to {}: {error}", path.display())))?;
    }
    print::out(&match args.format {
        Format::Json => format!("{}\n", serde_json::to_string(&Report { services }).unwrap_or_default()),
        Format::Human => services.iter().map(Tagged::human).collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn of_config(global: &Global, args: &TagsArgs, env: &BTreeMap<String, String>, given: GivenTags) -> Result<Vec<Tagged>, Failure> {
    let config = offline::config(global)?;
    let asked = select(&config, &global.cwd()?, &args.services)?;
    let git = GitFacts::read(&config.root, env);
    let tagging = Tagging::new(&git, env, given);
    let (mut tagged, mut findings) = (Vec::new(), Vec::new());
    for service in config.services.values().filter(|service| asked.is_empty() || asked.contains(&service.name)) {
        match tagging.tags_of(service) {
            Ok(tags) => {
                let known = source_facts(&git, env, &config.root, &service.context, tags.released.clone())?;
                tagged.push(Tagged::new(&service.name, &service.image, tags, &known, &service.labels));
            }
            Err(error) => findings.push(no_tag(service, &error)),
        }
    }
    if findings.is_empty() { Ok(tagged) } else { Err(Failure::findings(Code::Usage, &findings, None)) }
}

fn of_images(global: &Global, args: &TagsArgs, env: &BTreeMap<String, String>, given: GivenTags) -> Result<Vec<Tagged>, Failure> {
    let cwd = global.cwd()?;
    let git = GitFacts::read(&cwd, env);
    let tagging = Tagging::new(&git, env, given);
    let default = TagEntry::list(DEFAULT).unwrap_or_default();
    let one = |name: &String| {
        // As metadata-action does.
        let image: Reference = name.to_lowercase().parse().map_err(|error| Failure::usage(format!("--image: {error}")))?;
        if image.tag.is_some() || image.digest.is_some() {
            return Err(Failure::usage(format!("--image {name}: name the repository only; tags come from --tags")));
        }
        let service = image.repository.rsplit('/').next().unwrap_or(&image.repository).to_owned();
        let tags = tagging.render(&service, &default, None);
        let tags = tags.map_err(|error| Failure::diagnosed(Code::Usage, "brik::tags::none", &error.to_string(), None))?;
        let known = source_facts(&git, env, &cwd, &cwd, tags.released.clone())?;
        Ok(Tagged::new(&service, &image, tags, &known, &BTreeMap::new()))
    };
    args.image.iter().map(one).collect()
}

impl Tagged {
    /// `own`: labels that brik.toml says, which count more than the standard ones.
    fn new(service: &str, image: &Reference, tags: Tags, known: &SourceFacts, own: &BTreeMap<String, String>) -> Self {
        let mut labels = known.stable(service);
        labels.extend(known.volatile(None));
        labels.extend(own.clone());
        let skipped = tags.skipped.into_iter();
        Self {
            service: service.to_owned(),
            image: image.clone(),
            version: tags.version,
            references: tags.tags.iter().map(|tag| image.with_tag(tag)).collect(),
            tags: tags.tags,
            labels,
            skipped: skipped.map(|skipped| SkippedEntry { entry: skipped.template, reason: skipped.reason.to_string() }).collect(),
        }
    }

    fn human(&self) -> String {
        let mut text = format!("{}\n", self.service);
        // Lists and labels of brik.toml may hold anything.
        let mut line = |what: &str, value: String| text += &format!("  {what:<7} {}\n", sanitise(value.as_bytes()));
        if self.tags.is_empty() {
            line("image", self.image.to_string());
        }
        self.references.iter().for_each(|reference| line("tag", reference.to_string()));
        self.skipped.iter().for_each(|skipped| line("skipped", format!("{} ({})", skipped.entry, skipped.reason)));
        self.labels.iter().for_each(|(name, value)| line("label", format!("{name}={value}")));
        text
    }
}
