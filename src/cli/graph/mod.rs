//! `brik graph`: services, what they need, and the base images below them.

mod notation;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::Global;
use super::failure::Failure;
use super::select::select;
use super::workspace::Workspace;
use super::{offline, print};
use crate::plan::EdgeReason;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik graph                       a tree from each service that no other needs
  brik graph api                   what api needs
  brik graph --format mermaid      for a README on GitHub or GitLab
  brik graph --format dot | dot -Tsvg > graph.svg")]
pub struct GraphArgs {
    /// Services with what they need: names, groups, globs or folders; all without any
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: GraphFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A tree
    #[default]
    Text,
    /// For graphviz
    Dot,
    /// For Markdown
    Mermaid,
    Json,
}

#[derive(Debug, Default, Serialize)]
struct Graph {
    /// In the order of their needs.
    services: Vec<String>,
    /// Images of registries, as Dockerfiles name them, fully qualified.
    bases: BTreeSet<String>,
    /// Each pair once.
    edges: Vec<Need>,
    /// Where trees begin: what was asked for, else what nobody needs.
    #[serde(skip)]
    roots: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Need {
    service: String,
    /// A service, or a base.
    needs: String,
    /// `from`, `copy-from`, `mount-from`, `context`, `needs`.
    reasons: BTreeSet<EdgeReason>,
}

pub fn run(global: &Global, args: &GraphArgs) -> Result<ExitCode, Failure> {
    let config = offline::config(global)?;
    let services = select(&config, &global.cwd()?, &args.services)?;
    let graph = Graph::of(&offline::workspace(&config, &services)?, services);
    print::out(&match args.format {
        GraphFormat::Text => tree::draw(&graph),
        GraphFormat::Dot => notation::dot(&graph),
        GraphFormat::Mermaid => notation::mermaid(&graph),
        GraphFormat::Json => format!("{}\n", serde_json::to_string_pretty(&graph).unwrap_or_default()),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Graph {
    fn of(workspace: &Workspace, asked: Vec<String>) -> Self {
        let mut edges: BTreeMap<(String, String), BTreeSet<EdgeReason>> = BTreeMap::new();
        for edge in &workspace.edges {
            edges.entry((edge.service.clone(), edge.dependency.clone())).or_default().insert(edge.reason.clone());
        }
        let needed: BTreeSet<&str> = workspace.edges.iter().map(|edge| edge.dependency.as_str()).collect();
        let services: Vec<String> = workspace.services.iter().map(|loaded| loaded.service.name.clone()).collect();
        let roots = match asked.is_empty() {
            true => services.iter().filter(|service| !needed.contains(service.as_str())).cloned().collect(),
            false => asked,
        };
        let mut bases = BTreeSet::new();
        for (loaded, image) in workspace.images() {
            let name = image.reference.to_string();
            edges.entry((loaded.service.name.clone(), name.clone())).or_default().insert(image.reason);
            bases.insert(name);
        }
        let need = |((service, needs), reasons)| Need { service, needs, reasons };
        Self { services, bases, edges: edges.into_iter().map(need).collect(), roots }
    }

    fn needs_of<'g>(&'g self, service: &'g str) -> impl Iterator<Item = &'g Need> {
        self.edges.iter().filter(move |need| need.service == service)
    }
}

impl Need {
    /// As Dockerfiles and brik.toml write them.
    fn words(&self) -> String {
        let word = |reason: &EdgeReason| match reason {
            EdgeReason::From => "FROM",
            EdgeReason::CopyFrom => "COPY --from",
            EdgeReason::MountFrom => "RUN --mount=from",
            EdgeReason::Context => "context",
            EdgeReason::Needs => "needs",
        };
        self.reasons.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// web is built on base and copies from api, which is built on base; base is built on busybox.
    pub(super) fn graph() -> Graph {
        let need = |(service, needs, reasons): (&str, &str, &[EdgeReason])| Need {
            service: service.to_owned(),
            needs: needs.to_owned(),
            reasons: reasons.iter().cloned().collect(),
        };
        let busybox = "docker.io/library/busybox:1";
        let edges = [
            ("api", "base", &[EdgeReason::From][..]),
            ("base", busybox, &[EdgeReason::From]),
            ("web", "api", &[EdgeReason::CopyFrom, EdgeReason::Needs]),
            ("web", "base", &[EdgeReason::From]),
        ];
        Graph {
            services: ["base", "api", "web", "docs"].map(str::to_owned).to_vec(),
            bases: BTreeSet::from([busybox.to_owned()]),
            edges: edges.map(need).into_iter().collect(),
            roots: ["web", "docs"].map(str::to_owned).to_vec(),
        }
    }
}
