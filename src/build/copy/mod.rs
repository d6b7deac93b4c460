//! The writing half of COPY, ADD and WORKDIR: files that were already selected go into the mounted root of a stage, by BuildKit's rules.
//!
//! Nothing here trusts the links of an image: every path is walked one component at a time from the root's descriptor, without following
//! links in the kernel (`resolve`), so that an absolute link or `..` never leaves the root. Concurrent tampering is no concern.
//!
//! | file | does |
//! |---|---|
//! | `job` | where each match goes: file or directory, into or onto, implicit parents |
//! | `below` | the walk below a copied directory, and the directories that `--parents` keeps |
//! | `borrow` | files that are left where they are until the layer is written |
//! | `leaf` | one file, link, FIFO or device, replacing what was there |
//! | `content` | the bytes of a file, holes kept |
//! | `metadata` | owner, xattrs, mode and mtime, in the order the kernel needs |
//! | `resolve`, `directory` | paths inside the root |
//! | `mode`, `owner`, `checksum` | `--chmod`, `--chown`, `--checksum` |
//! | `loose` | heredocs and downloads as a tree |
//! | `workdir` | WORKDIR's directory |

mod below;
mod borrow;
mod checksum;
pub(in crate::build) mod content;
mod directory;
mod error;
mod job;
mod leaf;
mod loose;
mod metadata;
mod owner;
mod resolve;
#[cfg(test)]
mod testing;
mod workdir;

pub use borrow::Borrower;
pub use checksum::{parse_checksum, verify_checksum};
pub use error::{CopyError, ImagePath};
pub use job::{CopyJob, CopyStats, Unpacker, write_matches};
pub use loose::LooseFiles;
pub use metadata::OWNER_XATTR;
pub use owner::{Owner, is_number, resolve_owner};
pub use workdir::make_directory;
