//! What planning asks of servers, each once a run, remembered in the store by content.
//!
//! | file | does |
//! |---|---|
//! | `image` | base images of registries and OCI layouts |
//! | `download` | files behind URLs |
//! | `git`, `git_program`, `tree` | files of git repositories |
//! | `answers` | what was answered: nobody is asked twice |
//! | `access` | which secrets and credentials go to whom |

mod access;
mod answers;
mod download;
mod git;
mod git_program;
mod image;
mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use access::{Access, ReadSecret};
pub use answers::Answers;
pub(super) use download::DownloadRecord;
pub(super) use git::CheckoutRecord;
pub(super) use image::BaseRecord;
pub use image::last_seen;

use super::fan_out::fan_out;
use crate::oci::{Digest, Pins, Platform, Reference};
use crate::plan::{BaseImage, Checkout, Download, Remote};
use crate::registry::Client;
use crate::source::GitRef;
use crate::store::Store;

pub struct RemoteSources<'a> {
    client: &'a Client,
    store: &'a Store,
    access: Access<'a>,
    answers: &'a Answers,
    pins: Pins,
    only_pinned: bool,
    /// What tags lead to in this run. Locked while it is found out.
    tags: Mutex<HashMap<Reference, Arc<Mutex<Option<Digest>>>>>,
}

impl<'a> RemoteSources<'a> {
    /// `answers` holds what was asked before, and takes what is asked from now on.
    pub fn new(client: &'a Client, store: &'a Store, access: Access<'a>, answers: &'a Answers) -> Self {
        Self { client, store, access, answers, pins: Pins::new(), only_pinned: false, tags: Mutex::default() }
    }

    /// Resolves the tags of `pins` by their digests; other tags, with `only_pinned`, not at all.
    pub fn pinned(self, pins: Pins, only_pinned: bool) -> Self {
        Self { pins, only_pinned, ..self }
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
}

impl Remote for RemoteSources<'_> {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        self.answers.bases.ask((self.pinned_name(reference, platform), platform.clone()), || self.resolve(reference, platform))
    }

    fn layout(&self, path: &Path, tag_or_digest: Option<&str>, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let key = (path.to_owned(), tag_or_digest.map(str::to_owned), platform.clone());
        self.answers.layouts.ask(key, || self.import(path, tag_or_digest, platform))
    }

    fn download(&self, service: &str, url: &str, checksum: Option<&Digest>) -> Result<Download, String> {
        let key = (service.to_owned(), url.to_owned(), checksum.copied());
        let found = self.answers.downloads.ask(key, || self.fetch(service, url, checksum).map(Arc::new))?;
        // Checked here, however the answer was come by: a Step's key has the content's digest, not the checksum.
        match checksum.filter(|expected| **expected != found.digest) {
            Some(expected) => Err(format!("digest mismatch: it has {}, and --checksum expects {expected}", found.digest)),
            None => Ok(Arc::unwrap_or_clone(found)),
        }
    }

    fn as_directory(&self, download: &Download) -> Result<PathBuf, String> {
        self.directory_of(download)
    }

    fn newest_member(&self, download: &Download) -> Result<Option<i64>, String> {
        self.newest_in(download)
    }

    fn checkout(&self, service: &str, source: &GitRef, keep_git_dir: bool) -> Result<Checkout, String> {
        let key = (service.to_owned(), source.clone(), keep_git_dir);
        self.answers.checkouts.ask(key, || self.check_out(service, source, keep_git_dir).map(Arc::new)).map(Arc::unwrap_or_clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ClientOptions;
    use std::collections::BTreeMap;
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
        let env = BTreeMap::new();
        let access = Access { secret: Box::new(|_, _| Ok(None)), agents: BTreeMap::new(), env: &env };
        let answers = Answers::default();
        let remote = RemoteSources::new(&client, &store, access, &answers);
        assert_eq!(remote.download("app", &url, None).unwrap().digest, right);
        let error = remote.download("app", &url, Some(&wrong)).unwrap_err();
        assert!(error.starts_with("digest mismatch"), "{error}");
        server.join().unwrap();
        assert_eq!(remote.download("app", &url, Some(&right)).unwrap().digest, right, "known, the server is gone");
    }
}
