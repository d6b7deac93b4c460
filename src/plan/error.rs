//! What can be wrong with a Dockerfile beyond its syntax, and with what it asks for.

use std::ops::Range;
use std::path::PathBuf;

use crate::config::Network;
use crate::dockerfile::WordError;
use crate::oci::Platform;

/// A fault and the bytes of the Dockerfile that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    pub dockerfile: PathBuf,
    pub span: Range<usize>,
    pub kind: Box<ErrorKind>,
}

#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    #[error("{0}")]
    Word(#[from] WordError),
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    #[error("empty platform value from expression {0}")]
    BlankPlatform(String),
    #[error("target stage {name:?} could not be found")]
    UnknownTarget { name: String, stages: Vec<String> },
    #[error("invalid stage index {0}")]
    StageIndex(String),
    #[error("cannot copy from stage {from:?}, it needs to be defined before current stage {stage:?}")]
    StageLater { from: String, stage: String },
    #[error("stages need each other: {}", .0.join(" -> "))]
    StageCycle(Vec<String>),
    #[error("{0}")]
    Reference(#[from] crate::oci::ReferenceError),
    #[error("{0}")]
    Platform(#[from] crate::oci::PlatformError),
    /// `near`: what of brik.toml and this Dockerfile is called almost so.
    #[error("{name}: {reason}")]
    Base { name: String, reason: String, near: Option<String> },
    /// `built`: the platforms that the service has.
    #[error("{name}: service {service} is not built for {}", listed(.missing))]
    NotBuilt { name: String, service: String, missing: Vec<Platform>, built: Vec<Platform> },
    #[error("{name}: {reason}")]
    Download { name: String, reason: String },
    #[error("{0}")]
    Git(#[from] crate::source::GitRefError),
    #[error("unsupported context source {scheme}")]
    ContextScheme { scheme: String },
    #[error("{0}")]
    Source(#[from] crate::source::Error),
    #[error("cannot look up {owner:?}: {place} has no /etc/passwd")]
    NamedOwner { owner: String, place: &'static str },
    #[error("{0}")]
    Mode(#[from] super::mode::ModeError),
    #[error("{0}")]
    Mount(#[from] crate::dockerfile::MountError),
    #[error("{0}")]
    Port(#[from] crate::dockerfile::PortError),
    #[error("invalid signal: {0}")]
    Signal(String),
    #[error("ONBUILD {trigger}: {}", .errors.first().map(ToString::to_string).unwrap_or_default())]
    Trigger { trigger: String, errors: Vec<crate::dockerfile::SyntaxError> },
    #[error("{0}")]
    Instruction(String),
    #[error("the Dockerfile takes more than {limit} bytes of variables and history for its stages and instructions")]
    TooMuch { limit: usize },
    #[error("RUN --network=host is refused: `network` in [build] is {:?}", .network.name())]
    HostNetwork { network: Network },
    #[error("{what} is not supported by this version of brik")]
    Unsupported { what: String, instead: &'static str },
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn help(&self) -> Option<String> {
        match &*self.kind {
            ErrorKind::UnknownTarget { stages, .. } if !stages.is_empty() => Some(format!("the stages are: {}", stages.join(", "))),
            ErrorKind::Base { near: Some(near), .. } => Some(near.clone()),
            ErrorKind::BlankBase(_) => Some("give the ARG a default before the first FROM, or set it in `args`".to_owned()),
            // One that has none could not be planned itself.
            ErrorKind::NotBuilt { service, missing, built, .. } if !built.is_empty() => {
                let all: Vec<String> = built.iter().chain(missing).map(|platform| format!("\"{platform}\"")).collect();
                Some(format!("write platforms = [{}] in [services.{service}]", all.join(", ")))
            }
            ErrorKind::NamedOwner { .. } => Some("name the owner by numbers, as in 1000:1000".to_owned()),
            ErrorKind::Mount(error) => error.help(),
            ErrorKind::Port(_) => Some("write a port, as in 8080 or 53/udp, or a range, as in 8000-8010".to_owned()),
            ErrorKind::Signal(_) => Some("write a number or a name, as in 9, SIGKILL or RTMIN+3".to_owned()),
            ErrorKind::TooMuch { .. } => Some("keep large values in files; they are copied to every RUN after them".to_owned()),
            ErrorKind::Unsupported { instead, .. } => Some((*instead).to_owned()),
            ErrorKind::HostNetwork { .. } => Some("leave the flag out, or set `network` in [build] of brik.toml to \"host\"".to_owned()),
            ErrorKind::ContextScheme { .. } => {
                Some("a context is a directory, docker-image://, oci-layout://, service:, a git repository or an http(s) URL".to_owned())
            }
            ErrorKind::Source(crate::source::Error::NotFound { path, .. }) if has_scheme(path) => {
                Some("if this is to be a URL: ADD takes http, https, git and ssh, and COPY none".to_owned())
            }
            ErrorKind::Source(crate::source::Error::NotFound { leads_to: Some(target), .. }) => {
                Some(format!("it is a link, to {target} of the context: no link leads out of that"))
            }
            ErrorKind::Source(crate::source::Error::NotFound { .. }) => {
                Some("the path is relative to the context; .dockerignore may exclude it".to_owned())
            }
            _ => None,
        }
    }
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a path of a context was written as a URL: `/file:/etc` or `/ext::sh`.
fn has_scheme(path: &str) -> bool {
    let scheme = path.trim_start_matches('/').split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_was_to_be_a_url_is_told_which_urls_there_are() {
        for (path, url) in [("/file:/etc", true), ("/ext::sh", true), ("/dir/a:b", false), ("/a", false), ("/c:x", false)] {
            let kind = Box::new(ErrorKind::Source(crate::source::Error::NotFound { path: path.to_owned(), leads_to: None }));
            let help = Error { dockerfile: PathBuf::new(), span: 0..0, kind }.help().unwrap();
            assert_eq!(help.contains("https, git and ssh"), url, "{path}: {help}");
        }
    }
}
