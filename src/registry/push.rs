//! Blobs that go up: look, mount, and only then upload, in one streamed PUT from disk.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::io::AsyncReadExt;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::io::{InspectReader, ReaderStream};

use super::auth::Scopes;
use super::counters::Counters;
use super::http::{Failure, Payload, SILENCE, silent};
use super::pull::exists;
use super::redirect::location;
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Descriptor, Digest, Reference};

/// Reads of 1 MiB: twice as fast as 4 KiB ones, measured.
const READ: usize = 1 << 20;
/// After the last byte a registry may hash and move the whole blob before it answers.
const DIGESTION: Duration = Duration::from_secs(600);
/// Sources that are worth a request each.
const MAX_MOUNTS: usize = 4;
const MOUNT_TRIES: u32 = 2;

/// How a blob came to be where it was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there, or another thread of this client has just put it there.
    Existed,
    /// Taken over from another repository of the same registry; no byte moved.
    Mounted,
    Uploaded,
}

/// A push that is under way or done.
type Once = Arc<OnceCell<()>>;

/// The blobs that this client pushes or has pushed, by repository: nobody sends one twice.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<(String, Digest), Once>>);

impl Uploads {
    fn cell(&self, target: &Reference, digest: Digest) -> Once {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((target.name(), digest)).or_default().clone()
    }
}

impl Client {
    /// Brings a blob from the file `body` into the repository of `target`. `mount_from` are repositories that may have it, best first;
    /// those of other registries are passed over. `progress` hears how many bytes of the blob this attempt has sent.
    pub fn push_blob(
        &self,
        target: &Reference,
        blob: &Descriptor,
        body: &Path,
        mount_from: &[Reference],
        progress: &dyn Fn(u64),
    ) -> Result<Pushed, Error> {
        let session = self.origin(target)?;
        let file = FileBody { path: body, size: blob.size, progress };
        let sources = mount_from.iter().filter(|source| source.registry == target.registry && source.repository != target.repository);
        let mut sources: Vec<&str> = sources.map(|source| source.repository.as_str()).collect();
        sources.dedup();
        sources.truncate(MAX_MOUNTS);
        let mut pushed = Pushed::Existed;
        let cell = self.uploads().cell(target, blob.digest);
        self.block(cell.get_or_try_init(async || {
            pushed = Push { session: &session, digest: blob.digest, file: &file }.run(&sources).await?;
            Ok(())
        }))?;
        Ok(pushed)
    }
}

struct Push<'a> {
    session: &'a Session<'a>,
    digest: Digest,
    file: &'a FileBody<'a>,
}

impl Push<'_> {
    async fn run(&self, sources: &[&str]) -> Result<Pushed, Error> {
        let scopes = Scopes::push(&self.session.repository);
        if exists(self.session, &self.digest, &scopes).await? {
            return Ok(Pushed::Existed);
        }
        let mut upload = None;
        for source in sources {
            match self.mount(source).await {
                Mount::Done => {
                    self.session.http.counters.mount();
                    return Ok(Pushed::Mounted);
                }
                Mount::UploadInstead(url) => upload = Some(url),
                Mount::Refused => {}
            }
        }
        self.upload(upload, &scopes).await?;
        Ok(Pushed::Uploaded)
    }

    fn at(&self) -> At {
        self.session.at(format!("push blob {}", self.digest))
    }

    /// Mounting is an offer: whatever is wrong with it shows again, and is told, when the blob is uploaded.
    async fn mount(&self, source: &str) -> Mount {
        let mut call = self.session.call(Method::POST, "blobs/uploads/", self.at());
        call.url.query_pairs_mut().append_pair("mount", &self.digest.to_string()).append_pair("from", source);
        let scopes = Scopes::push(&self.session.repository).and_pull(source);
        let http = self.session.http;
        match http.retrying(MOUNT_TRIES, async || self.session.attempt(&call, &scopes).await).await {
            Ok(response) if response.status() == StatusCode::CREATED => Mount::Done,
            Ok(response) => location(response.headers(), response.url()).map_or(Mount::Refused, Mount::UploadInstead),
            Err(_) => Mount::Refused,
        }
    }

    /// POST and PUT, both again from the start if either fails. `upload` is a session that a mount has opened.
    async fn upload(&self, mut upload: Option<Url>, scopes: &Scopes) -> Result<(), Error> {
        let http = self.session.http;
        let mut failed = 0;
        loop {
            let Err(failure) = self.attempt(upload.take(), scopes).await else { return Ok(()) };
            failed += 1;
            let Some(wait) = http.policy.delay(failed, &failure) else {
                return Err(self.session.error(failure));
            };
            tokio::time::sleep(wait).await;
            http.counters.retry();
            // The answer may have been all that was lost.
            if exists(self.session, &self.digest, scopes).await? {
                return Ok(());
            }
        }
    }

    async fn attempt(&self, upload: Option<Url>, scopes: &Scopes) -> Result<(), Failure> {
        let url = match upload {
            Some(url) => url,
            None => open(self.session, scopes, self.at()).await?,
        };
        let mut call = self.session.call_url(Method::PUT, url, self.at());
        call.url.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        call.payload = Payload::File(self.file);
        match self.session.attempt(&call, scopes).await {
            Ok(_) => Ok(()),
            // The session is gone, or was never known to the node that we reached: a new one may fare better.
            Err(Failure::Refused(gone)) if gone.reply.code == "BLOB_UPLOAD_UNKNOWN" || gone.reply.code == "BLOB_UPLOAD_INVALID" => {
                Err(Error::Interrupted { at: Box::new(self.at()), reason: format!("the upload session is lost ({})", gone.reply) }.into())
            }
            Err(failure) => Err(failure),
        }
    }
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
    pub(super) async fn send(&self, request: RequestBuilder, counters: Arc<Counters>, at: &At) -> Result<reqwest::Result<Response>, Error> {
        let unreadable = |source| Error::Read { path: self.path.to_owned(), source };
        let file = tokio::fs::File::open(self.path).await.map_err(unreadable)?;
        let actual = file.metadata().await.map_err(unreadable)?.len();
        if actual != self.size {
            return Err(Error::WrongSize { at: Box::new(at.clone()), expected: self.size, actual });
        }
        let (sender, mut sent) = mpsc::unbounded_channel();
        let counted = InspectReader::new(file.take(self.size), move |bytes: &[u8]| {
            counters.up(bytes.len());
            // Nobody listens any more once the answer is there.
            let _ = sender.send(bytes.len() as u64);
        });
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(counted, READ));
        let mut answer = pin!(request.body(body).send());
        let mut silence = pin!(sleep_until(Instant::now() + SILENCE));
        let mut total = 0;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(bytes)) = sent.poll_recv(cx) {
                total += bytes;
                (self.progress)(total);
                silence.as_mut().reset(Instant::now() + if total < self.size { SILENCE } else { DIGESTION });
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            silence.as_mut().poll(cx).map(|()| Err(silent(at, if total < self.size { SILENCE } else { DIGESTION })))
        })
        .await
    }
}
