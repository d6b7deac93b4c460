//! How brik talks while it works: [`Event`]s in; text for people, plain lines or JSON out, on stderr.
//!
//! ```text
//! any thread ── Reporter::emit ─→ queue ─→ filter ─────────────→ plain | tty | grouped | json | quiet ─→ writer
//!                                (bounded) (redact, cut in lines, clip) (one rendering thread)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `event` | what can be said: the vocabulary, and the JSON that scripts read |
//! | `reporter` | the door for everybody who works, and the one rendering thread |
//! | `queue` | the bounded way between them |
//! | `redact`, `forms` | secrets, and the spellings in which they leak |
//! | `panic` | what a fault of brik itself says |
//! | `filter` | redaction, sanitising and line cutting of every event, before any renderer sees it |
//! | `clip` | how much of a Step's output is shown |
//! | `sanitise` | output of a RUN without what would move the cursor |
//! | `plain`, `grouped`, `json`, `quiet`, `tty` | the renderers |
//! | `live`, `frame` | the state of `tty`, and the lines that it draws of it |
//! | `forge` | CI services: how their logs fold, and what is a command to them |
//! | `label`, `transcript`, `transfers` | a Step's name in parts, its output in one piece, blobs on their way as one pull or push |
//! | `terminal`, `text` | what the terminal can do; widths, sizes and times as text |
//! | `tally` | what the events of a run add up to |
//! | `summary`, `metadata`, `dashboard` | results, which `cli` prints on stdout and writes to files |

mod clip;
mod dashboard;
mod event;
mod filter;
mod forge;
mod forms;
mod frame;
mod grouped;
mod json;
mod label;
mod live;
mod metadata;
mod panic;
mod plain;
mod queue;
mod quiet;
mod redact;
mod reporter;
mod sanitise;
mod summary;
mod tally;
mod terminal;
mod text;
mod transcript;
mod transfers;
mod tty;

pub use dashboard::{Dashboard, ServiceReport};
pub use event::{CacheUse, Event, Outcome, PushOutcome, Stream, Transfer, VERSION};
pub use forge::{Forge, command};
pub use json::progress_schema;
pub use metadata::{ImageMetadata, metadata_by_service, metadata_flat};
pub use panic::redact_panics;
pub use redact::{RedactingStream, Redactor};
pub use reporter::{Mode, Reporter};
pub use sanitise::sanitise;
pub use summary::{Row, Summary};
pub use tally::Tally;
pub use terminal::{Size, Terminal, color_on_stderr};
pub use text::bytes as bytes_as_text;

/// What can go wrong before anything is said. While brik talks, nothing fails: a closed stderr is silence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the rendering thread")]
    Thread(#[source] std::io::Error),
    #[error("a secret of {bytes} bytes cannot be kept out of the output: at most {limit} bytes are supported")]
    SecretTooLarge { bytes: usize, limit: usize },
    #[error("the secrets of this run cannot be searched for in its output: {reason}")]
    Secrets { reason: String },
}
