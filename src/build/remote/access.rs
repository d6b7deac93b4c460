//! What a service may show to servers that its sources come from: BuildKit's secrets `HTTP_AUTH_…_<host>` and `GIT_AUTH_…[.<host>]`, the
//! credentials in a URL, and an ssh agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::source::{host_of, split_credentials};

/// The value of a service's secret by its id: read when it is needed, known to the redactor before it is returned.
pub type ReadSecret<'a> = dyn Fn(&str, &str) -> Result<Option<Vec<u8>>, String> + Sync + 'a;

pub struct Access<'a> {
    pub secret: Box<ReadSecret<'a>>,
    /// Sockets of agents with the id `default`, by service.
    pub agents: BTreeMap<String, PathBuf>,
    /// Of this process: PATH, HOME, proxies and certificates are taken from it.
    pub env: &'a BTreeMap<String, String>,
}

impl Access<'_> {
    /// The `Authorization` header for a download (BuildKit's `newHTTPRequest`: the host without its port; the token wins).
    pub(super) fn for_download(&self, service: &str, url: &str) -> Result<Option<String>, String> {
        let host = host_of(url);
        let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let token = self.text(service, &format!("HTTP_AUTH_TOKEN_{host}"))?.map(|token| format!("Bearer {token}"));
        let given = match token {
            Some(token) => Some(token),
            None => self.text(service, &format!("HTTP_AUTH_HEADER_{host}"))?,
        };
        Ok(given.or_else(|| split_credentials(url).1.map(|(user, password)| basic(&user, &password))))
    }

    /// The `Authorization` header for a git remote, and the URLs that it is sent to. Credentials in the URL come first.
    pub(super) fn for_git(&self, service: &str, remote: &str) -> Result<Option<(String, String)>, String> {
        if !remote.starts_with("http") {
            return Ok(None);
        }
        let (bare, login) = split_credentials(remote);
        if let Some((user, password)) = login {
            return Ok(Some((bare, basic(&user, &password))));
        }
        let host = host_of(remote);
        for (id, is_token) in [
            (format!("GIT_AUTH_HEADER.{host}"), false),
            (format!("GIT_AUTH_TOKEN.{host}"), true),
            ("GIT_AUTH_HEADER".to_owned(), false),
            ("GIT_AUTH_TOKEN".to_owned(), true),
        ] {
            if let Some(text) = self.text(service, &id)? {
                let header = if is_token { basic("x-access-token", &text) } else { text };
                return Ok(Some((scope(&bare), header)));
            }
        }
        Ok(None)
    }

    fn text(&self, service: &str, id: &str) -> Result<Option<String>, String> {
        let Some(value) = (self.secret)(service, id)? else { return Ok(None) };
        let text = String::from_utf8(value).map_err(|_| format!("the secret {id} is not UTF-8"))?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        // It becomes a line of a request.
        match text.contains(|c: char| c.is_control()) {
            true => Err(format!("the secret {id} has control characters in it")),
            false => Ok(Some(text)),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A token is for its repository, and on GitHub also for submodules beside it (as in BuildKit and actions/checkout).
fn scope(remote: &str) -> String {
    let github = ["https://github.com/", "https://www.github.com/"].into_iter().find(|prefix| remote.starts_with(prefix));
    github.unwrap_or(remote).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access<'a>(env: &'a BTreeMap<String, String>, secrets: &'static [(&'static str, &'static str)]) -> Access<'a> {
        let find = move |service: &str, id: &str| {
            let found = secrets.iter().find(|(name, _)| service == "app" && *name == id);
            Ok(found.map(|(_, value)| value.as_bytes().to_vec()))
        };
        Access { secret: Box::new(find), agents: BTreeMap::new(), env }
    }

    #[test]
    fn the_nearest_secret_is_shown_to_its_host_only() {
        let env = BTreeMap::new();
        let access = access(
            &env,
            &[
                ("HTTP_AUTH_HEADER_h", "Custom x"),
                ("HTTP_AUTH_TOKEN_t", "tok"),
                ("HTTP_AUTH_HEADER_t", "no"),
                ("HTTP_AUTH_TOKEN_bad", "a\nb"),
            ],
        );
        for (url, expected) in [
            ("https://h/x", Some("Custom x")),
            ("https://h:8443/x", Some("Custom x")),
            ("https://t/x", Some("Bearer tok")),
            ("https://other/h", None),
            ("https://me:pw@other/", Some("Basic bWU6cHc=")),
        ] {
            assert_eq!(access.for_download("app", url).unwrap().as_deref(), expected, "{url}");
        }
        assert_eq!(access.for_download("other service", "https://h/x").unwrap(), None);
        assert!(access.for_download("app", "https://bad/").unwrap_err().contains("control characters"));
    }

    #[test]
    fn git_is_shown_a_header_where_it_belongs() {
        let env = BTreeMap::new();
        let access = access(&env, &[("GIT_AUTH_TOKEN", "tok\n"), ("GIT_AUTH_HEADER.h:1", "Bearer z")]);
        let token = "Basic eC1hY2Nlc3MtdG9rZW46dG9r";
        for (remote, expected) in [
            ("https://github.com/a/b.git", Some(("https://github.com/", token))),
            ("https://x/a/b.git", Some(("https://x/a/b.git", token))),
            ("https://h:1/b.git", Some(("https://h:1/b.git", "Bearer z"))),
            ("https://me:pw@x/b.git", Some(("https://x/b.git", "Basic bWU6cHc="))),
            ("git@github.com:a/b", None),
            ("git://x/b", None),
        ] {
            let found = access.for_git("app", remote).unwrap();
            assert_eq!(found.as_ref().map(|(scope, header)| (scope.as_str(), header.as_str())), expected, "{remote}");
        }
    }
}
