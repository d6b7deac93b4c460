//! The Dockerfile front end: text in, values out; no file is ever opened. It reads what BuildKit's stable frontend (1.26) reads.
//!
//! | file | holds |
//! |---|---|
//! | `parse`, `reader` | the whole file: lines to instructions to stages |
//! | `ast` | the result, and which words are expanded |
//! | `span` | byte ranges |
//! | `lines`, `directives`, `heredoc` | physical to logical lines, directives, here-documents |
//! | `request`, `arguments`, `flags`, `json` | the parts of an instruction |
//! | `instruction`, `stage`, `copy`, `run`, `mount`, `healthcheck`, `onbuild`, `settings` | the instructions |
//! | `word`, `lexer`, `pattern` | expansion of variables |
//! | `lint` | BuildKit's build checks |
//! | `duration`, `port`, `size`, `csv`, `suggest` | the small notations |
//! | `error`, `usage` | what can be wrong, and what is right |

mod arguments;
pub mod ast;
mod copy;
mod csv;
mod directives;
mod duration;
mod error;
mod flags;
mod healthcheck;
mod heredoc;
mod instruction;
mod json;
mod lexer;
mod lines;
pub mod lint;
mod mount;
mod onbuild;
mod parse;
mod pattern;
mod port;
mod reader;
mod request;
mod run;
mod settings;
mod size;
mod span;
mod stage;
mod suggest;
mod usage;
mod word;

pub use ast::{Dockerfile, Instruction, InstructionKind, Stage, Word};
pub use csv::CsvError;
pub use duration::{DurationError, parse_duration};
pub use error::{SyntaxError, SyntaxErrorKind};
pub use heredoc::HeredocError;
pub use mount::{Mount, MountError, MountType, Sharing};
pub use parse::{parse, parse_trigger};
pub use pattern::PatternError;
pub use port::{PortError, parse_ports};
pub use span::Span;
pub use word::{Environment, Expander, Expansion, WordError, WordErrorKind};
