//! Credentials that are configured and cannot be used: where, why, and what mends it. No byte of them is ever told.

/// None of it fails a build: brik goes on without, as whoever else it knows to be, or as nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("{file} is not readable as a docker configuration: {reason}")]
    File { file: String, reason: String },
    /// `registry`: the host, or one with a path.
    #[error("the entry for {registry} in {file} {flaw}")]
    Entry { file: String, registry: String, flaw: Flaw },
    #[error("{file} names the credential helper {helper} for {registry}, which is not on PATH")]
    HelperMissing { file: String, helper: String, registry: String },
    #[error("the credential helper {helper}, which {file} names for {registry}, failed: {reason}")]
    HelperFailed { file: String, helper: String, registry: String, reason: String },
}

/// What is wrong with an entry of `auths`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("has an `auth` that is not the base64 of user:password")]
    Auth,
    #[error("has no user name or no password")]
    Half,
}

impl Unusable {
    /// What mends it.
    pub fn fix(&self) -> String {
        match self {
            Self::File { file, .. } => format!("repair {file}, or move it away and log in again with `brik login`"),
            Self::Entry { file, registry, .. } => match registry.split_once('/') {
                None => format!("log in again with `brik login {registry}`, which replaces the entry"),
                Some(_) => format!("repair the entry for {registry} in {file}, or remove it"),
            },
            Self::HelperMissing { file, helper, registry } => {
                format!("install {helper}, or {}", replace(file, registry))
            }
            Self::HelperFailed { file, helper, registry, .. } => {
                format!("see that {helper} works for {registry}, or {}", replace(file, registry))
            }
        }
    }
}

/// How to do without a helper.
fn replace(file: &str, registry: &str) -> String {
    format!("take it out of `credHelpers` and `credsStore` in {file} and log in with `brik login {registry}`")
}
