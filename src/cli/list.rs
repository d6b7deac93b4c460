//! `brik list`: the services, and where each comes from.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Global};
use super::columns::columns;
use super::failure::Failure;
use super::select::select;
use super::workspace::{Workspace, shown};
use super::{offline, print};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik list                        every service of brik.toml
  brik list 'svc-*' backend        those that match, and those of a group, with what they need
  brik list --format json | jq -r '.services[].image'")]
pub struct ListArgs {
    /// Services with what they need: names, groups, globs or folders; all without any
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `{"services": […]}`, in the order of their needs.
#[derive(Serialize)]
struct Listing<'w> {
    services: Vec<Listed<'w>>,
}

#[derive(Serialize)]
struct Listed<'w> {
    service: &'w str,
    /// Registry and repository, without a tag.
    image: String,
    /// Relative to brik.toml, as are Dockerfiles.
    context: String,
    dockerfile: String,
    /// The stage that is built, where it is not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'w str>,
    platforms: Vec<String>,
    /// The services that it is built from, or after.
    needs: BTreeSet<&'w str>,
    /// The images that its Dockerfile takes from registries.
    bases: BTreeSet<String>,
    /// Those of brik.toml that it is in.
    groups: Vec<&'w str>,
}

pub fn run(global: &Global, args: &ListArgs) -> Result<ExitCode, Failure> {
    let config = offline::config(global)?;
    let services = select(&config, &global.cwd()?, &args.services)?;
    let workspace = offline::workspace(&config, &services)?;
    let listing = Listing::of(&workspace);
    print::out(&match args.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&listing).unwrap_or_default()),
        Format::Human => listing.human(),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl<'w> Listing<'w> {
    fn of(workspace: &'w Workspace) -> Self {
        let images = workspace.images();
        let listed = |service: &'w crate::config::Service| {
            let name = service.name.as_str();
            let bases = images.iter().filter(|(loaded, _)| loaded.service.name == name);
            Listed {
                service: name,
                image: service.image.name(),
                context: folder(shown(workspace.config, &service.context)),
                dockerfile: shown(workspace.config, &service.dockerfile),
                target: service.target.as_deref(),
                platforms: service.platforms.iter().map(ToString::to_string).collect(),
                needs: workspace.edges.iter().filter(|edge| edge.service == name).map(|edge| edge.dependency.as_str()).collect(),
                bases: bases.map(|(_, image)| image.reference.to_string()).collect(),
                groups: workspace.config.groups.iter().filter(|(_, all)| all.contains(name)).map(|(group, _)| group.as_str()).collect(),
            }
        };
        Self { services: workspace.services.iter().map(|loaded| listed(loaded.service)).collect() }
    }

    fn human(&self) -> String {
        if self.services.is_empty() {
            return "brik.toml has no service\n".to_owned();
        }
        let head = ["service", "image", "context", "dockerfile", "platforms", "needs"].map(str::to_owned);
        let row = |listed: &Listed| {
            let needs: Vec<&str> = listed.needs.iter().copied().collect();
            [
                listed.service.to_owned(),
                listed.image.clone(),
                listed.context.clone(),
                listed.dockerfile.clone(),
                listed.platforms.join(","),
                needs.join(", "),
            ]
        };
        columns(&std::iter::once(head).chain(self.services.iter().map(row)).collect::<Vec<_>>())
    }
}

/// The directory of brik.toml is `.`.
fn folder(path: String) -> String {
    if path.is_empty() { ".".to_owned() } else { path }
}
