//! Where a redirect leads, and who may hear a secret there (RFC 9110 §15.4).

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

/// As curl and the browsers have it.
pub(super) const MAX_REDIRECTS: usize = 10;

/// The next address of a read that is redirected; `None` where the answer is the end.
pub(super) fn next(method: &Method, status: StatusCode, headers: &HeaderMap, from: &Url) -> Option<Url> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    (reads && redirects).then(|| location(headers, from)).flatten()
}

/// The `Location` header, relative or absolute, read from the address that sent it.
pub(super) fn location(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let mut to = from.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    // A registry behind a proxy that ends TLS often believes that it speaks plain http.
    if from.scheme() == "https" && to.scheme() == "http" && from.host() == to.host() && to.port() == from.port() {
        to.set_scheme("https").ok()?;
    }
    matches!(to.scheme(), "http" | "https").then_some(to)
}

/// Secrets for one may be shown to the other.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_relative_or_absolute_and_keep_tls() {
        for (from, to, expected) in [
            ("https://r.io/v2/a/", "/v2/b?x=1", Some("https://r.io/v2/b?x=1")),
            ("https://r.io/v2/a/", "c", Some("https://r.io/v2/a/c")),
            ("https://r.io/a", "http://r.io/b", Some("https://r.io/b")),
            ("https://r.io/a", "http://s3.io/b", Some("http://s3.io/b")),
            ("https://r.io/a", "//cdn.io/b", Some("https://cdn.io/b")),
            ("https://r.io/a", "file:///etc/passwd", None),
            ("https://r.io/a", "http://[", None),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
            let next = next(&Method::GET, StatusCode::TEMPORARY_REDIRECT, &headers, &from.parse().unwrap());
            assert_eq!(next.map(String::from).as_deref(), expected, "{from} {to}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert!(same_origin(&url("https://a/x"), &url("https://a:443/y")));
        for other in ["http://a/", "https://a:444/", "https://b.a/"] {
            assert!(!same_origin(&url("https://a/"), &url(other)), "{other}");
        }
    }
}
