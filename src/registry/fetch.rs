//! `ADD https://…`: a plain download. Nothing of a registry's credentials is sent.

use std::io::Write;

use reqwest::header::{CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::connector::host;
use super::http::{Call, Failure, Http, Payload};
use super::repeated::secrets_of_url;
use super::{At, Client, Error, Shown};

/// What the (last) answer said besides its body. Headers are as they were sent.
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
        self.block(Download { http: self.http(), call, out, size: 0, etag: None }.run())
    }
}

struct Download<'a> {
    http: &'a Http,
    call: Call<'a>,
    out: &'a mut dyn Write,
    /// What is written already.
    size: u64,
    /// The strong validator (RFC 9110 §8.8.3) of what is written: without one a broken body cannot be resumed.
    etag: Option<HeaderValue>,
}

impl Download<'_> {
    async fn run(mut self) -> Result<FetchResponse, Error> {
        let mut failed = 0;
        loop {
            let failure = match self.attempt().await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            failed += 1;
            let tries = if self.size == 0 || self.etag.is_some() { u32::MAX } else { failed };
            self.http.pause(failed, tries, failure).await.map_err(|failure| failure.into_error(Shown::default))?;
        }
    }

    async fn attempt(&mut self) -> Result<FetchResponse, Failure> {
        if let Some(etag) = self.etag.clone().filter(|_| self.size > 0) {
            let range = HeaderValue::try_from(format!("bytes={}-", self.size));
            self.call.headers.extend(range.ok().map(|range| (RANGE, range)));
            self.call.headers.insert(IF_RANGE, etag);
        }
        let mut response = self.http.once(&self.call, None).await.map_err(|failure| self.told(failure))?;
        if self.size > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            let at = Box::new(self.call.at.clone());
            return Err(Error::Garbage { at, expected: "the rest of the file", got: "the whole of it, or another".to_owned() }.into());
        }
        self.etag = response.headers().get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned();
        while let Some(chunk) = self.http.chunk(&mut response, &self.call.at).await? {
            self.size += chunk.len() as u64;
            self.out.write_all(&chunk).map_err(|source| self.unwritable(source))?;
        }
        self.out.flush().map_err(|source| self.unwritable(source))?;
        Ok(FetchResponse {
            status: response.status().as_u16(),
            last_modified: text(&response, LAST_MODIFIED),
            content_disposition: text(&response, CONTENT_DISPOSITION),
            etag: text(&response, ETAG),
            final_url: response.url().to_string(),
            size: self.size,
        })
    }

    /// What the server said, without what of the address is not told.
    fn told(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(mut refusal) => {
                let reply = std::mem::take(&mut refusal.reply);
                refusal.reply = secrets_of_url(&self.call.url).iter().fold(reply, |reply, secret| reply.without(secret));
                Failure::Refused(refusal)
            }
            broken => broken,
        }
    }

    fn unwritable(&self, source: std::io::Error) -> Error {
        Error::Write { registry: self.call.at.registry.clone(), source }
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
