//! The command line of `brik cache`.

use clap::{Args, Subcommand};

use crate::cli::args::Format;
use crate::store::RecordKind;

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// What the store holds, the last used first
    Ls(LsArgs),
    /// How much the store takes
    Du(DuArgs),
    /// Remove least recently used results; everything that is not in use without a limit
    Prune(PruneArgs),
    /// Read every blob and check it against its name; exit code 3 if something is damaged
    Verify(VerifyArgs),
}

/// Cache repositories instead of the store.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cache repositories")]
pub struct RemoteArgs {
    /// The cache repositories of the services, instead of the store
    #[arg(long)]
    pub remote: bool,
    /// Services whose cache repositories are meant: names, groups, globs or folders; all without any
    #[arg(value_name = "SERVICE", requires = "remote")]
    pub services: Vec<String>,
    /// This cache repository instead of those of services; repeatable
    #[arg(long, value_name = "REPOSITORY", requires = "remote", conflicts_with = "services")]
    pub repository: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik cache ls --kind step           results of Steps in the store
  brik cache ls --remote api          what the cache repository of a service holds")]
pub struct LsArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Only records of this kind: step, image, base, download, name or checkout; repeatable
    #[arg(long, value_name = "KIND", value_parser = record_kind, conflicts_with = "remote")]
    pub kind: Vec<RecordKind>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik cache du                       the store
  brik cache du --remote              all cache repositories")]
pub struct DuArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik cache prune --keep-storage 20GiB --keep-within 14d
                                      at the end of a job, on a disk that stays
  brik cache prune --remote --keep origin/main --dry-run
                                      what neither main nor this checkout asks for

With --remote, what stays is what the images that were given last are made of, and what a build of brik.toml would
ask for now, of all its services. A registry tells no times: nothing goes by age or size.")]
pub struct PruneArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Keep also what a build of REF would ask for, a branch, tag or commit; repeatable
    #[arg(long, value_name = "REF", requires = "remote")]
    pub keep: Vec<String>,
    /// Keep the most recently used up to this size, as in 10GiB; cache mounts do not count
    #[arg(long, value_name = "SIZE", conflicts_with = "remote")]
    pub keep_storage: Option<String>,
    /// Keep what was used within this time, as in 72h or 14d
    #[arg(long, value_name = "TIME", conflicts_with = "remote")]
    pub keep_within: Option<String>,
    /// Tell what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik cache verify                   the store
  brik cache verify --remote --deep   every byte of the cache repositories")]
pub struct VerifyArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Read and hash the blobs of cache repositories, too, instead of asking for their sizes
    #[arg(long, requires = "remote")]
    pub deep: bool,
    /// Tell what is wrong, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn record_kind(text: &str) -> Result<RecordKind, String> {
    let known = RecordKind::ALL.map(RecordKind::name);
    RecordKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("expected one of {}", known.join(", ")))
}
