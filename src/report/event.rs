//! What a run says. The names are the JSON contract of `--progress json`: adding a variant or a field keeps [`VERSION`],
//! renaming or removing one raises it.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::oci::{Digest, Reference};

/// Version of the JSON events, said in their first line: `{"type":"start","version":1,…}`.
pub const VERSION: u32 = 1;

/// One thing that happened. Emitted unredacted; hence no `Debug` outside tests.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[cfg_attr(test, derive(Debug))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The plan stands: what may run.
    Planned {
        services: Vec<String>,
        steps: u64,
    },
    /// Something that is good to know.
    Notice {
        message: String,
    },
    /// Something that may be wrong.
    Warning {
        message: String,
        /// The file that it is about, as the user names it.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The line in that file, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    /// Why the run fails. Of a run that fails before its plan stands, all that follows the first line.
    Error {
        /// As `brik explain` knows it.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        message: String,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<String>,
        /// The file that it is about, as the user names it.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The line in that file, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    /// Which rung of the sandbox ladder is used; once a run.
    Sandbox {
        description: String,
    },
    /// A Step begins: its cache is asked, then it runs.
    StepStarted {
        id: u64,
        /// Every Service that needs this Step; it runs once for all of them.
        services: Vec<String>,
        /// As in `[api build 3/7] RUN npm ci`.
        name: String,
        /// Why it is not cached, where that is known by now.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What a RUN wrote: bytes cut anywhere where it is emitted, a line where it is rendered.
    StepOutput {
        id: u64,
        stream: Stream,
        /// One line, without its line feed; what is no UTF-8 is replaced.
        #[serde(rename = "text", serialize_with = "lossy")]
        #[schemars(with = "String")]
        bytes: Vec<u8>,
    },
    /// What a Step wrote after its first lines is left out, but for what follows: its last lines, where it failed. Before it has ended.
    OutputClipped {
        id: u64,
        /// Left out.
        bytes: u64,
    },
    /// A Step has ended.
    StepFinished {
        id: u64,
        outcome: Outcome,
        seconds: f64,
    },
    /// `bytes` of the Layer (or config) have been moved so far, of `total` where that is known.
    LayerProgress {
        /// The Service that pushes, or the repository that is pulled from.
        service: String,
        transfer: Transfer,
        #[schemars(with = "String")]
        digest: Digest,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// When all of it is here: the mirror that it came from, by host, if it came from one.
        #[serde(skip_serializing_if = "Option::is_none")]
        mirror: Option<String>,
    },
    /// A tag of a Service is where it should be, or cannot be.
    PushFinished {
        service: String,
        #[schemars(with = "String")]
        reference: Reference,
        outcome: PushOutcome,
    },
    /// Everything that was asked for a Service is done, on all its platforms.
    ServiceFinished {
        service: String,
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        digest: Option<Digest>,
        seconds: f64,
        /// Steps, of all its stages, that did not run.
        hits: u64,
        /// Steps that ran.
        misses: u64,
    },
    /// All images are being written to a place of `--output`.
    ExportStarted {
        destination: String,
    },
    ExportFinished {
        destination: String,
        success: bool,
        seconds: f64,
    },
    /// The last event of a run whose plan stands.
    Finished {
        success: bool,
        seconds: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// How a Step or a Service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Cached,
    Built,
    Failed,
    /// Stopped because of another failure or of a signal.
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    Pushed,
    /// The tag already pointed at the digest.
    Unchanged,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    Pull,
    Push,
}

/// What the cache was worth to a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CacheUse {
    /// No Step ran.
    Hit,
    /// Every Step ran.
    Miss,
    Partial,
}

impl CacheUse {
    /// Of the numbers of Steps that did not run and that ran.
    pub fn of(hits: u64, misses: u64) -> Self {
        match (hits, misses) {
            (_, 0) => Self::Hit,
            (0, _) => Self::Miss,
            _ => Self::Partial,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Partial => "PARTIAL",
        }
    }
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Built => "built",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl PushOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pushed => "pushed",
            Self::Unchanged => "unchanged",
            Self::Failed => "push failed",
        }
    }
}

impl Event {
    /// The free text, in which a secret could stand. Names, references and digests are checked where they are read.
    pub(super) fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Notice { message } | Self::Warning { message, .. } => vec![message],
            Self::Error { message, help, .. } => std::iter::once(message).chain(help).collect(),
            Self::Sandbox { description } => vec![description],
            Self::StepStarted { name, reason, .. } => std::iter::once(name).chain(reason).collect(),
            Self::Planned { .. }
            | Self::StepOutput { .. }
            | Self::OutputClipped { .. }
            | Self::StepFinished { .. }
            | Self::LayerProgress { .. }
            | Self::PushFinished { .. }
            | Self::ServiceFinished { .. }
            | Self::ExportStarted { .. }
            | Self::ExportFinished { .. }
            | Self::Finished { .. } => Vec::new(),
        }
    }
}

fn lossy<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
