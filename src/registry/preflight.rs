//! Whether a push would be allowed, asked before anything is built.

use reqwest::Method;

use super::auth::Scopes;
use super::push::open;
use super::{Client, Error};
use crate::oci::Reference;

impl Client {
    /// Opens an upload session in the repository of `reference` and cancels it. The error says which credentials were used and what to do.
    pub fn preflight(&self, reference: &Reference) -> Result<(), Error> {
        let session = self.origin(reference)?;
        let scopes = Scopes::push(&session.repository);
        let at = session.at("push (asked before the build)");
        self.block(async {
            let opened = session.http.retrying(session.tries(), async || open(&session, &scopes, at.clone()).await).await;
            let call = |url| session.call_url(Method::DELETE, url, at.clone());
            match opened {
                // GHCR knows no DELETE; sessions that nobody continues are swept by the registry.
                Ok(upload) => _ = session.attempt(&call(upload), &scopes).await,
                Err(failure) => return Err(session.error(failure)),
            }
            Ok(())
        })
    }
}
