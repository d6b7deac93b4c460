//! Blobs that go up: look, mount, and only then upload, in one streamed PUT from disk. Who sends one twice is asked twice.
//!
//! The spec lets a registry name any address to upload to. One of another host or scheme is used, and hears no credentials, and a 401 from
//! there is the end: its address holds what it needs (a signed URL). So does containerd; skopeo sends its token there, too.

use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::io::{InspectReader, ReaderStream};

use super::auth::Scopes;
use super::http::{Failure, Http, Payload, silent};
use super::manifests::content_digest;
use super::pull::{exists, look_up};
use super::redirect::location;
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Descriptor, Digest, Reference};

/// Reads of 1 MiB: twice as fast as 4 KiB ones, measured.
const READ: usize = 1 << 20;
/// Sources that are worth a request each.
const MAX_MOUNTS: usize = 4;
const MOUNT_TRIES: u32 = 2;
/// How long an upload goes on after nobody wants it any more.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// How a blob came to be where it was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// Taken over from another repository of the same registry; no byte moved.
    Mounted,
    Uploaded,
}

/// What a registry says to the offer of a blob.
#[derive(Debug)]
pub enum Offer {
    /// It has the blob in this repository now: no byte of it is needed. And the blob's size in bytes, where it has told that.
    Has(Pushed, Option<u64>),
    Wants(Upload),
}

/// Where an upload continues, if a mount that was refused has opened one.
#[derive(Debug)]
pub struct Upload(pub(super) Option<Url>);

impl Client {
    /// Offers a blob to the repository of `target`, which may have it or mount it. `mount_from` are repositories that may have it, best
    /// first; those of other registries are passed over.
    pub fn offer_blob(&self, target: &Reference, digest: &Digest, mount_from: &[Reference]) -> Result<Offer, Error> {
        self.offer(target, digest, mount_from, true)
    }

    /// The same for a blob that the repository probably lacks: it is looked for only where a mount was refused.
    pub fn offer_new_blob(&self, target: &Reference, digest: &Digest, mount_from: &[Reference]) -> Result<Offer, Error> {
        self.offer(target, digest, mount_from, false)
    }

    fn offer(&self, target: &Reference, digest: &Digest, mount_from: &[Reference], look_first: bool) -> Result<Offer, Error> {
        let session = self.origin(target)?;
        let sources = mount_from.iter().filter(|source| source.registry == target.registry && source.repository != target.repository);
        let mut sources: Vec<&str> = sources.map(|source| source.repository.as_str()).collect();
        sources.dedup();
        sources.truncate(MAX_MOUNTS);
        self.block(Push { session: &session, digest: *digest }.offer(&sources, look_first))
    }

    /// Uploads what an offer was answered with. `body` is the file that it is in, `progress` hears how many bytes of it this attempt has
    /// sent.
    ///
    /// # Errors
    /// [`Error::Stopped`] soon after `stop` holds.
    pub fn upload_blob(
        &self,
        target: &Reference,
        blob: &Descriptor,
        body: &Path,
        upload: Upload,
        progress: &dyn Fn(u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let session = self.origin(target)?;
        let file = FileBody { path: body, size: blob.size, progress };
        let push = Push { session: &session, digest: blob.digest };
        self.block(push.unless(stop, push.upload(upload.0, &file)))
    }
}

/// A blob on its way to a repository.
pub(super) struct Push<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) digest: Digest,
}

impl Push<'_> {
    async fn offer(&self, sources: &[&str], look_first: bool) -> Result<Offer, Error> {
        let is_there = async || look_up(self.session, &self.digest, &self.scopes()).await;
        if look_first && let Some(size) = is_there().await? {
            return Ok(Offer::Has(Pushed::Existed, size));
        }
        let mut upload = None;
        for source in sources {
            match self.mount(source).await {
                Mount::Done => {
                    self.session.http.counters.mount();
                    return Ok(Offer::Has(Pushed::Mounted, None));
                }
                Mount::UploadInstead(url) => upload = Some(url),
                Mount::Refused => {}
            }
        }
        if !look_first
            && !sources.is_empty()
            && let Some(size) = is_there().await?
        {
            return Ok(Offer::Has(Pushed::Existed, size));
        }
        Ok(Offer::Wants(Upload(upload)))
    }

    pub(super) fn scopes(&self) -> Scopes {
        Scopes::push(&self.session.repository)
    }

    pub(super) fn at(&self) -> At {
        self.session.at(format!("push blob {}", self.digest))
    }

    /// Mounting is an offer: whatever is wrong with it shows again, and is told, when the blob is uploaded.
    async fn mount(&self, source: &str) -> Mount {
        let mut call = self.session.call(Method::POST, "blobs/uploads/", self.at());
        call.url.query_pairs_mut().append_pair("mount", &self.digest.to_string()).append_pair("from", source);
        let scopes = self.scopes().and_pull(source);
        let http = self.session.http;
        match http.retrying(MOUNT_TRIES, async || self.session.attempt(&call, &scopes).await).await {
            Ok(response) if response.status() == StatusCode::CREATED => Mount::Done,
            Ok(response) => location(response.headers(), response.url()).map_or(Mount::Refused, Mount::UploadInstead),
            Err(_) => Mount::Refused,
        }
    }

    /// What `upload` comes to, or [`Error::Stopped`] soon after `stop` holds.
    pub(super) async fn unless(&self, stop: &dyn Fn() -> bool, upload: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut upload = pin!(upload);
        loop {
            if stop() {
                return Err(Error::Stopped { at: Box::new(self.at()) });
            }
            if let Ok(done) = timeout(STOP_WITHIN, upload.as_mut()).await {
                return done;
            }
        }
    }

    /// POST and PUT, both again from the start if either fails. `upload` is a session that a mount has opened.
    async fn upload(&self, mut upload: Option<Url>, file: &FileBody<'_>) -> Result<(), Error> {
        let (http, scopes) = (self.session.http, self.scopes());
        let mut failed = 0;
        loop {
            let Err(failure) = self.attempt(upload.take(), &scopes, Payload::File(file)).await else { return Ok(()) };
            failed += 1;
            http.pause(failed, self.session.tries(), failure).await.map_err(|failure| self.session.error(failure))?;
            // The answer may have been all that was lost.
            if exists(self.session, &self.digest, &scopes).await? {
                return Ok(());
            }
        }
    }

    /// Uploads the whole blob, once, to a session that was opened before or to one of its own.
    pub(super) async fn attempt(&self, upload: Option<Url>, scopes: &Scopes, body: Payload<'_>) -> Result<(), Failure> {
        let url = match upload {
            Some(url) => url,
            None => open(self.session, scopes, self.at()).await?,
        };
        let mut call = self.session.call_url(Method::PUT, url, self.at());
        call.url.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        call.payload = body;
        match self.session.attempt(&call, scopes).await {
            Ok(response) => self.stored(&response, &call.at).map_err(Failure::from),
            // The session is gone, or was never known to the node that we reached: a new one may fare better.
            Err(Failure::Refused(gone)) if gone.reply.code == "BLOB_UPLOAD_UNKNOWN" || gone.reply.code == "BLOB_UPLOAD_INVALID" => {
                Err(Error::Interrupted { at: Box::new(self.at()), reason: format!("the upload session is lost ({})", gone.reply) }.into())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the whole blob, and no other, was stored. Some registries say so by a 204; containerd takes that, too.
    fn stored(&self, response: &Response, at: &At) -> Result<(), Error> {
        match content_digest(response, at)? {
            Some(actual) if actual == self.digest => Ok(()),
            None if response.status() == StatusCode::NO_CONTENT => Ok(()),
            None => expect_stored(response, at),
            Some(actual) => Err(Error::WrongDigest { at: Box::new(at.clone()), expected: self.digest, actual: actual.to_string() }),
        }
    }
}

/// Whether a PUT was answered as the spec has it where content is stored. Other successes are those of a login page, say, unless they
/// name the digest.
pub(super) fn expect_stored(response: &Response, at: &At) -> Result<(), Error> {
    let status = response.status();
    let wrong =
        || Error::Garbage { at: Box::new(at.clone()), expected: "status 201 (created)", got: format!("status {}", status.as_u16()) };
    (status == StatusCode::CREATED).then_some(()).ok_or_else(wrong)
}

enum Mount {
    Done,
    UploadInstead(Url),
    Refused,
}

/// Opens an upload session (one attempt): where it continues.
pub(super) async fn open(session: &Session<'_>, scopes: &Scopes, at: At) -> Result<Url, Failure> {
    let call = session.call(Method::POST, "blobs/uploads/", at);
    let response = session.attempt(&call, scopes).await?;
    let status = response.status().as_u16();
    location(response.headers(), response.url()).ok_or_else(|| Error::Header { at: Box::new(call.at), status, header: "Location" }.into())
}

/// A request body that is read from disk as the network takes it.
pub(super) struct FileBody<'a> {
    path: &'a Path,
    /// In bytes; the file has to be exactly so long.
    pub(super) size: u64,
    progress: &'a dyn Fn(u64),
}

impl FileBody<'_> {
    /// Sends the request with this body. There is no limit on the whole, only on silence.
    pub(super) async fn send(&self, request: RequestBuilder, http: &Http, at: &At) -> Result<reqwest::Result<Response>, Error> {
        let unreadable = |source| Error::Read { path: self.path.to_owned(), source };
        let file = tokio::fs::File::open(self.path).await.map_err(unreadable)?;
        let actual = file.metadata().await.map_err(unreadable)?.len();
        if actual != self.size {
            return Err(Error::WrongSize { at: Box::new(at.clone()), expected: self.size, actual });
        }
        let (sender, mut sent) = mpsc::unbounded_channel();
        let counters = http.counters.clone();
        let counted = InspectReader::new(file.take(self.size), move |bytes: &[u8]| {
            counters.up(bytes.len());
            // Nobody listens any more once the answer is there.
            let _ = sender.send(bytes.len() as u64);
        });
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(counted, READ));
        let mut answer = pin!(request.body(body).send());
        let mut silence = pin!(sleep_until(Instant::now() + http.policy.silence));
        let mut total = 0;
        let patience = |total| if total < self.size { http.policy.silence } else { http.policy.digestion() };
        std::future::poll_fn(|cx| {
            // First: what it has sent until it is answered counts, too.
            let answer = answer.as_mut().poll(cx);
            while let Poll::Ready(Some(bytes)) = sent.poll_recv(cx) {
                total += bytes;
                (self.progress)(total);
                silence.as_mut().reset(Instant::now() + patience(total));
            }
            if let Poll::Ready(answer) = answer {
                return Poll::Ready(Ok(answer));
            }
            silence.as_mut().poll(cx).map(|()| Err(silent(at, patience(total))))
        })
        .await
    }
}
