//! `brik init`: a brik.toml of what the repository has.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::args::Global;
use super::columns::columns;
use super::failure::{Code, Failure, render_all};
use super::output::write_whole;
use super::workspace::{printable, within};
use super::{environment, print};
use crate::config::{Finding, Location, Source};
use crate::import::{Draft, Left, Origin, Request, import};
use crate::report::sanitise;
use crate::source::GitFacts;

#[derive(Debug, Args)]
#[command(after_help = "Read are docker-bake.hcl or .json, compose.yaml, GitHub workflows that call Kaniko or docker/build-push-action,
.gitlab-ci.yml where it calls Kaniko, and all Dockerfiles. What brik.toml cannot say is told with its reason, and stands in it as a comment.

Examples:
  brik init                           write brik.toml here
  brik init --dry-run                 print it instead
  brik init --from docker-bake.hcl    of this file alone")]
pub struct InitArgs {
    /// Overwrite a brik.toml that is there
    #[arg(long)]
    pub force: bool,
    /// Print brik.toml on stdout instead of writing it
    #[arg(long, visible_alias = "stdout", conflicts_with = "force")]
    pub dry_run: bool,
    /// Only this bake file, compose file, workflow or .gitlab-ci.yml, and no other Dockerfiles; repeatable
    #[arg(long, value_name = "FILE")]
    pub from: Vec<String>,
}

pub fn run(global: &Global, args: &InitArgs) -> Result<ExitCode, Failure> {
    let target = target(global)?;
    let root = target.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    if !args.force && !args.dry_run && target.symlink_metadata().is_ok() {
        let finding = Finding::error("brik::init::exists", format!("{} is there already", shown(&target)));
        return Err(usage(finding.help("look at a new one with --dry-run, or overwrite it with --force")));
    }
    let git = GitFacts::read(&root, &environment());
    let request = Request { root: &root, remote_url: git.remote_url.as_deref(), only: &args.from };
    let draft = import(&request).map_err(|error| {
        let help = "name docker-bake.hcl, docker-bake.json, a compose file, a file of .github/workflows or .gitlab-ci.yml";
        usage(Finding::error("brik::init::source", format!("--from {error}")).help(help))
    })?;
    if draft.services.is_empty() {
        print::err(&(broken(&draft) + &left(&draft)));
        return Err(usage(nothing(&root, &args.from)));
    }
    let text = draft.document();
    print::err(&(broken(&draft) + &told(&draft)));
    if args.dry_run {
        print::out(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write_whole(&target, |file| file.write_all(text.as_bytes()))
        .map_err(|error| usage(Finding::error("brik::init::unwritable", format!("{} cannot be written: {error}", target.display()))))?;
    print::err(&format!("wrote {} ({} lines); next: brik check\n", shown(&target), text.lines().count()));
    Ok(ExitCode::SUCCESS)
}

fn nothing(root: &Path, from: &[String]) -> Finding {
    let finding = |place: String| Finding::error("brik::init::nothing", format!("nothing in {place} says how to build an image"));
    match from {
        [] => finding(root.display().to_string()).help("write a Dockerfile first, as in services/api/Dockerfile"),
        files => finding(files.join(", ")).help("without --from, brik init looks for Dockerfiles and for all files that it can read"),
    }
}

fn usage(finding: Finding) -> Failure {
    Failure::findings(Code::Usage, &[finding], None)
}

/// `--config`, else brik.toml here.
fn target(global: &Global) -> Result<PathBuf, Failure> {
    let cwd = global.cwd()?;
    let cwd = cwd.canonicalize().unwrap_or(cwd);
    let target = cwd.join(global.config.as_deref().unwrap_or(Path::new("brik.toml")));
    let parent = target.parent().and_then(|parent| parent.canonicalize().ok()).filter(|parent| parent.is_dir());
    match (parent, target.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Err(Failure::usage(format!("--config {}: there is no such directory", target.display()))),
    }
}

fn shown(target: &Path) -> String {
    target.file_name().map_or_else(|| target.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// What was understood, and what was left.
fn told(draft: &Draft) -> String {
    let clean = |registry: &str| sanitise(registry.as_bytes());
    let registry = match &draft.registry {
        Some((registry, Origin::Images)) => format!("registry {}, as its images are named\n", clean(registry)),
        Some((registry, Origin::Remote)) => format!("registry {}, after the git remote\n", clean(registry)),
        None => "registry unknown: set it to push\n".to_owned(),
    };
    let rows = draft.services.iter().map(|service| {
        let target = service.target.as_ref().map_or_else(String::new, |target| format!(" ({target})"));
        [service.name.clone(), format!("{}{target}", service.directory), service.files.join(", ")]
    });
    let rows: Vec<[String; 3]> = [["service", "context", "from"].map(str::to_owned)].into_iter().chain(rows).collect();
    format!("{}{registry}{}", columns(&rows), left(draft))
}

fn left(draft: &Draft) -> String {
    let listed = draft.left.iter().filter(|left| left.at.is_none());
    let lines: String = listed.map(|left| format!("  {}\n", sanitise(left.to_string().as_bytes()))).collect();
    if lines.is_empty() { lines } else { format!("left:\n{lines}") }
}

/// Files that are not understood, each with the line that is to blame.
fn broken(draft: &Draft) -> String {
    let finding = |left: &Left| {
        let Location { source, span } = left.at.clone()?;
        let source = Source::new(source.name, printable(&source.text));
        Some(Finding::warning("brik::init::syntax", printable(&left.to_string())).at(within(&source, span)))
    };
    let findings: Vec<Finding> = draft.left.iter().filter_map(finding).collect();
    let mut text = String::new();
    render_all(&mut text, &findings);
    text
}
