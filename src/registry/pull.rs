//! Blobs that come down: streamed, verified, resumed where a connection broke.

use std::io::Write;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::auth::Scopes;
use super::http::Failure;
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Descriptor, Digest, Hasher, Reference};

/// So much between two breaks is progress, and earns a new set of attempts.
const PROGRESS: u64 = 1 << 20;

impl Client {
    /// Whether the registry itself (never a mirror) has a blob in this repository.
    pub fn blob_exists(&self, reference: &Reference, digest: &Digest) -> Result<bool, Error> {
        let session = self.origin(reference)?;
        self.block(exists(&session, digest, &Scopes::pull(&session.repository)))
    }

    /// Whether the registry itself has a blob in this repository, of the size that it should have as far as the registry tells.
    pub fn blob_is_there(&self, reference: &Reference, blob: &Descriptor) -> Result<bool, Error> {
        let session = self.origin(reference)?;
        let Some(size) = self.block(look_up(&session, &blob.digest, &Scopes::pull(&session.repository)))? else { return Ok(false) };
        match size.filter(|size| *size != blob.size) {
            None => Ok(true),
            Some(actual) => {
                let at = session.at(format!("look up blob {}", blob.digest));
                Err(Error::WrongSize { at: Box::new(at), expected: blob.size, actual })
            }
        }
    }

    /// The same, and certain: where the registry tells no size, or another, the blob is read.
    ///
    /// # Errors
    /// [`Error::WrongSize`] or [`Error::WrongDigest`] where it is not as long as that.
    pub fn blob_is_as_long(&self, reference: &Reference, blob: &Descriptor) -> Result<bool, Error> {
        let session = self.origin(reference)?;
        match self.block(look_up(&session, &blob.digest, &Scopes::pull(&session.repository)))? {
            None => Ok(false),
            Some(Some(size)) if size == blob.size => Ok(true),
            Some(_) => self.pull_blob(reference, blob, &mut std::io::sink()).map(|_| true),
        }
    }

    /// Writes a blob to `out`, mirror first; returns the name of the mirror if the end of it came from there. On an error what was written
    /// is to be thrown away: digest and size are known only at the end.
    pub fn pull_blob(&self, reference: &Reference, blob: &Descriptor, out: &mut dyn Write) -> Result<Option<String>, Error> {
        let mut pull = Pull { blob, out, hasher: Hasher::new(), written: 0 };
        let mirror = self.block(self.mirrored(reference, async |session: &Session<'_>| {
            pull.from(session).await?;
            Ok(session.mirror())
        }))?;
        let Pull { hasher, out, .. } = pull;
        out.flush().map_err(|source| Error::Write { registry: reference.registry.clone(), source })?;
        let actual = hasher.finish();
        if actual == blob.digest {
            return Ok(mirror);
        }
        let at = self.origin(reference)?.at(step(&blob.digest));
        Err(Error::WrongDigest { at: Box::new(at), expected: blob.digest, actual: actual.to_string() })
    }

    /// A blob of at most `limit` bytes: a config, a table of contents.
    pub fn read_blob(&self, reference: &Reference, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        if blob.size > limit {
            let at = self.origin(reference)?.at(step(&blob.digest));
            return Err(Error::TooLarge { at: Box::new(at), limit });
        }
        let mut bytes = Vec::new();
        self.pull_blob(reference, blob, &mut bytes)?;
        Ok(bytes)
    }
}

pub(super) fn step(digest: &Digest) -> String {
    format!("read blob {digest}")
}

pub(super) async fn exists(session: &Session<'_>, digest: &Digest, scopes: &Scopes) -> Result<bool, Error> {
    Ok(look_up(session, digest, scopes).await?.is_some())
}

/// A blob's size in bytes, if the registry tells it; `None` where there is no blob.
pub(super) async fn look_up(session: &Session<'_>, digest: &Digest, scopes: &Scopes) -> Result<Option<Option<u64>>, Error> {
    let call = session.call(Method::HEAD, &format!("blobs/{digest}"), session.at(format!("look up blob {digest}")));
    match session.send(&call, scopes).await {
        // Where a redirect led to a page for people, nothing is known of the blob.
        Ok(response) if is_page(&response) => {
            Err(Error::Garbage { at: Box::new(call.at), expected: "a blob", got: "an HTML page".to_owned() })
        }
        Ok(response) => {
            let size = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            // No blob that is worth a question is empty: it is the length of an answer without a body.
            Ok(Some(size.filter(|size| *size > 0)))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_page(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// A blob on its way. What is written stays written, whichever connection or endpoint it came by: the digest judges the whole.
struct Pull<'a> {
    blob: &'a Descriptor,
    out: &'a mut dyn Write,
    hasher: Hasher,
    written: u64,
}

impl Pull<'_> {
    async fn from(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let scopes = Scopes::pull(&session.repository);
        let at = session.at(step(&self.blob.digest));
        let mut failed = 0;
        loop {
            let before = self.written;
            let Err(failure) = self.attempt(session, &scopes, &at).await else { return Ok(()) };
            failed = if self.written - before >= PROGRESS { 1 } else { failed + 1 };
            session.http.pause(failed, session.tries(), failure).await.map_err(|failure| session.error(failure))?;
        }
    }

    async fn attempt(&mut self, session: &Session<'_>, scopes: &Scopes, at: &At) -> Result<(), Failure> {
        let mut call = session.call(Method::GET, &format!("blobs/{}", self.blob.digest), at.clone());
        if self.written > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", self.written));
            call.headers = HeaderMap::from_iter(range.ok().map(|range| (RANGE, range)));
        }
        let mut response = session.attempt(&call, scopes).await?;
        let mut skip = self.written - starts_at(&response, self.written, at)?;
        while let Some(chunk) = session.chunk(&mut response, at).await? {
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= known as u64;
            self.take(&chunk[known..], session)?;
            if self.written > self.blob.size {
                return Err(self.wrong_size(at).into());
            }
        }
        match self.written == self.blob.size {
            true => Ok(()),
            false => Err(self.wrong_size(at).into()),
        }
    }

    fn take(&mut self, bytes: &[u8], session: &Session<'_>) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|source| Error::Write { registry: session.at("").registry, source })
    }

    fn wrong_size(&self, at: &At) -> Error {
        Error::WrongSize { at: Box::new(at.clone()), expected: self.blob.size, actual: self.written }
    }
}

/// The offset of a response's first byte: what was asked for (206), or 0 where the server does not know ranges.
fn starts_at(response: &Response, asked: u64, at: &At) -> Result<u64, Error> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(0);
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
    let bad = || Error::Header { at: Box::new(at.clone()), status: response.status().as_u16(), header: "Content-Range" };
    start.filter(|start| *start <= asked).ok_or_else(bad)
}
