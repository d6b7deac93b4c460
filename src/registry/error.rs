//! What can go wrong between brik and a registry. Never holds a credential's value: only where it came from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;

use super::{Reply, Unusable};
use crate::oci::{Digest, Platform};

/// What brik was doing, and with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The registry as the user writes it, or the mirror, or the host of an `ADD`.
    pub registry: String,
    /// Empty where no repository is concerned.
    pub repository: String,
    /// `push blob sha256:…`, `get a token from https://…`
    pub step: String,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.repository.as_str() {
            "" => write!(f, "{}: cannot {}", self.registry, self.step),
            repository => write!(f, "{}/{repository}: cannot {}", self.registry, self.step),
        }
    }
}

/// What a registry was shown. Displayed as the source, and never the value: `$REGISTRY_TOKEN`, `no credentials`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub source: Option<String>,
    /// What was configured for it besides, and could not be shown.
    pub unusable: Vec<Unusable>,
}

impl Shown {
    /// The rest of a sentence.
    fn rest(&self) -> String {
        let all: Vec<String> = self.unusable.iter().map(Unusable::to_string).collect();
        let other = if self.source.is_some() { "others" } else { "some" };
        if all.is_empty() { String::new() } else { format!("; {other} are configured and cannot be used: {}", all.join("; ")) }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.as_deref().unwrap_or("no credentials"))
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    #[error("{at}: the host name {host} does not resolve")]
    #[diagnostic(code(brik::registry::dns), help("check the spelling of the host and the machine's DNS"))]
    Dns { at: Box<At>, host: String },
    #[error("{at}: nothing listens at {host} (connection refused)")]
    #[diagnostic(code(brik::registry::refused), help("check that the registry runs and that the port is right"))]
    Refused { at: Box<At>, host: String },
    #[error("{at}: TLS with {host} failed: {reason}")]
    #[diagnostic(
        code(brik::registry::tls),
        help(
            "for a private certificate authority set `ca` in [registries.\"HOST\"], for a registry that speaks plain http `insecure = true`"
        )
    )]
    Tls { at: Box<At>, host: String, reason: String },
    #[error("{at}: no connection to {host}: {reason}")]
    #[diagnostic(code(brik::registry::connect))]
    Connect { at: Box<At>, host: String, reason: String },
    #[error("{at}: the connection broke: {reason}")]
    #[diagnostic(code(brik::registry::interrupted), help("try again: what has arrived is not sent twice"))]
    Interrupted { at: Box<At>, reason: String },
    /// A copy failed where the blob comes from; where it goes to is not to blame.
    #[error("{at}: its source fails: {error}")]
    #[diagnostic(code(brik::registry::source))]
    Source { at: Box<At>, error: Box<Error> },
    /// Nobody wants it any more.
    #[error("{at}: stopped")]
    #[diagnostic(code(brik::registry::stopped))]
    Stopped { at: Box<At> },
    #[error("{at}: no byte moved for {seconds} s")]
    #[diagnostic(code(brik::registry::silent), help("a registry that needs longer gets it by `registry_timeout` in [build]"))]
    Silent { at: Box<At>, seconds: u64 },
    #[error("{at}: only {bytes} bytes came in {seconds} s")]
    #[diagnostic(code(brik::registry::stalled), help("is the network this slow? `registry_timeout` in [build] lets brik wait longer"))]
    Stalled { at: Box<At>, bytes: u64, seconds: u64 },
    #[error("{at}: no whole answer within {seconds} s")]
    #[diagnostic(code(brik::registry::slow), help("a registry that needs longer gets it by `registry_timeout` in [build]"))]
    Slow { at: Box<At>, seconds: u64 },
    /// No credentials where some are needed, or the ones given are not accepted.
    #[error("{at}: not authorised with {credentials} (status {status}: {reply}){}", credentials.rest())]
    #[diagnostic(code(brik::registry::unauthorized))]
    Unauthorized {
        at: Box<At>,
        status: u16,
        credentials: Box<Shown>,
        reply: Reply,
        #[help]
        help: String,
    },
    /// Who we are is known, and is not allowed to do this.
    #[error("{at}: denied with {credentials} (status {status}: {reply}){}", credentials.rest())]
    #[diagnostic(code(brik::registry::denied))]
    Denied {
        at: Box<At>,
        status: u16,
        credentials: Box<Shown>,
        reply: Reply,
        #[help]
        help: String,
    },
    /// Another host, which the registry led to: what is for the registry is not for that one.
    #[error("{at}: {} led to {host}, which refuses (status {status}: {reply})", at.registry)]
    #[diagnostic(
        code(brik::registry::elsewhere),
        help("no credentials go there: try again, since such addresses expire, or ask who runs the registry or a proxy before it")
    )]
    Elsewhere { at: Box<At>, host: String, status: u16, reply: Reply },
    #[error("{at}: not found (status {status}: {reply})")]
    #[diagnostic(code(brik::registry::not_found), help("check the name; some registries answer so to who may not see it"))]
    NotFound { at: Box<At>, status: u16, reply: Reply },
    #[error("{at}: the registry limits requests (status {status}: {reply}{})", asked(*wait))]
    #[diagnostic(code(brik::registry::rate_limited), help("wait a little, or log in: anonymous limits are lower"))]
    RateLimited {
        at: Box<At>,
        status: u16,
        reply: Reply,
        /// What it asks for by `Retry-After`.
        wait: Option<Duration>,
    },
    #[error("{at}: the registry answered with status {status}: {reply}")]
    #[diagnostic(code(brik::registry::status), help("try again later, or ask who runs the registry or a proxy before it"))]
    Status { at: Box<At>, status: u16, reply: Reply },
    #[error("{at}: the registry allows no deletes (status {status}: {reply})")]
    #[diagnostic(code(brik::registry::no_delete))]
    NoDelete {
        at: Box<At>,
        status: u16,
        reply: Reply,
        #[help]
        help: String,
    },
    #[error("{at}: expected {expected}, got {got}")]
    #[diagnostic(code(brik::registry::garbage), help("is this the address of a registry, and is no proxy or login page in between?"))]
    Garbage { at: Box<At>, expected: &'static str, got: String },
    #[error("{at}: the answer (status {status}) has no valid {header} header")]
    #[diagnostic(code(brik::registry::header), help("is this the address of a registry, and is no proxy or login page in between?"))]
    Header { at: Box<At>, status: u16, header: &'static str },
    #[error("{at}: expected {expected}, got content with {actual}")]
    #[diagnostic(code(brik::registry::digest), help("the content was damaged on its way or in the registry; nothing of it is used"))]
    WrongDigest { at: Box<At>, expected: Digest, actual: String },
    #[error("{at}: expected {expected} bytes, got {actual}")]
    #[diagnostic(code(brik::registry::size), help("the content was damaged on its way or in the registry; nothing of it is used"))]
    WrongSize { at: Box<At>, expected: u64, actual: u64 },
    #[error("{at}: larger than {limit} bytes")]
    #[diagnostic(code(brik::registry::too_large), help("is this the address of a registry, and is no proxy or login page in between?"))]
    TooLarge { at: Box<At>, limit: u64 },
    #[error("{at}: the image has the Docker schema 1 format, which is obsolete and cannot be verified")]
    #[diagnostic(code(brik::registry::schema1), help("push the image again with a current tool, or use a newer tag"))]
    Schema1 { at: Box<At> },
    #[error("{at}: no image for {wanted}; there is {}", list(available))]
    #[diagnostic(code(brik::registry::platform))]
    NoPlatform { at: Box<At>, wanted: Platform, available: Vec<Platform> },
    #[error("{at}: the token server {realm} is not https, so no credentials go there")]
    #[diagnostic(
        code(brik::registry::insecure_realm),
        help("if nobody listens on the way to it, set `insecure = true` in [registries.\"HOST\"] for its own host")
    )]
    InsecureRealm { at: Box<At>, realm: String },
    #[error("{at}: more than {limit} redirects")]
    #[diagnostic(code(brik::registry::redirects), help("is this the address of a registry, and is no proxy or login page in between?"))]
    Redirects { at: Box<At>, limit: usize },
    /// `mirror`: what it answered, or why it was not asked again.
    #[error("{origin}; its mirror was asked first: {mirror}")]
    #[diagnostic(code(brik::registry::mirror))]
    Mirror { mirror: Arc<Error>, origin: Box<Error> },
    #[error("cannot read {}: {source}", path.display())]
    #[diagnostic(code(brik::registry::read))]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write what {registry} sends: {source}")]
    #[diagnostic(code(brik::registry::write))]
    Write { registry: String, source: std::io::Error },
    #[error("{} is no PEM file of certificates: {reason}", path.display())]
    #[diagnostic(code(brik::registry::ca))]
    Ca { path: PathBuf, reason: String },
    #[error("invalid address {address:?}: {reason}")]
    #[diagnostic(code(brik::registry::address))]
    Address { address: String, reason: String },
    #[error("there is no place to keep credentials: neither $DOCKER_CONFIG nor $HOME is set")]
    #[diagnostic(code(brik::registry::login_place), help("set DOCKER_CONFIG to a directory"))]
    NoLoginFile,
    #[error("{file} is not readable as a docker configuration, and is left as it is: {reason}")]
    #[diagnostic(code(brik::registry::login_damaged), help("repair it, or move it away"))]
    DamagedLoginFile { file: String, reason: String },
    #[error("cannot write {file}: {source}")]
    #[diagnostic(
        code(brik::registry::login_file),
        help("set DOCKER_CONFIG to a directory that can be written: docker and brik read and write config.json there")
    )]
    LoginFile { file: String, source: std::io::Error },
    #[error("the credential helper {program}, which {file} names, {reason}")]
    #[diagnostic(code(brik::registry::helper), help("install or repair it, or remove `credsStore` and `credHelpers` from the file"))]
    Helper { program: String, file: String, reason: String },
    #[error("cannot start the network runtime: {0}")]
    #[diagnostic(code(brik::registry::runtime))]
    Runtime(std::io::Error),
}

impl Error {
    /// Whether the registry says that there is no such thing (and not that it is out of reach).
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Mirror { origin, .. } => origin.is_not_found(),
            _ => false,
        }
    }

    /// What to do about it, where that can be said.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Source { error, .. } => error.advice(),
            Self::Mirror { mirror, origin } if mirror.is_not_found() => match origin.is_unreachable() {
                true => Some("check the name, of which the mirror has nothing; the registry itself is out of reach".to_owned()),
                false => origin.advice(),
            },
            Self::Mirror { mirror, origin } => {
                let both: Vec<String> =
                    [origin.advice(), mirror.advice().map(|advice| format!("for the mirror: {advice}"))].into_iter().flatten().collect();
                (!both.is_empty()).then(|| both.join("; "))
            }
            error => error.help().map(|help| help.to_string()),
        }
    }

    /// Where nothing, or next to nothing, came.
    pub(super) fn silent_at(&self) -> Option<&At> {
        match self {
            Self::Silent { at, .. } | Self::Stalled { at, .. } => Some(at),
            Self::Source { error, .. } => error.silent_at(),
            _ => None,
        }
    }

    /// Whether it is the registry that does not answer, rather than what it answers.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Stalled { .. } | Self::Slow { .. } => true,
            Self::Mirror { origin, .. } => origin.is_gone(),
            other => other.is_unreachable(),
        }
    }

    /// Whether the registry was never reached: asking it other things will fail in the same way.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Dns { .. } | Self::Refused { .. } | Self::Tls { .. } | Self::Connect { .. } => true,
            Self::Mirror { origin, .. } => origin.is_unreachable(),
            _ => false,
        }
    }
}

fn asked(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!("; it asks to wait {:.0} s", wait.as_secs_f64().ceil()))
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none at all".to_owned();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
