//! A registry's no: which error it is, and what the user can do about it.

use std::time::SystemTime;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::retry::retry_after;
use super::{At, Error, Reply};

/// An answer that is neither success nor a redirect that was followed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) at: At,
    /// Said by the host that was asked, not by one that it redirected to: only its challenges are answered.
    pub(super) own: bool,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) reply: Reply,
}

impl Refusal {
    /// Whether a 403 means 429: GitHub's secondary limit, which says so in words or, where there is no room for them, as to a HEAD, only
    /// by a `Retry-After`.
    pub(super) fn is_rate_limit(&self) -> bool {
        self.reply.is_secondary_rate_limit() || self.headers.contains_key(RETRY_AFTER)
    }

    /// `credentials` names the source that was used, if any was.
    pub(super) fn into_error(self, credentials: Option<&str>) -> Error {
        let (wait, is_rate_limit) = (retry_after(&self, SystemTime::now()), self.is_rate_limit());
        let (status, reply) = (self.status.as_u16(), self.reply);
        let help = help(&self.at, &reply, credentials);
        let at = Box::new(self.at);
        let credentials = || credentials.unwrap_or("no credentials").to_owned();
        match status {
            403 if is_rate_limit => Error::RateLimited { at, status, reply, wait },
            401 => Error::Unauthorized { at, status, credentials: credentials(), reply, help },
            403 => Error::Denied { at, status, credentials: credentials(), reply, help },
            404 => Error::NotFound { at, status, reply },
            429 => Error::RateLimited { at, status, reply, wait },
            _ => Error::Status { at, status, reply },
        }
    }
}

fn help(at: &At, reply: &Reply, credentials: Option<&str>) -> String {
    let registry = &at.registry;
    let Some(source) = credentials else {
        return format!(
            "check the name (many registries answer so where there is nothing), and log in with `brik login {registry}`, or set \
             REGISTRY_TOKEN (and REGISTRY_USERNAME) for the configured registry"
        );
    };
    if reply.message.contains("write_package") {
        return format!(
            "the package exists and is not open to {source}: on GitHub open the package's settings, \"Manage Actions access\", \
             and add this repository with the role Write (and give the workflow `permissions: packages: write`)"
        );
    }
    if registry == "ghcr.io" {
        return format!(
            "{source} needs read:packages to pull and write:packages to push (in a workflow: `permissions: packages: write`), \
             and the package must be linked to the repository"
        );
    }
    format!("check that {source} is current and may do this in {registry}/{}", at.repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, message: &str, credentials: Option<&str>) -> Error {
        let at = At { registry: "ghcr.io".into(), repository: "org/app".into(), step: "push".into() };
        let reply = Reply { code: "DENIED".into(), message: message.into() };
        Refusal { at, own: true, status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), reply }.into_error(credentials)
    }

    #[test]
    fn a_package_that_is_closed_to_the_workflow_says_how_to_open_it() {
        let error = refuse(403, "permission_denied: write_package", Some("$GITHUB_TOKEN"));
        let help = miette::Diagnostic::help(&error).map(|h| h.to_string()).unwrap_or_default();
        assert!(help.contains("Manage Actions access") && help.contains("$GITHUB_TOKEN"), "{help}");
        assert_eq!(
            error.to_string(),
            "ghcr.io/org/app: cannot push: denied with $GITHUB_TOKEN (status 403: DENIED: permission_denied: write_package)"
        );
    }

    #[test]
    fn a_wait_that_a_registry_asks_for_is_told() {
        let error = refuse(429, "retry-after: 3600s, allowed: 2000/minute", None).to_string();
        assert!(error.ends_with("; it asks to wait 3600 s)"), "{error}");
        assert!(!refuse(429, "", None).to_string().contains("wait"));
    }

    #[test]
    fn every_status_has_its_own_error() {
        assert!(matches!(refuse(401, "", None), Error::Unauthorized { .. }));
        assert!(matches!(refuse(403, "secondary rate limit", None), Error::RateLimited { .. }));
        assert!(matches!(refuse(404, "", None), Error::NotFound { .. }));
        assert!(matches!(refuse(429, "", None), Error::RateLimited { .. }));
        assert!(matches!(refuse(418, "", None), Error::Status { status: 418, .. }));
    }
}
