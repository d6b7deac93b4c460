//! What planning asks of the network: base images and downloads, each once a run, remembered in the store by content.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::fan_out::fan_out;
use crate::oci::{Digest, ImageConfig, Manifest, Platform, Reference};
use crate::plan::{BaseImage, Download, Remote};
use crate::registry::Client;
use crate::store::{RecordKind, Store};

/// A config larger than this is refused (bytes).
const MAX_CONFIG: u64 = 8 << 20;

pub struct RemoteSources<'a> {
    client: &'a Client,
    store: &'a Store,
    bases: Answers<(Reference, Platform), Arc<BaseImage>>,
    downloads: Answers<(String, Option<Digest>), Download>,
}

/// Whoever asks while an answer is under way waits for it.
type Answers<K, T> = Mutex<HashMap<K, Arc<OnceLock<Result<T, String>>>>>;

/// The documents of an image, by the digest of its manifest.
#[derive(Serialize, Deserialize)]
struct BaseRecord {
    manifest: Manifest,
    config: ImageConfig,
}

/// What a URL led to, and how to ask whether it still does.
#[derive(Serialize, Deserialize)]
struct DownloadRecord {
    digest: Digest,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl<'a> RemoteSources<'a> {
    pub fn new(client: &'a Client, store: &'a Store) -> Self {
        Self { client, store, bases: Mutex::default(), downloads: Mutex::default() }
    }

    /// Resolves images in parallel. Errors are told when planning asks for them.
    pub fn prefetch(&self, images: &[(Reference, Platform)]) {
        const AT_ONCE: usize = 16;
        let ask = |(reference, platform): &(Reference, Platform)| {
            drop(self.base(reference, platform));
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(()) = fan_out(images, AT_ONCE, ask);
    }

    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let text = |error: crate::registry::Error| error.to_string();
        // An image that is named by its own digest never changes.
        if let Some(digest) = &reference.digest
            && let Some(known) = known(self.store, reference, digest)
        {
            return Ok(known);
        }
        let resolved = self.client.resolve(reference, platform).map_err(text)?;
        remember(self.store, reference, platform, &resolved.digest);
        if let Some(known) = known(self.store, reference, &resolved.digest) {
            return Ok(known);
        }
        let config = self.client.read_blob(reference, &resolved.manifest.config, MAX_CONFIG).map_err(text)?;
        let config: ImageConfig = serde_json::from_slice(&config).map_err(|error| format!("its config cannot be read: {error}"))?;
        if config.rootfs.diff_ids.len() != resolved.manifest.layers.len() {
            let (ids, layers) = (config.rootfs.diff_ids.len(), resolved.manifest.layers.len());
            return Err(format!("its config names {ids} layers, its manifest {layers}: the image is broken"));
        }
        let record = BaseRecord { manifest: resolved.manifest, config };
        self.store.put_record(RecordKind::Base, &resolved.digest, &record).map_err(|error| error.to_string())?;
        Ok(Arc::new(BaseImage { reference: reference.clone(), digest: resolved.digest, manifest: record.manifest, config: record.config }))
    }

    /// What lies at `url` now. With the checksum of what was fetched before, nobody is asked.
    fn fetch(&self, url: &str, checksum: Option<&Digest>) -> Result<Download, String> {
        let key = Digest::of(url.as_bytes());
        let record: Option<DownloadRecord> = self.store.record(RecordKind::Download, &key);
        let record = record.filter(|record| self.store.blob_size(&record.digest).is_some());
        if let Some(record) = record.as_ref().filter(|record| Some(&record.digest) == checksum) {
            return Ok(download(record));
        }
        let mut headers = Vec::new();
        if let Some(record) = &record {
            headers.extend(record.etag.clone().map(|etag| ("If-None-Match".to_owned(), etag)));
            headers.extend(record.last_modified.clone().map(|date| ("If-Modified-Since".to_owned(), date)));
        }
        let store_error = |error: crate::store::Error| error.to_string();
        let mut blob = self.store.blob_writer().map_err(store_error)?;
        let response = self.client.fetch(url, &headers, &mut blob).map_err(|error| error.to_string())?;
        match (response.status, record) {
            (304, Some(record)) => return Ok(download(&record)),
            (200..=299, _) => {}
            (status, _) => return Err(format!("the server answered with status {status}")),
        }
        let (digest, _) = blob.commit().map_err(store_error)?;
        let record = DownloadRecord { digest, etag: response.etag, last_modified: response.last_modified };
        self.store.put_record(RecordKind::Download, &key, &record).map_err(store_error)?;
        Ok(download(&record))
    }
}

impl Remote for RemoteSources<'_> {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let key = (reference.clone(), platform.clone());
        let answer = self.bases.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        answer.get_or_init(|| self.resolve(reference, platform)).clone()
    }

    fn download(&self, url: &str, checksum: Option<&Digest>) -> Result<Download, String> {
        let key = (url.to_owned(), checksum.copied());
        let answer = self.downloads.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let found = answer.get_or_init(|| self.fetch(url, checksum)).clone()?;
        // Checked here, however the answer was come by: a Step's key has the content's digest, not the checksum.
        match checksum.filter(|expected| **expected != found.digest) {
            Some(expected) => Err(format!("digest mismatch {}: {expected}", found.digest)),
            None => Ok(found),
        }
    }
}

/// The base image that a name led to when it was last asked for on this machine. Nobody is asked.
pub fn last_seen(store: &Store, reference: &Reference, platform: &Platform) -> Option<Arc<BaseImage>> {
    let digest = store.record(RecordKind::Name, &name_key(reference, platform)).or(reference.digest)?;
    known(store, reference, &digest)
}

/// A record that cannot be written costs only that `brik check` knows less.
fn remember(store: &Store, reference: &Reference, platform: &Platform, digest: &Digest) {
    let key = name_key(reference, platform);
    if store.record::<Digest>(RecordKind::Name, &key).as_ref() != Some(digest) {
        let _ = store.put_record(RecordKind::Name, &key, digest);
    }
}

fn name_key(reference: &Reference, platform: &Platform) -> Digest {
    Digest::of(format!("{reference} {platform}").as_bytes())
}

fn known(store: &Store, reference: &Reference, digest: &Digest) -> Option<Arc<BaseImage>> {
    let record: BaseRecord = store.record(RecordKind::Base, digest)?;
    Some(Arc::new(BaseImage { reference: reference.clone(), digest: *digest, manifest: record.manifest, config: record.config }))
}

fn download(record: &DownloadRecord) -> Download {
    let parsed = record.last_modified.as_ref().and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Download { digest: record.digest, modified: parsed.map(|time| time.timestamp().as_second()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ClientOptions;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Serves `one` under an ETag to `requests` requests; those that know the ETag hear that nothing has changed.
    fn server(requests: usize) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let serve = move || {
            for _ in 0..requests {
                let (mut peer, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    peer.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                let known = String::from_utf8_lossy(&request).to_ascii_lowercase().contains("if-none-match");
                let status = if known { "304 Not Modified" } else { "200 OK\r\nContent-Length: 3" };
                let body = if known { "" } else { "one" };
                write!(peer, "HTTP/1.1 {status}\r\nETag: \"x\"\r\nConnection: close\r\n\r\n{body}").unwrap();
            }
        };
        (url, std::thread::spawn(serve))
    }

    #[test]
    fn a_checksum_is_held_against_what_was_fetched_before_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        let (url, server) = server(2);
        let (right, wrong) = (Digest::of(b"one"), Digest::of(b"two"));
        let remote = RemoteSources::new(&client, &store);
        assert_eq!(remote.download(&url, None).unwrap().digest, right);
        let error = remote.download(&url, Some(&wrong)).unwrap_err();
        assert!(error.starts_with("digest mismatch"), "{error}");
        server.join().unwrap();
        assert_eq!(remote.download(&url, Some(&right)).unwrap().digest, right, "known, the server is gone");
    }
}
