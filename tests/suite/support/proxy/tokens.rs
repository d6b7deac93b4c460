//! GHCR's token server. A token is what it allows, written out, and its number.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::super::scripted::Request;
use super::super::{PASSWORD, USER};
use super::upstream::Reply;

/// The scopes that a request to the token server asks for, with a space between them.
pub fn scopes(request: &Request) -> String {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    scopes.map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")).collect::<Vec<_>>().join(" ")
}

/// The tokens that were given out. They live until they are told otherwise.
#[derive(Default)]
pub struct Tokens {
    issued: AtomicUsize,
    /// So many of them are void.
    void: AtomicUsize,
}

impl Tokens {
    /// A token for exactly what is asked for: pulls for everybody, pushes for the user, and to the user also one for nothing, as logins ask
    /// for.
    pub fn issue(&self, request: &Request) -> Reply {
        let scopes = scopes(request);
        let known = request.header("authorization") == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let grants = |scope: &str| match scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')) {
            Some((_, "pull")) => true,
            Some((_, "pull,push")) => known,
            _ => false,
        };
        let granted = if scopes.is_empty() { known } else { scopes.split(' ').all(grants) };
        if !granted {
            return Reply::error(403, "DENIED", "requested access to the resource is denied");
        }
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        let token = URL_SAFE_NO_PAD.encode(format!("{number} {scopes}"));
        Reply::new(200).body("application/json", format!(r#"{{"token":"{token}"}}"#))
    }

    /// All tokens so far are void.
    pub fn expire(&self) {
        self.void.store(self.issued.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether the request has a token that allows it.
    pub fn allow(&self, request: &Request) -> bool {
        let Some(granted) = self.granted(request) else { return false };
        needed(request).is_none_or(|needed| granted.contains(&needed) || granted.contains(&needed.replace(":pull", ":pull,push")))
    }

    /// Whether the token of a mount may read the source, too.
    pub fn allow_mount(&self, request: &Request) -> bool {
        let source = request.target.split("from=").nth(1).unwrap_or_default().split('&').next().unwrap_or_default().replace("%2F", "/");
        self.granted(request).is_some_and(|granted| granted.contains(&format!("repository:{source}:pull")))
    }

    fn granted(&self, request: &Request) -> Option<Vec<String>> {
        let token = URL_SAFE_NO_PAD.decode(request.header("authorization").strip_prefix("Bearer ")?).ok()?;
        let token = String::from_utf8(token).ok()?;
        let (number, scopes) = token.split_once(' ')?;
        let is_valid = number.parse::<usize>().ok()? >= self.void.load(Ordering::SeqCst);
        is_valid.then(|| scopes.split(' ').map(str::to_owned).collect())
    }
}

/// 401, and where tokens are.
pub fn challenge(request: &Request) -> Reply {
    let scope = needed(request).unwrap_or_default();
    let host = request.header("host");
    let challenge = format!(r#"Bearer realm="http://{host}/token",service="ghcr.io",scope="{scope}""#);
    Reply::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge)
}

fn needed(request: &Request) -> Option<String> {
    let repository = repository(request)?;
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    Some(format!("repository:{repository}:{}", if reads { "pull" } else { "pull,push" }))
}

/// The repository that a request is about, if any.
pub fn repository(request: &Request) -> Option<&str> {
    let path = request.target.strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|part| path.find(part)).min()?;
    Some(&path[..end])
}
