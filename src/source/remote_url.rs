//! URLs of remote sources, as far as they are looked into: never more than text, and never an error.

/// `https` of `https://…`, in lower case as written; `None` where there is no scheme.
pub fn scheme_of(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    (!scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(scheme)
}

pub fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The name of what a URL downloads: the last component of its decoded path, or BuildKit's `__unnamed__`.
pub fn url_file_name(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split(['?', '#']).next().and_then(|rest| rest.split_once('/')).map_or("", |(_, path)| path);
    let decoded = percent_decoded(path);
    match decoded.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// User and password of a URL, decoded, and the URL without them.
pub fn split_credentials(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    (format!("{scheme}://{host}{path}"), Some((percent_decoded(user), percent_decoded(password))))
}

/// `host` or `host:port` of a URL, or of `user@host:path`.
pub fn host_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => {
            let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
            authority.rsplit_once('@').map_or(authority, |(_, host)| host)
        }
        None => url.split_once('@').and_then(|(_, rest)| rest.split_once(':')).map_or("", |(host, _)| host),
    }
}

/// The page of a remote repository: `https://h/o/r` for `git@h:o/r.git`, `ssh://git@h:22/o/r` and the like; `None` for what lies on a disk.
pub fn web_url(remote: &str) -> Option<String> {
    let (scheme, rest) = match remote.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest.to_owned()),
        Some(("ssh" | "git" | "git+ssh" | "ssh+git", rest)) => {
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            ("https", format!("{}/{path}", host.split(':').next().unwrap_or(host)))
        }
        Some(_) => return None,
        // As scp writes it; what has a slash before the colon is a path.
        None => {
            let (login, path) = remote.split_once(':').filter(|(login, _)| !login.contains('/'))?;
            ("https", format!("{}/{}", login.rsplit_once('@').map_or(login, |(_, host)| host), path.trim_start_matches('/')))
        }
    };
    let rest = rest.rsplit_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest.as_str(), |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let page = rest.strip_suffix(".git").unwrap_or(rest);
    // A URL of another form may hold a password anywhere.
    let fits = |text: &str| !text.is_empty() && !text.contains(|c: char| c == '@' || c.is_control() || c.is_whitespace());
    page.split_once('/').filter(|(host, path)| fits(host) && fits(path)).map(|_| format!("{scheme}://{page}"))
}

/// Names and values, decoded, in order.
pub(super) fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

pub(super) fn percent_decoded(text: &str) -> String {
    let text = text.as_bytes();
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_download() {
        for (url, name) in [
            ("https://example.org/a/tool.tar.gz", "tool.tar.gz"),
            ("https://example.org/a/tool?x=/y#/z", "tool"),
            ("http://example.org/a%20b", "a b"),
            ("http://example.org/dir/", "dir"),
            ("http://example.org/a%2Fb", "b"),
            ("http://example.org/50%", "50%"),
            ("http://example.org", "__unnamed__"),
            ("http://example.org/?file=x", "__unnamed__"),
            ("http://example.org/..", "__unnamed__"),
            ("http://example.org/x%2F..", "__unnamed__"),
        ] {
            assert_eq!(url_file_name(url), name, "{url}");
        }
    }

    #[test]
    fn credentials_are_taken_out() {
        for (url, rest, credentials) in [
            ("https://h/x", "https://h/x", None),
            ("https://me:a%40b@h:1/x@y", "https://h:1/x@y", Some(("me", "a@b"))),
            ("https://token@h?q", "https://h?q", Some(("token", ""))),
            ("git@h:x", "git@h:x", None),
        ] {
            let (found, login) = split_credentials(url);
            assert_eq!((found.as_str(), login.as_ref().map(|(u, p)| (u.as_str(), p.as_str()))), (rest, credentials), "{url}");
        }
    }

    #[test]
    fn a_remote_has_a_page_however_it_is_reached() {
        for (remote, page) in [
            ("https://github.com/o/r.git", Some("https://github.com/o/r")),
            ("https://u:p@h:8443/o/r/", Some("https://h:8443/o/r")),
            ("git@github.com:o/r.git", Some("https://github.com/o/r")),
            ("ssh://git@h:22/o/r.git", Some("https://h/o/r")),
            ("git://h/o/r", Some("https://h/o/r")),
            ("/srv/r.git", None),
            ("../r", None),
            ("file:///srv/r.git", None),
            ("https://h", None),
            // What is no such URL holds a password anywhere.
            ("user:s3cr3t@host:o/r", None),
            ("https:///u:s3cr3t@h/r", None),
            ("https:u:s3cr3t@github.com/o/r", None),
            ("https://h/o\nevil=1", None),
        ] {
            assert_eq!(web_url(remote).as_deref(), page, "{remote}");
        }
    }

    #[test]
    fn the_host_is_where_it_connects_to() {
        for (url, host) in [("https://u:p@h:8/x", "h:8"), ("https://h?x", "h"), ("git@h:x/y", "h"), ("file", "")] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
