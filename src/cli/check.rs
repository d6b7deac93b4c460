//! `brik check`: everything that can be known to be wrong without building and without the network.

use std::cell::LazyCell;
use std::process::ExitCode;

use serde::Serialize;

use super::annotations::annotations;
use super::args::{CheckArgs, CheckFormat, Global};
use super::bases::{bases, unlocked, unused};
use super::environment;
use super::evidence::write_evidence;
use super::failure::{Code, Failure, render_all};
use super::host_network::host_networks;
use super::lint::{Bases, Reach, lint_all};
use super::places::Places;
use super::policy::{self, Known};
use super::print;
use super::sarif::sarif;
use super::select::select;
use super::tagging::{GivenTags, Tagging};
use super::unbuilt::unbuilt;
use super::ungiven_secrets::ungiven_secrets;
use super::workspace::{Loaded, Workspace, source_of, within};
use crate::build::last_seen;
use crate::config::{Finding, Findings, Lock, Severity, load};
use crate::dockerfile::InstructionKind;
use crate::dockerfile::ast::Transfer;
use crate::oci::{Platform, Reference};
use crate::plan::Edge;
use crate::source::{Disk, GitFacts, IgnoreFile};
use crate::store::Store;

/// `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    services: usize,
    edges: &'a [Edge],
    findings: &'a [Finding],
}

impl<'a> Report<'a> {
    fn of(services: usize, edges: &'a [Edge], findings: &'a [Finding]) -> Self {
        let ok = findings.iter().all(|finding| finding.severity != Severity::Error);
        Self { ok, services, edges, findings }
    }

    fn sum(&self) -> String {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let warnings = self.findings.len() - errors;
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (services, edges) = (count(self.services, "service"), count(self.edges.len(), "edge"));
        format!("{services}, {edges}: {}, {}\n", count(errors, "error"), count(warnings, "warning"))
    }
}

pub fn run(global: &Global, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let env = environment();
    let options = global.load_options(global.cwd()?, env.clone());
    let places = Places::new(options.cwd.clone(), options.file.as_deref());
    let config = match load(&options, &Disk) {
        Ok(config) => config,
        Err(Findings(findings)) => {
            tell(args.format, &places, &Report::of(0, &[], &findings))?;
            return Ok(ExitCode::from(Code::Usage as u8));
        }
    };
    let lock = match Lock::read(&Lock::path(&config.file), &Disk) {
        Ok(lock) => lock,
        Err(Findings(findings)) => {
            tell(args.format, &places, &Report::of(0, &[], &findings))?;
            return Ok(ExitCode::from(Code::Usage as u8));
        }
    };
    let services = select(&config, &options.cwd, &args.services)?;
    let git = GitFacts::read(&config.root, &env);
    let (workspace, mut findings) = Workspace::load(&config, &Disk, &services, &Tagging::new(&git, &env, GivenTags::default()));
    // Without a commit there is nothing to tag yet, but much to check.
    for finding in findings.iter_mut().filter(|finding| finding.code == "brik::tags::none") {
        finding.severity = Severity::Warning;
    }
    findings.splice(0..0, config.warnings.iter().cloned());
    for service in &workspace.services {
        findings.extend(missing_sources(&workspace, service));
    }
    findings.extend(unbuilt(&workspace));
    findings.extend(host_networks(&workspace));
    findings.extend(ungiven_secrets(&workspace));
    let bases = bases(&workspace);
    // What cannot be read may use any base.
    let complete = services.is_empty() && !Findings(findings.clone()).has_errors();
    findings.extend(unlocked(&config, &bases, lock.as_ref(), args.locked));
    if let Some(lock) = lock.as_ref().filter(|_| complete) {
        findings.extend(unused(&bases, lock));
    }
    // What earlier builds have seen of base images; a project that was never built has no store, and gets none here.
    let store = LazyCell::new(|| global.store_path(&env).ok().filter(|path| path.is_dir()).and_then(|path| Store::open(&path).ok()));
    let image = |reference: &Reference, platform: &Platform| Some(last_seen(store.as_ref()?, reference, platform)?.config.clone());
    findings.extend(lint_all(&workspace, Reach::Everything, &Bases { image: &image, service: &|_, _| None }));
    let locked = |name: &Reference| lock.as_ref().is_some_and(|lock| lock.bases.contains_key(name));
    let known = Known { git: &git, tags_given: false, locked: &locked, image: &image, plan: None };
    if let Some(verdict) = policy::verdict(&workspace, &services, &known) {
        findings.retain(|finding| !policy::says_it_too(&verdict, finding));
        findings.extend(verdict.findings());
        findings.extend(write_evidence(&config, &options.cwd, verdict));
    }
    tell(args.format, &places, &Report::of(workspace.services.len(), &workspace.edges, &findings))?;
    let found = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if found { ExitCode::from(Code::Findings as u8) } else { ExitCode::SUCCESS })
}

/// Sources of COPY and ADD that are plain paths of the context and are not there.
fn missing_sources(workspace: &Workspace, loaded: &Loaded) -> Vec<Finding> {
    let dockerfile = &loaded.dockerfile;
    let source = source_of(workspace.config, dockerfile);
    let context = &loaded.service.context;
    if let Err(error) = IgnoreFile::load(&Disk, Some(&dockerfile.path), context) {
        return vec![Finding::error("brik::dockerignore::invalid", error.to_string())];
    }
    let needed = loaded.surveys.iter().flat_map(|(_, survey)| &survey.needed).collect::<std::collections::BTreeSet<_>>();
    let mut findings = Vec::new();
    for stage in needed {
        for instruction in &dockerfile.syntax.stages[*stage].instructions {
            let transfer: &Transfer = match &instruction.kind {
                InstructionKind::Copy(copy) if copy.from.is_none() && !copy.parents => &copy.transfer,
                InstructionKind::Add(add) => &add.transfer,
                _ => continue,
            };
            for word in &transfer.sources {
                let text = word.text.as_str();
                if text.contains(['$', '*', '?', '[', '\\', '"', '\'']) || text.contains("://") || text.starts_with("git@") {
                    continue;
                }
                let path = crate::plan::normalize("/", text);
                let path = path.trim_start_matches('/');
                if std::fs::symlink_metadata(context.join(path)).is_err() {
                    let finding = Finding::error("brik::copy::missing", format!("{text:?} is not in the context {}", context.display()));
                    findings.push(
                        finding.help("paths of COPY and ADD are relative to the service's context").at(within(&source, word.span.range())),
                    );
                }
            }
        }
    }
    findings
}

fn tell(format: CheckFormat, places: &Places, report: &Report) -> Result<(), Failure> {
    let made = |text: serde_json::Result<String>| text.map_err(|error| Failure::failed(error.to_string()));
    match format {
        CheckFormat::Json => print::out(&format!("{}\n", made(serde_json::to_string_pretty(report))?)),
        CheckFormat::Sarif => print::out(&made(sarif(report.findings, places))?),
        CheckFormat::Github => {
            print::out(&annotations(report.findings, places))?;
            print::err(&report.sum());
            Ok(())
        }
        CheckFormat::Human => {
            let mut text = String::new();
            render_all(&mut text, report.findings);
            print::err(&text);
            print::out(&report.sum())
        }
    }
}
