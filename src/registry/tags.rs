//! The tags of a repository (distribution spec, "Listing Tags").

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::auth::Scopes;
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Reference, validate_tag};

/// Tags that are asked for at once. A registry may send fewer, and one that knows no pages sends all.
const PAGE: usize = 1000;
/// Bytes of one page.
const MAX_PAGE: usize = 16 << 20;
/// Bytes of all tags, that nobody has to hold more.
const MAX_TAGS: usize = 64 << 20;

#[derive(Deserialize)]
struct Page {
    /// `null` where there is none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, sorted; none where there is no repository. Asks the registry itself and never a mirror.
    pub fn tags(&self, repository: &Reference) -> Result<BTreeSet<String>, Error> {
        let session = self.origin(repository)?;
        match self.block(list(&session)) {
            Err(error) if error.is_not_found() => Ok(BTreeSet::new()),
            listed => listed,
        }
    }
}

async fn list(session: &Session<'_>) -> Result<BTreeSet<String>, Error> {
    let at = session.at("list tags");
    let scopes = Scopes::pull(&session.repository);
    let mut call = session.call(Method::GET, "tags/list", at.clone());
    call.url.set_query(Some(&format!("n={PAGE}")));
    let (mut tags, mut bytes) = (BTreeSet::new(), 0);
    loop {
        let (response, body) = session.read(&call, &scopes, MAX_PAGE).await?;
        let page: Page = serde_json::from_slice(&body).map_err(|_| garbage(&at, "something else"))?;
        let before = tags.len();
        for tag in page.tags.unwrap_or_default().into_iter().filter(|tag| validate_tag(tag).is_ok()) {
            bytes += tag.len();
            tags.insert(tag);
        }
        if bytes > MAX_TAGS {
            return Err(Error::TooLarge { at: Box::new(at), limit: MAX_TAGS as u64 });
        }
        let Some(next) = next(response.headers(), &call.url) else { return Ok(tags) };
        // The address of another host would be asked without credentials, and a page that says nothing new leads nowhere.
        if !session.owns(&next) || tags.len() == before {
            return Err(garbage(&at, "a next page that does not go on"));
        }
        call = session.call_url(Method::GET, next, at.clone());
    }
}

/// The address with the relation `next` (RFC 8288 §3).
fn next(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let next = links.filter_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| matches!(parameter.trim().to_ascii_lowercase().as_str(), r#"rel="next""# | "rel=next");
        parameters.split(';').any(is_next).then(|| from.join(target).ok()).flatten()
    });
    next.into_iter().next()
}

fn garbage(at: &At, got: &str) -> Error {
    Error::Garbage { at: Box::new(at.clone()), expected: "a list of tags", got: got.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        let from: Url = "https://r.io/v2/a/tags/list?n=2".parse().unwrap();
        for (links, expected) in [
            (&[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#][..], Some("https://r.io/v2/a/tags/list?last=b&n=2")),
            (&["<https://r.io/x>; rel=next"], Some("https://r.io/x")),
            (&[r#"<?last=b>; title="x"; rel="NEXT""#], Some("https://r.io/v2/a/tags/list?last=b")),
            (&[r#"</p>; rel="prev", </n>; rel="next""#], Some("https://r.io/n")),
            (&[r#"</p>; rel="prev""#, r#"</n>; rel="next""#], Some("https://r.io/n")),
            (&["/v2/x; rel=next", "<", "</x>", "<http://[>; rel=next"], None),
            (&[], None),
        ] {
            let headers: HeaderMap = links.iter().map(|link| (LINK, link.parse().unwrap())).collect();
            assert_eq!(next(&headers, &from).map(String::from).as_deref(), expected, "{links:?}");
        }
    }
}
