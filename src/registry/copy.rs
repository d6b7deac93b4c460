//! A blob from one repository to another, through memory: for layers whose mount is refused. Nothing touches the disk.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use reqwest::{Method, RequestBuilder, Response};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_util::io::{InspectReader, ReaderStream};

use super::auth::Scopes;
use super::http::{Http, Payload, silent};
use super::pull::{exists, step};
use super::push::{Push, Upload};
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Descriptor, Hasher, Reference};

/// So much is in memory between source and target, in bytes.
const BUFFER: usize = 1 << 20;

impl Client {
    /// Copies a blob from the repository of `from` (mirror first) to that of `to`, of any two registries, as it arrives. `upload` is what
    /// the offer to `to` was answered with. What fails on the way is begun again from the start. `progress` hears how many bytes this
    /// attempt has sent.
    ///
    /// A blob that is not what `blob` says never gets its last byte, so `to` never has it.
    ///
    /// # Errors
    /// [`Error::Source`] where `from` does not give the blob, or gives another; [`Error::Stopped`] soon after `stop` holds; all others
    /// speak of `to`.
    pub fn copy_blob(
        &self,
        from: &Reference,
        to: &Reference,
        blob: &Descriptor,
        upload: Upload,
        progress: &dyn Fn(u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let session = self.origin(to)?;
        let push = Push { session: &session, digest: blob.digest };
        let copy = Copy { client: self, from, push: &push, blob, progress };
        self.block(push.unless(stop, copy.run(upload)))
    }
}

struct Copy<'a> {
    client: &'a Client,
    from: &'a Reference,
    push: &'a Push<'a>,
    blob: &'a Descriptor,
    progress: &'a dyn Fn(u64),
}

impl Copy<'_> {
    async fn run(&self, Upload(mut upload): Upload) -> Result<(), Error> {
        let (target, scopes) = (self.push.session, self.push.scopes());
        let mut failed = 0;
        loop {
            // The source is asked first: without it no upload has to be opened.
            let (response, at) = self.read().await.map_err(|error| from_source(&self.push.at(), error))?;
            let Self { blob, progress, .. } = *self;
            let relay = Relay { blob, progress, response: Mutex::new(Some(response)), source: at };
            let Err(failure) = self.push.attempt(upload.take(), &scopes, Payload::Relay(&relay)).await else { return Ok(()) };
            failed += 1;
            target.http.pause(failed, target.tries(), failure).await.map_err(|failure| target.error(failure))?;
            // The answer may have been all that was lost.
            if exists(target, &blob.digest, &scopes).await? {
                return Ok(());
            }
        }
    }

    /// The head of the source's answer, and who gave it.
    async fn read(&self) -> Result<(Response, At), Error> {
        let read = async |session: &Session<'_>| {
            let at = session.at(step(&self.blob.digest));
            let call = session.call(Method::GET, &format!("blobs/{}", self.blob.digest), at);
            let response = session.send(&call, &Scopes::pull(&session.repository)).await?;
            Ok((response, call.at))
        };
        self.client.mirrored(self.from, read).await
    }
}

/// A request body that is another request's answer.
pub(super) struct Relay<'a> {
    /// What the answer has to be.
    pub(super) blob: &'a Descriptor,
    progress: &'a dyn Fn(u64),
    /// Gone once it is sent.
    response: Mutex<Option<Response>>,
    source: At,
}

impl Relay<'_> {
    /// Sends the request with this body, which can be done once. There is no limit on the whole, only on silence.
    pub(super) async fn send(&self, request: RequestBuilder, http: &Http, at: &At) -> Result<reqwest::Result<Response>, Error> {
        let response = self.response.lock().unwrap_or_else(PoisonError::into_inner).take();
        let again = || Error::Interrupted { at: Box::new(at.clone()), reason: "the registry wants the blob once more".to_owned() };
        let response = response.ok_or_else(again)?;
        let (pipe, body) = tokio::io::duplex(BUFFER);
        let counters = http.counters.clone();
        let counted = InspectReader::new(body, move |bytes: &[u8]| counters.up(bytes.len()));
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(counted, BUFFER));
        let mut answer = pin!(request.body(body).send());
        let mut pumping = pin!(self.pump(response, pipe, http, at));
        // An answer ends it, also one in the midst: registries refuse early.
        let early = std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(Some(answer))),
            Poll::Pending => pumping.as_mut().poll(cx).map_ok(|()| None),
        });
        if let Some(answer) = early.await? {
            return Ok(answer);
        }
        timeout(http.policy.digestion(), answer).await.map_err(|_| silent(at, http.policy.digestion()))
    }

    /// Moves what the source sends into the request. The last piece waits until the whole is known to be right.
    async fn pump(&self, mut response: Response, mut pipe: DuplexStream, http: &Http, at: &At) -> Result<(), Error> {
        let wrong = |error| Err(from_source(at, error));
        let source = || Box::new(self.source.clone());
        let (mut hasher, mut read) = (Hasher::new(), 0);
        while let Some(chunk) = http.chunk(&mut response, &self.source).await.map_err(|error| from_source(at, error))? {
            hasher.update(&chunk);
            read += chunk.len() as u64;
            if read > self.blob.size {
                return wrong(Error::WrongSize { at: source(), expected: self.blob.size, actual: read });
            }
            if read == self.blob.size {
                let actual = hasher.clone().finish();
                if actual != self.blob.digest {
                    return wrong(Error::WrongDigest { at: source(), expected: self.blob.digest, actual: actual.to_string() });
                }
            }
            let written = timeout(http.policy.silence, pipe.write_all(&chunk)).await;
            if written.map_err(|_| silent(at, http.policy.silence))?.is_err() {
                // Nobody takes it any more: the answer says why.
                return Ok(());
            }
            (self.progress)(read);
        }
        match read == self.blob.size {
            true => Ok(()),
            false => wrong(Error::WrongSize { at: source(), expected: self.blob.size, actual: read }),
        }
    }
}

fn from_source(at: &At, error: Error) -> Error {
    Error::Source { at: Box::new(at.clone()), error: Box::new(error) }
}
