//! The client against a scripted server (faults, to the byte) and against Debian's docker-registry (the real thing).

mod auth;
mod copy;
mod distribution;
mod faults;
mod reads;
#[allow(dead_code, reason = "the tests of the binary use the rest")]
mod scripted;
mod strangers;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Client, ClientOptions, Credentials, Error, Offer, Pushed, RegistryOptions, RetryPolicy};
use crate::oci::{Descriptor, Digest, Reference, media_type};

/// Five attempts with waits of a millisecond.
fn options() -> ClientOptions {
    let quick = Duration::from_millis(1);
    ClientOptions { retries: RetryPolicy { base: quick, cap: quick, ..RetryPolicy::default() }, ..ClientOptions::default() }
}

fn client() -> Client {
    Client::new(options()).unwrap()
}

/// A client that knows `user` and `password` for `registry`.
fn client_as(registry: &str, user: &str, password: &str) -> Client {
    let env = [("REGISTRY_TOKEN", password), ("REGISTRY_USERNAME", user)];
    let env: BTreeMap<String, String> = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let credentials = Arc::new(Credentials::discover(env, Some(registry)));
    Client::new(ClientOptions { credentials, ..options() }).unwrap()
}

/// A registry on loopback that has to speak TLS, with a certificate that `ca` vouches for.
fn trusting(ca: &std::path::Path) -> RegistryOptions {
    RegistryOptions { ca: Some(ca.to_owned()), ..RegistryOptions::default() }
}

fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().unwrap()
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(bytes), bytes.len() as u64)
}

/// Offers a blob, and uploads it where it is wanted.
fn push_blob(
    client: &Client,
    target: &Reference,
    blob: &Descriptor,
    body: &std::path::Path,
    mount_from: &[Reference],
    progress: &dyn Fn(u64),
) -> Result<Pushed, Error> {
    match client.offer_blob(target, &blob.digest, mount_from)? {
        Offer::Has(pushed, _) => Ok(pushed),
        Offer::Wants(upload) => client.upload_blob(target, blob, body, upload, progress, &|| false).map(|()| Pushed::Uploaded),
    }
}

/// A manifest with one layer, as bytes.
fn manifest(bytes: &[u8]) -> Vec<u8> {
    let config = Descriptor { media_type: media_type::OCI_CONFIG.to_owned(), ..layer(b"{}") };
    serde_json::to_vec(&crate::oci::Manifest::oci(config, vec![layer(bytes)])).unwrap()
}
