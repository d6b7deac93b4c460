//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::bases::pin;
use super::cache::CacheCommand;
use super::dashboard::ReportFile;
use super::doctor::DoctorArgs;
use super::explain::ExplainArgs;
use super::graph::GraphArgs;
use super::image_args::ImageArgs;
use super::init::InitArgs;
use super::inspect::InspectArgs;
use super::list::ListArgs;
use super::login::LoginArgs;
use super::logout::LogoutArgs;
use super::matrix::MatrixArgs;
use super::tags::TagsArgs;
use crate::oci::{Digest, Reference};

#[derive(Debug, Parser)]
#[command(
    name = "brik",
    version,
    about = "Build the container images of a monorepo: daemonless, rootless, in parallel, from one shared cache",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Run as if started in DIR
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Use this brik.toml instead of searching upwards for one
    #[arg(long = "config", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Lay brik.NAME.toml over brik.toml
    #[arg(long = "env", value_name = "NAME", env = "BRIK_ENV", global = true)]
    pub environment: Option<String>,
    /// Override a value, as in --set services.api.target=dev or --set services.api.tags+=edge
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Where blobs, records and snapshots are kept [default: $XDG_CACHE_HOME/brik]
    #[arg(long, value_name = "DIR", env = "BRIK_STORE", global = true)]
    pub store: Option<PathBuf>,
    /// How progress is told on stderr; auto: a live view on a terminal, logs that fold in GitHub Actions and GitLab CI, else plain
    #[arg(long, value_enum, default_value_t, value_name = "MODE", global = true)]
    pub progress: Progress,
    /// Tell more: every layer that is pulled or pushed
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    #[default]
    Auto,
    Tty,
    Plain,
    Json,
    Quiet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a brik.toml of what the repository has: Dockerfiles, a bake or compose file, a workflow
    Init(InitArgs),
    /// Build images, and push them with --push
    Build(Box<BuildArgs>),
    /// Check brik.toml and every Dockerfile without building anything
    Check(CheckArgs),
    /// Say what the code of a diagnostic, a build check or a rule of the policy is about
    Explain(ExplainArgs),
    /// List services: image, context, Dockerfile, platforms, needs
    List(ListArgs),
    /// Show what services need of each other, and the base images below them
    Graph(GraphArgs),
    /// Pin the tags of base images in brik.lock: those that are not pinned yet
    #[command(after_help = "Examples:
  brik lock                           pin new bases; pins that are there stay")]
    Lock {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Pin base images in brik.lock to what their tags lead to now
    #[command(after_help = "Examples:
  brik update                         all bases
  brik update alpine golang:1.25      all tags of alpine, and one of golang")]
    Update {
        /// Bases to update, as in alpine:3.20, or alpine for all its tags; all without any
        #[arg(value_name = "BASE")]
        bases: Vec<String>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List base images whose tags lead elsewhere than brik.lock says (exit code 3 if there are any)
    #[command(after_help = "Examples:
  brik outdated                       for people
  brik outdated --format json         for a scheduled job")]
    Outdated {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what a build would run and why, what is cached, and which tags it would push
    Plan(Box<PreviewArgs>),
    /// Show the tags, names and labels that a build would give
    Tags(TagsArgs),
    /// Say which input changed that makes a service be built again
    Why(Box<WhyArgs>),
    /// Make CI jobs of the services that need building, in waves
    Matrix(Box<MatrixArgs>),
    /// Check whether this machine and its registries let brik work, and how to mend it
    Doctor(DoctorArgs),
    /// Keep credentials for a registry, after they were tried there
    Login(LoginArgs),
    /// Forget credentials for a registry
    Logout(LogoutArgs),
    /// Look at an image: its layers, files and configuration, and what has changed since another
    Inspect(InspectArgs),
    /// Look at the store, or with --remote at cache repositories, and make them smaller
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Write the completions of a shell to stdout
    #[command(after_help = "Examples:
  brik completions bash > ~/.local/share/bash-completion/completions/brik
  brik completions zsh > ~/.zfunc/_brik
  brik completions fish > ~/.config/fish/completions/brik.fish")]
    Completions { shell: Shell },
    /// Write the man pages into a directory that `man` knows
    #[command(after_help = "Examples:
  brik man ~/.local/share/man         then: man brik-build, man 7 brik-tags")]
    Man {
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Tell about a command or a topic
    #[command(after_help = "Examples:
  brik help                           all commands and topics
  brik help cache ls                  the same as brik cache ls --help
  brik help tags                      a topic")]
    Help {
        #[arg(value_name = "COMMAND|TOPIC")]
        words: Vec<String>,
    },
}

impl Command {
    /// See [`PlanArgs::settle`].
    pub fn settle(&mut self) {
        match self {
            Self::Build(args) => args.what.settle(),
            Self::Plan(args) => args.what.settle(),
            Self::Why(args) => args.what.settle(),
            _ => {}
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik build                          every service of brik.toml, into the store
  brik build api worker --push        two services and what they need, pushed
  brik build 'svc-*' backend          those that match, and those of a group of brik.toml
  brik build .                        the services of the folder that one is in
  brik build --push --dry-run         what would run, and which tags would be written
  brik build --since origin/main --push
                                      what this branch has changed
  brik build -t ghcr.io/example-org/api:v1 -f api/Dockerfile --push .
                                      one image without a brik.toml, as docker build has it")]
pub struct BuildArgs {
    /// Push what was built
    #[arg(long)]
    pub push: bool,
    /// Also write the images to oci:DIR or docker:FILE
    #[arg(short, long, value_name = "oci:DIR|docker:FILE")]
    pub output: Vec<String>,
    /// After a failure, go on with what does not need what failed
    #[arg(short, long)]
    pub keep_going: bool,
    /// Tell what would run and be pushed, and do nothing
    #[arg(long, conflicts_with_all = ["metadata_file", "digest_file", "report"])]
    pub dry_run: bool,
    /// Steps that may run at the same time [default: number of processors]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Write digests and names of the images as bake does
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Write the digest of the one image, and nothing else
    #[arg(long, value_name = "FILE", requires = "one_image")]
    pub digest_file: Option<PathBuf>,
    /// Write what the cache was worth to each service, as JSON or Markdown; in GitHub Actions to the job's summary, too. Repeatable
    #[arg(long, value_name = "FILE.json|FILE.md", value_parser = ReportFile::parse)]
    pub report: Vec<ReportFile>,
    /// What stdout carries: one name@digest a line, or JSON
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub what: PlanArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik plan                           what brik build would run, and why
  brik plan api --push                also which tags it would write")]
pub struct PreviewArgs {
    /// Also ask registries which tags are there already
    #[arg(long)]
    pub push: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub what: PlanArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik why                            what a build would run now, and because of what
  brik why --last api                 what the last build of api ran, and because of what")]
pub struct WhyArgs {
    /// Of the last build instead of the next one
    #[arg(long)]
    pub last: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub what: PlanArgs,
}

/// What is to be built, and from what: everything that a plan depends on.
#[derive(Debug, Default, Args)]
pub struct PlanArgs {
    /// Services to build, with what they need: names, groups, globs ('svc-*') or folders (., services/api); all without any
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Only services whose content has changed since HEAD left REF: a branch, a tag or a commit
    #[arg(long, value_name = "REF")]
    pub since: Option<String>,
    /// Run every Step again
    #[arg(long)]
    pub no_cache: bool,
    /// Ask no registry for a tag: fail where brik.lock does not pin a base image
    #[arg(long, conflicts_with = "one_image")]
    pub locked: bool,
    /// Hold the tag of a base image to a digest, over brik.lock; repeatable
    #[arg(long, value_name = "NAME:TAG@DIGEST", value_parser = pin)]
    pub pin: Vec<(Reference, Digest)>,
    #[command(flatten)]
    pub tagging: TaggingArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub image: ImageArgs,
}

impl PlanArgs {
    /// With an image that flags name, what stands without a flag is its context, as docker build has it.
    pub fn settle(&mut self) {
        if self.image.is_given() && self.image.context.is_none() && self.services.len() == 1 {
            self.image.context = self.services.pop().map(PathBuf::from);
        }
    }
}

/// What images are tagged with.
#[derive(Debug, Default, Args)]
pub struct TaggingArgs {
    /// Tags instead of those of brik.toml, separated by newlines or commas: templates, or lines as type=semver,pattern={{version}}
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// What holds for all tags, on lines as latest=auto, prefix=… or suffix=…
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
}

/// Cache repositories. With --push they are read and written anyway.
#[derive(Debug, Default, Args)]
pub struct CacheArgs {
    /// Ask cache repositories, also without --push: those of the services, and REPOSITORY; repeatable
    #[arg(long, value_name = "REPOSITORY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub cache_from: Vec<String>,
    /// Write what was built to the cache repositories of the services, also without --push, or to REPOSITORY instead
    #[arg(long, value_name = "REPOSITORY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub cache_to: Option<String>,
    /// Cache repository of the one image, asked also without --push [default: the image's name with -cache]
    #[arg(long, value_name = "REPOSITORY", requires = "one_image")]
    pub cache_repo: Option<String>,
    /// Neither ask nor write cache repositories, nor use what the store has taken from them
    #[arg(long, conflicts_with_all = ["cache_from", "cache_to", "cache_repo"])]
    pub no_remote_cache: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    #[default]
    Human,
    Json,
    Sarif,
    Github,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik check                   everything that can be known offline; exit code 3 if something is wrong
  brik check api --locked      one service and what it needs, bases pinned
  brik check --format github   annotations on the lines of a pull request")]
pub struct CheckArgs {
    /// Services to check, with what they need: names, groups, globs or folders; all without any
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Fail where brik.lock does not pin a base image
    #[arg(long)]
    pub locked: bool,
    /// sarif: SARIF 2.1.0 for code scanning; github: annotations of a workflow's job
    #[arg(long, value_enum, default_value_t)]
    pub format: CheckFormat,
}
