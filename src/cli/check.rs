//! `brik check`: everything that can be known to be wrong without building and without the network.

use std::cell::LazyCell;
use std::process::ExitCode;

use serde::Serialize;

use super::args::{CheckArgs, Format, Global};
use super::bases::{bases, unlocked, unused};
use super::failure::{Code, Failure, render};
use super::lint::{Bases, Reach, lint_all};
use super::print;
use super::tagging::{GivenTags, Tagging};
use super::workspace::{Loaded, Workspace, source_of, within};
use super::{environment, explain};
use crate::build::last_seen;
use crate::config::{Finding, Findings, LoadOptions, Lock, Severity, load};
use crate::dockerfile::InstructionKind;
use crate::dockerfile::ast::Transfer;
use crate::oci::{Platform, Reference};
use crate::plan::Edge;
use crate::source::{Disk, GitFacts, IgnoreFile};
use crate::store::Store;

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    services: usize,
    edges: &'a [Edge],
    findings: &'a [Finding],
}

pub fn run(global: &Global, args: &CheckArgs) -> Result<ExitCode, Failure> {
    if let Some(rule) = &args.explain {
        return explain::run(rule);
    }
    let env = environment();
    let options = LoadOptions {
        cwd: global.cwd()?,
        file: global.config.clone(),
        environment: global.environment.clone(),
        env: env.clone(),
        set: global.set.clone(),
    };
    let config = match load(&options, &Disk) {
        Ok(config) => config,
        Err(Findings(findings)) => {
            tell(args.format, 0, &[], &findings)?;
            return Ok(ExitCode::from(Code::Usage as u8));
        }
    };
    let lock = match Lock::read(&Lock::path(&config.file), &Disk) {
        Ok(lock) => lock,
        Err(Findings(findings)) => {
            tell(args.format, 0, &[], &findings)?;
            return Ok(ExitCode::from(Code::Usage as u8));
        }
    };
    if let Some(unknown) = args.services.iter().find(|name| !config.services.contains_key(*name)) {
        return Err(Failure::unknown_service(unknown, &config));
    }
    let git = GitFacts::read(&config.root, &env);
    let (workspace, mut findings) = Workspace::load(&config, &Disk, &args.services, &Tagging::new(&git, &env, GivenTags::default()));
    // Without a commit there is nothing to tag yet, but much to check.
    for finding in findings.iter_mut().filter(|finding| finding.code == "brik::tags::none") {
        finding.severity = Severity::Warning;
    }
    findings.splice(0..0, config.warnings.iter().cloned());
    for service in &workspace.services {
        findings.extend(missing_sources(&workspace, service));
    }
    let bases = bases(&workspace);
    // What cannot be read may use any base.
    let complete = args.services.is_empty() && !Findings(findings.clone()).has_errors();
    findings.extend(unlocked(&config, &bases, lock.as_ref(), args.locked));
    if let Some(lock) = lock.filter(|_| complete) {
        findings.extend(unused(&bases, &lock));
    }
    // What earlier builds have seen of base images; a project that was never built has no store, and gets none here.
    let store = LazyCell::new(|| global.store_path(&env).ok().filter(|path| path.is_dir()).and_then(|path| Store::open(&path).ok()));
    let image = |reference: &Reference, platform: &Platform| Some(last_seen(store.as_ref()?, reference, platform)?.config.clone());
    findings.extend(lint_all(&workspace, Reach::Everything, &Bases { image: &image, service: &|_, _| None }));
    tell(args.format, workspace.services.len(), &workspace.edges, &findings)?;
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

fn tell(format: Format, services: usize, edges: &[Edge], findings: &[Finding]) -> Result<(), Failure> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match format {
        Format::Json => {
            let report = Report { ok: errors == 0, services, edges, findings };
            print::out(&format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default()))
        }
        Format::Human => {
            let mut text = String::new();
            findings.iter().for_each(|finding| render(&mut text, finding));
            print::err(&text);
            let warnings = findings.len() - errors;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            print::out(&format!(
                "{}, {}: {}, {}\n",
                count(services, "service"),
                count(edges.len(), "edge"),
                count(errors, "error"),
                count(warnings, "warning")
            ))
        }
    }
}
