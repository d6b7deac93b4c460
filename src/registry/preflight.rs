//! Whether a push would be allowed, and a mount taken: asked before anything is built, and nothing of it stays.

use reqwest::{Method, StatusCode, Url};

use super::auth::Scopes;
use super::push::open;
use super::redirect::location;
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Digest, Reference};

impl Client {
    /// Opens an upload session in the repository of `reference` and cancels it. The error says which credentials were used and what to do.
    pub fn preflight(&self, reference: &Reference) -> Result<(), Error> {
        let session = self.origin(reference)?;
        let scopes = Scopes::push(&session.repository);
        let at = session.at("push (asked before the build)");
        self.block(async {
            let opened = session.http.retrying(session.tries(), async || open(&session, &scopes, at.clone()).await).await;
            cancel(&session, opened.map_err(|failure| session.error(failure))?, &scopes, at).await;
            Ok(())
        })
    }

    /// Whether the registry takes a blob over from the repository `from` to that of `target`, which has it already: so nothing is changed.
    pub fn may_mount(&self, target: &Reference, digest: &Digest, from: &Reference) -> Result<bool, Error> {
        let session = self.origin(target)?;
        let scopes = Scopes::push(&session.repository).and_pull(&from.repository);
        let mut call = session.call(Method::POST, "blobs/uploads/", session.at("mount a blob (asked before the build)"));
        call.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", &from.repository);
        self.block(async {
            let response = session.send(&call, &scopes).await?;
            if response.status() == StatusCode::CREATED {
                return Ok(true);
            }
            if let Some(upload) = location(response.headers(), response.url()) {
                cancel(&session, upload, &scopes, call.at.clone()).await;
            }
            Ok(false)
        })
    }
}

/// GHCR knows no DELETE; sessions that nobody continues are swept by the registry.
async fn cancel(session: &Session<'_>, upload: Url, scopes: &Scopes, at: At) {
    let _ = session.attempt(&session.call_url(Method::DELETE, upload, at), scopes).await;
}
