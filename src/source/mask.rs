//! What of a source nobody may read: credentials in URLs and in names, and the values in a query.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::git::without_credentials;
use super::git_ref::GitRef;
use super::remote_url::scheme_of;

/// A source as history, keys and errors show it: without the user and the password of a URL, whatever its kind, and without the values in
/// the query of a download, where tokens and signatures travel.
pub fn shown_source(source: &str) -> String {
    if scheme_of(source).is_none() {
        return source.to_owned();
    }
    let url = without_credentials(source);
    match url.split_once('?') {
        Some((before, query)) if !is_repository(&url) => format!("{before}?{}", with_values(query, |_| "***".to_owned())),
        _ => url,
    }
}

/// `text` as people may read it: user and password of every URL in it and of every name (`user:password@host`), and the values in the
/// query of a URL, are as many asterisks, so that no byte after them moves. What ssh needs to log in (`git@`) stays, and so do refs of
/// git repositories and names of variables.
pub fn mask_credentials(text: &str) -> String {
    // Of URLs within URLs, what is masked decides what else is seen to be a login.
    let (mut before, mut masked) = (text.to_owned(), masked_once(text));
    while masked != before {
        before = std::mem::take(&mut masked);
        masked = masked_once(&before);
    }
    masked
}

fn masked_once(text: &str) -> String {
    let is_end = |c: char| matches!(c, '"' | '\'' | '`') || c.is_whitespace();
    let mut masked = String::with_capacity(text.len());
    for word in mask_urls(text).split_inclusive(is_end) {
        let login = login_of(word).unwrap_or(0..0);
        masked += &word[..login.start];
        masked += &"*".repeat(login.len());
        masked += &word[login.end..];
    }
    masked
}

fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        let user = user_of(after);
        let login = if before.ends_with("ssh://") { user.split(':').next().unwrap_or_default() } else { "" };
        masked += before;
        masked += login;
        masked += &"*".repeat(user.len() - login.len());
        rest = &after[user.len()..];
        let url = until_end(rest);
        if let Some((path, query)) = url.split_once('?').filter(|_| !is_repository(&format!("https://{}", url.trim_start_matches('@')))) {
            masked += path;
            masked += "?";
            masked += &with_values(query, |value| "*".repeat(value.len()));
            rest = &rest[url.len()..];
        }
    }
    masked + rest
}

/// User and password in what follows a scheme. A password that should have been percent-encoded holds what would end it: then no port
/// is where one should be.
fn user_of(url: &str) -> &str {
    let authority = &url[..url.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).unwrap_or(url.len())];
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = host.split_once(':').filter(|_| !host.starts_with('[')).map_or("", |(_, port)| port);
    if port.starts_with('$') || port.bytes().all(|b| b.is_ascii_digit()) {
        return user;
    }
    // A quote may end the text before the authority ends.
    until_end(url).rsplit_once('@').map(|(longer, _)| longer).filter(|longer| longer.len() > user.len()).unwrap_or(user)
}

fn until_end(url: &str) -> &str {
    &url[..url.find(|c: char| matches!(c, '"' | '\'' | '`' | '<' | '>' | '|' | ';') || c.is_whitespace()).unwrap_or(url.len())]
}

/// Where in a word, which holds no URL, `user:password` of `user:password@host` stands.
fn login_of(word: &str) -> Option<Range<usize>> {
    if word.contains("://") {
        return None;
    }
    let name = word.find("@sha256:").or(word.find("@sha512:")).map_or(word, |digest| &word[..digest]);
    let (login, host) = name.rsplit_once('@')?;
    let colon = login.find(':')?;
    let start = login[..colon].rfind(['=', ',', '(', '[', '{', '<', '/']).map_or(0, |at| at + 1);
    let password = &login[colon + 1..];
    let is_port = password.split_once('/').is_some_and(|(port, _)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    (start < colon && !password.is_empty() && !is_port && !is_version(host)).then_some(start..login.len())
}

/// `1`, `^1.2`, `v1.2.3-rc.1`: what follows the `@` of a package rather than that of a user.
fn is_version(text: &str) -> bool {
    let number = text.trim_end().trim_start_matches(['^', '~', 'v']);
    let number = number.split(['-', '+', '/']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    number.split('.').all(is_number) && number.parse::<Ipv4Addr>().is_err()
}

/// Whether what a URL's query says is which tree of a repository is meant.
fn is_repository(url: &str) -> bool {
    matches!(GitRef::parse(url, false), Some(Ok(_)))
}

/// A query with other values. What has no name is a value; a variable that is still to be expanded is none.
fn with_values(query: &str, change: impl Fn(&str) -> String) -> String {
    let is_variable = |value: &str| {
        let name = value.strip_prefix('$').map(|name| name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name));
        name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    let pair = |part: &str| {
        let pair = part.strip_suffix(['&', '#']).unwrap_or(part);
        let separator = &part[pair.len()..];
        let (name, value) = pair.split_once('=').map_or(("", pair), |(name, value)| (&pair[..=name.len()], value));
        let value = if value.is_empty() || is_variable(value) { value.to_owned() } else { change(value) };
        format!("{name}{value}{separator}")
    };
    query.split_inclusive(['&', '#']).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_shown_without_credentials() {
        for (source, shown) in [
            ("https://me:secret@h/x", "https://h/x"),
            ("https://h/x?token=s3cret&v=2&&e=&s3cret#token=s3cret", "https://h/x?token=***&v=***&&e=&***#token=***"),
            ("https://h/x?t=$TOKEN&u=${T}&v=a$T&w=$", "https://h/x?t=$TOKEN&u=${T}&v=***&w=***"),
            ("https://h/x.git?ref=main&subdir=a", "https://h/x.git?ref=main&subdir=a"),
            ("https://h/x.git?token=s3cret", "https://h/x.git?token=***"),
            ("dir/a@b:c", "dir/a@b:c"),
            ("dir/what?", "dir/what?"),
        ] {
            assert_eq!(shown_source(source), shown);
        }
    }

    #[test]
    fn credentials_in_a_text_are_masked_byte_by_byte() {
        for (text, expected) in [
            ("ADD http://me:p@ss@h/x /y", "ADD http://*******@h/x /y"),
            ("a https://tokén@h b://c:d@e?f@g h", "a https://******@h b://***@e?*** h"),
            ("ADD https://u@h/x?tokén=sé&v=1 /y?z=1", "ADD https://*@h/x?tokén=***&v=* /y?z=1"),
            (
                "curl \"https://h?a=b\" https://h/r.git?ref=v1 http://h/?t=$T|sh",
                "curl \"https://h?a=*\" https://h/r.git?ref=v1 http://h/?t=$T|sh",
            ),
            ("ssh://git@h git+ssh://git:pw@h git@h:x", "ssh://git@h git+ssh://git***@h git@h:x"),
            ("http://h/a@b http:// me@h", "http://h/a@b http:// me@h"),
            ("ADD HTTPS://u:hunter2pw@h/x HTTPS:/u:hunter2pw@h/x", "ADD HTTPS://***********@h/x ******************@h/x"),
            ("https://u:p/hunter2pw@h/x.git http://u:a?b#c@h:1/x", "https://*************@h/x.git http://*******@h:1/x"),
            ("https://a@u:to'p@h:65x/y", "https://********@h:65x/y"),
            ("http://h:80/a@b http://h:$P/a@b http://[::1]:80/a@b", "http://h:80/a@b http://h:$P/a@b http://[::1]:80/a@b"),
            ("mirror = \"u:hunter2pw@h:1\"", "mirror = \"***********@h:1\""),
            ("[registries.'u:p@w/d@docker.io'] me@h.io:pw@127.0.0.1/x", "[registries.'*******@docker.io'] **********@127.0.0.1/x"),
            ("COPY --from=ué:pw@h/x@sha256:00 a b", "COPY --from=******@h/x@sha256:00 a b"),
            ("FROM h:5000/a:1@sha256:00 h:5000/a@b a:1@sha512:00 :@h a:@h", "FROM h:5000/a:1@sha256:00 h:5000/a@b a:1@sha512:00 :@h a:@h"),
            ("npm i npm:a@1 x@npm:y@^1.2.3-rc.1 deno:@std/x@v2 pip@1", "npm i npm:a@1 x@npm:y@^1.2.3-rc.1 deno:@std/x@v2 pip@1"),
        ] {
            assert_eq!(mask_credentials(text), expected);
            assert_eq!(expected.len(), text.len(), "{text}");
        }
    }
}
