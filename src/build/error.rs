//! How a build fails.

use std::error::Error as _;
use std::fmt;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::path::PathBuf;

use rustix::io::Errno;

use super::copy::CopyError;
use super::sandbox::{Limit, SandboxError};
use crate::cache::Loss;
use crate::oci::Digest;
use crate::plan::StepId;
use crate::{image, registry, source, store};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    /// `place`: of which image, where that is known.
    #[error("layer {layer}{}: {error}", place.as_ref().map(|place| format!(" of {place}")).unwrap_or_default())]
    Layer {
        layer: Digest,
        place: Option<String>,
        #[source]
        error: Box<image::Error>,
    },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{command:?} ended with exit code {code}")]
    ExitCode {
        command: String,
        code: i32,
        /// It says that it could start no process, of which it may have so many.
        no_process_of: Option<u32>,
        /// Secrets that it mounts and that were not given. Such a mount is left out, as in BuildKit.
        not_given: Vec<NotGiven>,
    },
    #[error("{command:?} was killed by signal {signal}")]
    Signal { command: String, signal: i32 },
    #[error("{command:?} ended with exit code {code}: it ran into its limit of {limit}")]
    Exhausted { command: String, code: i32, limit: Limit },
    /// What fails then may say so, or not.
    #[error("{reason}, with no space left on the disk of the store")]
    NoSpace { reason: Box<Error> },
    #[error("{0} is required here and was not given")]
    SecretMissing(NotGiven),
    #[error("an ssh agent for id {id:?} is required here and was not given")]
    AgentMissing { id: String },
    #[error("RUN for {platform} cannot be executed on this machine, which has no emulator registered for it")]
    ForeignPlatform { platform: String },
    /// A blob that a cache repository promised: what needs it has to be made again.
    #[error("the cache's {} cannot be had: {reason}", .loss.blob)]
    Lost { loss: Box<Loss>, reason: Box<Error> },
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Whether it is for want of space on the disk of the store.
    pub fn is_no_space(&self) -> bool {
        let is_full = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        match self {
            Self::NoSpace { .. } | Self::Store(store::Error::Full { .. }) => true,
            Self::Lost { reason, .. } => reason.is_no_space(),
            other => successors(other.source(), |&error| error.source()).any(|error| error.downcast_ref().is_some_and(is_full)),
        }
    }

    /// The blob that is not what a cache repository or the store promised, if that is all there is: what needs it can be made again.
    pub fn gone(&self) -> Option<Loss> {
        match self {
            Self::Lost { loss, .. } => Some((**loss).clone()),
            Self::Store(store::Error::Damaged { digest, .. }) => Some(Loss { blob: *digest, size: None, not: None, tried: None }),
            _ => None,
        }
    }

    /// What to do about it, where that can be said.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::SecretMissing(secret) => Some(secret.remedy()),
            Self::AgentMissing { .. } => Some("start an ssh agent and pass --ssh default, or list it in `ssh` of the service".to_owned()),
            Self::ForeignPlatform { .. } => {
                Some("install qemu-user-static, or use FROM --platform=$BUILDPLATFORM for the stages that RUN".to_owned())
            }
            Self::Exhausted { limit: Limit::Processes, .. } => Some("more are allowed by `processes` in [build] of brik.toml".to_owned()),
            Self::Exhausted { limit: Limit::Memory, .. } => Some("more is allowed by `memory` in [build] of brik.toml".to_owned()),
            Self::ExitCode { no_process_of: Some(most), .. } => {
                Some(format!("it may have run into its limit of {most} processes: `processes` in [build] of brik.toml"))
            }
            Self::ExitCode { not_given, .. } if !not_given.is_empty() => Some(format!("it mounts {}", NotGiven::all(not_given))),
            Self::ExitCode { code: 127, .. } => Some("127 means that the command was not found in the image".to_owned()),
            Self::ExitCode { code: 137, .. } => Some("137 means that it was killed, often for want of memory".to_owned()),
            Self::Registry(error) => error.advice().or_else(|| self.limit()),
            _ => self.limit(),
        }
    }

    /// How to raise the limit of this process that it ran into, if that is it.
    fn limit(&self) -> Option<String> {
        let errno = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref() {
            Some(errno) => Some(*errno),
            None => error.downcast_ref().and_then(Errno::from_io_error),
        };
        let limit = successors(self.source(), |&error| error.source()).filter_map(errno).find_map(limit);
        limit.map(|limit| format!("brik itself ran into a limit: raise {limit}"))
    }
}

/// A secret that a RUN mounts and that has no value in this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotGiven {
    pub id: String,
    /// The variable that its service takes it from, if it lists it.
    pub variable: Option<String>,
}

impl NotGiven {
    /// What to do about several: for those that are not listed it is the same.
    fn all(secrets: &[Self]) -> String {
        let (listed, unlisted): (Vec<&Self>, Vec<&Self>) = secrets.iter().partition(|secret| secret.variable.is_some());
        let groups = listed.chunks(1).chain(unlisted.chunks(unlisted.len().max(1)));
        let told = groups.map(|group| {
            let ids: Vec<String> = group.iter().map(|secret| format!("{:?}", secret.id)).collect();
            format!("secret {}, not given in this build: {}", ids.join(", "), group[0].remedy())
        });
        told.collect::<Vec<_>>().join("; and ")
    }

    fn remedy(&self) -> String {
        let Self { id, variable } = self;
        match variable {
            Some(variable) => {
                format!("the variable {variable}, which it is taken from, is not set; set it, or pass --secret id={id},src=FILE")
            }
            None => format!("pass --secret id={id},src=FILE or list it in `secrets` of the service"),
        }
    }
}

impl fmt::Display for NotGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {:?}", self.id)
    }
}

/// The limit of this process that the kernel means (setrlimit(2), cgroups(7)).
fn limit(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::MFILE => Some("`ulimit -n`, the number of open files"),
        Errno::FBIG => Some("`ulimit -f`, the size of a file"),
        Errno::NOMEM => Some("`ulimit -v`, or the memory limit of the container"),
        Errno::AGAIN => Some("`ulimit -u`, or the pids limit of the container"),
        _ => None,
    }
}

/// An error and the Step that it came from, where it came from one.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    pub step: Option<StepId>,
    /// The service whose push or export failed.
    pub service: Option<String>,
    pub error: Box<Error>,
}

impl Failure {
    pub fn of_step(step: StepId, error: impl Into<Error>) -> Self {
        Self { step: Some(step), service: None, error: Box::new(error.into()) }
    }

    pub fn of_service(service: &str, error: impl Into<Error>) -> Self {
        Self { step: None, service: Some(service.to_owned()), error: Box::new(error.into()) }
    }
}
