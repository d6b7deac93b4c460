//! A registry's no: which error it is, and what the user can do about it.

use std::time::SystemTime;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::retry::retry_after;
use super::{At, Error, Reply, Shown, Unusable};

/// An answer that is neither success nor a redirect that was followed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) at: At,
    /// Said by this host, which the one that was asked led to. Its challenges are not answered, and our credentials are not at fault.
    pub(super) led_to: Option<String>,
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

    pub(super) fn into_error(self, credentials: Shown) -> Error {
        let (wait, is_rate_limit) = (retry_after(&self, SystemTime::now()), self.is_rate_limit());
        let (status, reply, led_to) = (self.status.as_u16(), self.reply, self.led_to);
        let help = help(&self.at, &reply, &credentials);
        let (at, credentials) = (Box::new(self.at), Box::new(credentials));
        match status {
            403 if is_rate_limit => Error::RateLimited { at, status, reply, wait },
            401 | 403 if let Some(host) = &led_to => Error::Elsewhere { at, host: host.clone(), status, reply },
            401 => Error::Unauthorized { at, status, credentials, reply, help },
            403 => Error::Denied { at, status, credentials, reply, help },
            404 => Error::NotFound { at, status, reply },
            429 => Error::RateLimited { at, status, reply, wait },
            _ => Error::Status { at, status, reply },
        }
    }
}

/// Where something is configured that cannot be used, that is mended first.
fn help(at: &At, reply: &Reply, credentials: &Shown) -> String {
    let mut all: Vec<String> = credentials.unusable.iter().map(Unusable::fix).collect();
    match &credentials.source {
        Some(source) => all.push(help_for(at, reply, source)),
        None if all.is_empty() => all.push(format!(
            "check the name (many registries answer so where there is nothing), and log in with `brik login {}`, or set \
             REGISTRY_TOKEN (and REGISTRY_USERNAME) for the configured registry",
            at.registry
        )),
        None => {}
    }
    all.join("; ")
}

/// For who has shown what is from `source`.
fn help_for(at: &At, reply: &Reply, source: &str) -> String {
    let registry = &at.registry;
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
        Refusal { at, led_to: None, status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), reply }
            .into_error(Shown { source: credentials.map(str::to_owned), unusable: Vec::new() })
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

    #[test]
    fn credentials_that_cannot_be_used_are_told_and_mended_before_anything_else() {
        let file = || "~/.docker/config.json".to_owned();
        let helper = "docker-credential-gone".to_owned();
        let unusable = vec![Unusable::HelperMissing { file: file(), helper, registry: "r.io".to_owned() }];
        for (source, expected) in [(None, "no credentials"), (Some("$REGISTRY_TOKEN"), "$REGISTRY_TOKEN")] {
            let at = At { registry: "r.io".into(), repository: "a".into(), step: "push".into() };
            let refusal =
                Refusal { at, led_to: None, status: StatusCode::UNAUTHORIZED, headers: HeaderMap::new(), reply: Reply::default() };
            let error = refusal.into_error(Shown { source: source.map(str::to_owned), unusable: unusable.clone() });
            let (text, help) = (error.to_string(), error.advice().unwrap_or_default());
            assert!(text.contains(&format!("not authorised with {expected} (status 401: no explanation); ")), "{text}");
            assert!(text.ends_with(&unusable[0].to_string()) && help.starts_with("install docker-credential-gone, or "), "{text} {help}");
            assert_eq!(help.contains("is current"), source.is_some(), "{help}");
        }
    }
}
