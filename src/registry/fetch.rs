//! `ADD https://…`: a plain download. Nothing of a registry's credentials is sent.

use std::io::Write;

use reqwest::header::{CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use reqwest::{Method, Response, Url};

use super::connector::host;
use super::http::{Call, Payload};
use super::{At, Client, Error};

/// What the answer said besides its body. Headers are as they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    pub status: u16,
    pub last_modified: Option<String>,
    pub content_disposition: Option<String>,
    pub etag: Option<String>,
    /// Behind the redirects: its last segment names the file where no header does.
    pub final_url: String,
    /// Of the body, in bytes.
    pub size: u64,
}

impl Client {
    /// Writes what lies at `url` (http or https) to `out`. `headers` go to the host of `url`, not to where it redirects. On an error what
    /// was written is to be thrown away.
    pub fn fetch(&self, url: &str, headers: &[(String, String)], out: &mut dyn Write) -> Result<FetchResponse, Error> {
        let address = |reason: String| Error::Address { address: without_secrets(url), reason };
        let parsed = Url::parse(url).map_err(|error| address(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(address("only http and https can be fetched".to_owned()));
        }
        let at = At { registry: host(&parsed), repository: String::new(), step: format!("fetch {}", without_secrets(url)) };
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let parts = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, mut value) = parts.ok_or_else(|| address(format!("{name:?} and its value make no HTTP header")))?;
            value.set_sensitive(true);
            sent.append(name, value);
        }
        let call = Call { method: Method::GET, url: parsed, headers: sent, ca: None, payload: Payload::Nothing, at };
        let http = self.http();
        self.block(async {
            let answered = http.retrying(u32::MAX, async || http.once(&call, None).await).await;
            let mut response = answered.map_err(|failure| failure.into_error(&call.at, || None))?;
            let mut size = 0;
            while let Some(chunk) = http.chunk(&mut response, &call.at).await? {
                size += chunk.len() as u64;
                out.write_all(&chunk).map_err(|source| Error::Write { registry: call.at.registry.clone(), source })?;
            }
            out.flush().map_err(|source| Error::Write { registry: call.at.registry.clone(), source })?;
            Ok(FetchResponse {
                status: response.status().as_u16(),
                last_modified: text(&response, LAST_MODIFIED),
                content_disposition: text(&response, CONTENT_DISPOSITION),
                etag: text(&response, ETAG),
                final_url: response.url().to_string(),
                size,
            })
        })
    }
}

fn text(response: &Response, name: HeaderName) -> Option<String> {
    Some(String::from_utf8_lossy(response.headers().get(name)?.as_bytes()).into_owned())
}

/// An address for messages: user info and query, where tokens travel, are cut off.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "of ADD".to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}
