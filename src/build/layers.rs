//! Layers where a Step needs them: pulled into the store and unpacked into snapshots, in one pass where both are to be done. Each once,
//! over threads and processes.

use std::cmp::Reverse;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::error::Error;
use super::fan_out::fan_out;
use super::origins::Origins;
use super::sandbox::Rung;
use crate::cache::Loss;
use crate::image::{self, UnpackOptions, unpack_layer};
use crate::oci::{Descriptor, Digest, Layer, Reference};
use crate::registry::{self, Client};
use crate::report::{Event, Reporter, Transfer};
use crate::store::{self, Flight, IdMapping, IncomingReader, Store};

/// Layers of one image that are pulled and unpacked at the same time: a connection each.
const LAYERS_AT_ONCE: usize = 6;

#[derive(Clone, Copy)]
pub struct Layers<'a> {
    pub store: &'a Store,
    pub client: &'a Client,
    pub reporter: &'a Reporter,
    pub rung: Rung,
    pub origins: &'a Origins,
}

impl Layers<'_> {
    pub fn ids(&self) -> IdMapping {
        match self.rung {
            Rung::Root | Rung::Chroot => IdMapping::Root,
            Rung::UserNamespace => IdMapping::UserNamespace,
            Rung::SingleUid => IdMapping::SingleUid,
        }
    }

    /// Brings a blob into the store, unless it is there.
    pub fn pull(&self, blob: &Descriptor) -> Result<(), Error> {
        match self.pull_and(blob, &drop)? {
            Some(()) => self.keep_origin(&blob.digest, None).map(drop),
            None => Ok(()),
        }
    }

    pub fn is_here(&self, blob: &Descriptor) -> bool {
        self.store.take_up(&blob.digest, blob.size)
    }

    /// Whether a Step can work on a layer without having it from elsewhere.
    pub(super) fn has(&self, layer: &Layer) -> bool {
        let is_unpacked = || self.may_use_layer(layer) && self.store.snapshot(self.ids(), &layer.diff_id.0).is_some();
        is_unpacked() || self.has_blob(&layer.descriptor)
    }

    /// Whether a blob is here, and may be used.
    fn has_blob(&self, blob: &Descriptor) -> bool {
        self.is_here(blob) && self.may_use(blob)
    }

    /// The same, while `read` reads what arrives; `None` where it was there. On an error nothing that was read is to be trusted.
    fn pull_and<T: Send>(&self, blob: &Descriptor, read: &(dyn Fn(IncomingReader) -> T + Sync)) -> Result<Option<T>, Error> {
        if self.has_blob(blob) {
            return Ok(None);
        }
        let _flight = self.store.single_flight(Flight::Blob, &blob.digest)?;
        if self.has_blob(blob) {
            return Ok(None);
        }
        if let Some(bytes) = self.origins.carried(&blob.digest) {
            self.store.put_blob(&bytes)?;
            self.origins.note_had(&blob.digest);
            return Ok(None);
        }
        let mut failed = Error::from(store::Error::Missing { digest: blob.digest });
        let remembered = self.origins.is_remembered_blob(blob);
        for place in self.origins.places(&blob.digest) {
            if remembered && self.origins.is_gone(&place.registry) {
                failed = not_again(&place, blob);
                continue;
            }
            match self.pull_from(&place, blob, read) {
                Ok(read) => {
                    self.origins.note_had_from(&blob.digest, place.name());
                    return Ok(Some(read));
                }
                // Who cannot write here will not be able to write what comes from elsewhere.
                Err(error @ (Error::Store(_) | Error::Registry(registry::Error::Write { .. }))) => return Err(error),
                Err(error) => {
                    if remembered && matches!(&error, Error::Registry(error) if error.is_gone()) {
                        self.origins.lose_host(&place.registry);
                    }
                    failed = error;
                }
            }
        }
        Err(self.lost(blob, failed))
    }

    fn pull_from<T: Send>(&self, place: &Reference, blob: &Descriptor, read: &(dyn Fn(IncomingReader) -> T + Sync)) -> Result<T, Error> {
        let incoming = self.store.incoming_blob()?;
        let reader = incoming.reader()?;
        let name = place.to_string();
        let arrived_from = |bytes, mirror| {
            let (service, transfer) = (name.clone(), Transfer::Pull);
            self.reporter.emit(Event::LayerProgress { service, transfer, digest: blob.digest, bytes, total: Some(blob.size), mirror });
        };
        let arrived = |bytes| arrived_from(bytes, None);
        arrived(0);
        let (read, mirror) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| read(reader));
            let mut counted = Counted { to: incoming, written: 0, said: 0, say: &arrived };
            let pulled = self.client.pull_blob(place, blob, &mut counted);
            let incoming = counted.to;
            let pulled = match pulled {
                Ok(mirror) => incoming.publish(&blob.digest).map(|_| mirror).map_err(Error::from),
                Err(error) => {
                    drop(incoming);
                    Err(error.into())
                }
            };
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            pulled.map(|mirror| (read, mirror))
        })?;
        arrived_from(blob.size, mirror);
        Ok(read)
    }

    /// What is only remembered can be made again.
    pub(super) fn lost(&self, blob: &Descriptor, error: Error) -> Error {
        if !self.origins.can_be_made_again(blob) {
            return error;
        }
        let loss = Loss { blob: blob.digest, size: Some(blob.size), not: None, tried: self.origins.tried(&blob.digest) };
        Error::Lost { loss: Box::new(loss), reason: Box::new(error) }
    }

    /// The same of a layer that is there, and not what it should be.
    pub(super) fn untrue(&self, layer: &Layer, error: Error) -> Error {
        match error {
            Error::Image(image::Error::NeedsLowers { .. }) | Error::Store(_) | Error::Io { .. } => error,
            error if error.is_no_space() || !self.origins.can_be_made_again_as(layer) => error,
            error @ Error::Lost { .. } => error,
            error => {
                let Descriptor { digest, size, .. } = layer.descriptor;
                let loss = Loss { blob: digest, size: Some(size), not: Some(layer.diff_id), tried: None };
                Error::Lost { loss: Box::new(loss), reason: Box::new(error) }
            }
        }
    }

    /// The snapshots of an image's layers, lowest first. Layers that are not here are pulled and unpacked all at the same time, since few
    /// depend on those below them.
    pub fn snapshots(&self, layers: &[Layer]) -> Result<Vec<PathBuf>, Error> {
        let mut snapshots: Vec<PathBuf> = Vec::with_capacity(layers.len());
        while let Some(known) = layers.get(snapshots.len()).and_then(|layer| self.known(layer, &snapshots)) {
            snapshots.push(known);
        }
        let rest = &layers[snapshots.len()..];
        let mut largest_first: Vec<&Layer> = rest.iter().collect();
        largest_first.sort_by_key(|layer| Reverse(layer.descriptor.size));
        fan_out(&largest_first, LAYERS_AT_ONCE, |layer| match self.snapshot_alone(layer) {
            Ok(_) | Err(Error::Image(image::Error::NeedsLowers { .. })) => Ok(()),
            Err(error) => Err(error),
        })?;
        for layer in rest {
            snapshots.push(self.snapshot(layer, &snapshots)?);
        }
        Ok(snapshots)
    }

    /// The snapshot of a layer, unpacked from its blob if it has to be. `below` are the snapshots under it, lowest first.
    fn snapshot(&self, layer: &Layer, below: &[PathBuf]) -> Result<PathBuf, Error> {
        if let Some(known) = self.known(layer, below) {
            return Ok(known);
        }
        match self.snapshot_alone(layer) {
            // Such a layer (bazel, ko, jib and kaniko write them) is another one over other layers. No record names its snapshot's
            // id: a prune takes it, and the next Step over it unpacks it again.
            Err(Error::Image(image::Error::NeedsLowers { .. })) => {
                let over = chain_id(layer, below);
                let _flight = self.store.single_flight(Flight::Snapshot, &over)?;
                let unpacked = || self.unpack_stored(layer, &over, Some(below.iter().rev().cloned().collect()));
                self.known(layer, below).map_or_else(unpacked, Ok).map_err(|error| self.untrue(layer, error))
            }
            done => done,
        }
    }

    fn known(&self, layer: &Layer, below: &[PathBuf]) -> Option<PathBuf> {
        let known = |id: &Digest| self.store.snapshot(self.ids(), id).filter(|_| self.may_use_layer(layer));
        [layer.diff_id.0, chain_id(layer, below)].iter().find_map(known)
    }

    /// The snapshot of a layer over whichever others, unpacked while its blob is pulled if that is not here.
    fn snapshot_alone(&self, layer: &Layer) -> Result<PathBuf, Error> {
        let id = layer.diff_id.0;
        let flight = self.store.single_flight(Flight::Snapshot, &id)?;
        if let Some(known) = self.store.snapshot(self.ids(), &id).filter(|_| self.may_use_layer(layer)) {
            return Ok(known);
        }
        let from_store = || self.unpack_stored(layer, &id, None);
        if self.origins.places(&layer.descriptor.digest).is_empty() {
            if !self.may_use(&layer.descriptor) {
                return Err(self.lost(&layer.descriptor, store::Error::Missing { digest: layer.descriptor.digest }.into()));
            }
            return from_store().map_err(|error| match error {
                Error::Store(store::Error::Missing { .. }) => self.lost(&layer.descriptor, error),
                error => self.untrue(layer, error),
            });
        }
        let arriving = || self.pull_and(&layer.descriptor, &|blob| self.unpack(blob, layer, &id, None));
        let unpacked = match arriving()? {
            Some(unpacked) => unpacked,
            None => match from_store() {
                Err(Error::Store(store::Error::Damaged { .. })) => arriving()?.unwrap_or_else(from_store),
                done => done,
            },
        };
        let unpacked = unpacked.map_err(|error| self.untrue(layer, error))?;
        if self.keep_origin(&layer.descriptor.digest, Some(layer.diff_id))? {
            self.store.hold_until_durable(flight)?;
        }
        Ok(unpacked)
    }

    /// Without a damaged blob, which is removed, the next run pulls or makes the layer again.
    fn unpack_stored(&self, layer: &Layer, id: &Digest, lowers: Option<Vec<PathBuf>>) -> Result<PathBuf, Error> {
        let blob = self.store.open_blob(&layer.descriptor.digest)?;
        let unpacked = self.unpack(blob, layer, id, lowers);
        if !matches!(unpacked, Ok(_) | Err(Error::Image(image::Error::NeedsLowers { .. }))) {
            self.store.verify_blob(&layer.descriptor.digest)?;
        }
        unpacked
    }

    fn unpack(&self, blob: impl Read + Send, layer: &Layer, id: &Digest, lowers: Option<Vec<PathBuf>>) -> Result<PathBuf, Error> {
        let work = self.store.temp_dir()?;
        let fs = work.path().join("fs");
        std::fs::create_dir(&fs).map_err(|source| Error::Io { action: "create", path: fs.clone(), source })?;
        let options = UnpackOptions {
            single_uid: self.rung == Rung::SingleUid,
            expected_diff_id: Some(layer.diff_id),
            lowers,
            ..UnpackOptions::default()
        };
        let mut toc = self.toc_writer()?;
        let unpacked = unpack_layer(blob, &fs, &options, &mut toc).map_err(|error| match error {
            error @ image::Error::NeedsLowers { .. } => Error::Image(error),
            error => {
                let digest = layer.descriptor.digest;
                let place = self.origins.places(&digest).first().map(Reference::to_string);
                Error::Layer { layer: digest, place, error: Box::new(error) }
            }
        })?;
        if !unpacked.speaks_of_lowers {
            self.keep_toc(&layer.diff_id, toc)?;
        }
        self.origins.note_seen(layer);
        Ok(self.store.commit_snapshot(self.ids(), id, &fs)?)
    }
}

/// A registry that did not answer before is not waited for once more.
fn not_again(place: &Reference, blob: &Descriptor) -> Error {
    let (registry, repository) = (place.registry.clone(), place.repository.clone());
    let at = registry::At { registry, repository, step: format!("read blob {}", blob.digest) };
    let reason = "it did not answer before in this run".to_owned();
    registry::Error::Connect { at: Box::new(at), host: place.registry.clone(), reason }.into()
}

/// Says now and then how much has been written. The end is the caller's to say.
struct Counted<'a, W> {
    to: W,
    written: u64,
    said: u64,
    say: &'a dyn Fn(u64),
}

/// Bytes between two times that progress is said.
const OFTEN: u64 = 1024 * 1024;

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.written += n as u64;
        if self.written - self.said >= OFTEN {
            self.said = self.written;
            (self.say)(self.written);
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The id of a layer's snapshot where it depends on the snapshots `below` it.
fn chain_id(layer: &Layer, below: &[PathBuf]) -> Digest {
    let ids = below.iter().filter_map(|fs| fs.parent()?.file_name()).map(|id| id.to_string_lossy().into_owned());
    let chain: Vec<String> = [layer.diff_id.to_string()].into_iter().chain(ids).collect();
    Digest::of(chain.join("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::claimed::OriginRecord;
    use super::*;
    use crate::oci::media_type;
    use crate::registry::{ClientOptions, RetryPolicy};
    use crate::store::RecordKind;

    #[test]
    fn a_registry_that_does_not_answer_is_asked_for_one_remembered_blob_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let retries = RetryPolicy { tries: 1, ..RetryPolicy::default() };
        let client = Client::new(ClientOptions { retries, ..ClientOptions::default() }).unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place: Reference = format!("{nobody}/app-cache").parse().unwrap();
        let origins = Origins::default().and_of([&place].into_iter());
        let layers = Layers { store: &store, client: &client, reporter: &Reporter::silent(), rung: Rung::Root, origins: &origins };
        for (name, requests, reason) in [("one", 1, "nothing listens"), ("another", 1, "it did not answer before in this run")] {
            let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(name.as_bytes()), 1);
            origins.note_cached(&blob.digest, std::slice::from_ref(&place));
            let error = layers.pull(&blob).unwrap_err();
            assert!(matches!(&error, Error::Lost { .. }) && error.to_string().contains(reason), "{error}");
            assert_eq!(client.counters().requests, requests, "{name}");
        }
    }

    #[test]
    fn what_is_here_for_others_is_had_from_where_it_is_claimed_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let client = Client::new(ClientOptions { retries: RetryPolicy { tries: 1, ..RetryPolicy::default() }, ..ClientOptions::default() });
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place: Reference = format!("{nobody}/app-cache").parse().unwrap();
        let origins = Origins::default().and_of([&place].into_iter());
        let (client, reporter) = (client.unwrap(), Reporter::silent());
        let layers = Layers { store: &store, client: &client, reporter: &reporter, rung: Rung::Root, origins: &origins };
        let (digest, size) = store.put_blob(b"private").unwrap();
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size);
        origins.note_cached(&digest, std::slice::from_ref(&place));
        assert!(layers.pull(&blob).is_ok());
        origins.note_claimed(&digest);
        assert!(matches!(layers.pull(&blob), Err(Error::Lost { .. })) && store.read_blob(&digest).is_ok());
        let given_by = |repositories: &[&str]| {
            let repositories = repositories.iter().map(|&name| name.to_owned()).collect();
            store.put_record(RecordKind::Origin, &digest, &OriginRecord { blob: digest, repositories, diff_id: None }).unwrap();
        };
        given_by(&["r.example/other-cache"]);
        assert!(layers.pull(&blob).is_err(), "a repository that this run does not know has given it");
        given_by(&["r.example/other-cache", &place.name()]);
        assert!(layers.pull(&blob).is_ok());
    }

    #[test]
    fn a_table_of_contents_that_speaks_of_layers_below_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        let origins = Origins::default();
        let layers = Layers { store: &store, client: &client, reporter: &Reporter::silent(), rung: Rung::SingleUid, origins: &origins };
        let layer = |write: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
            let mut tar = tar::Builder::new(Vec::new());
            write(&mut tar);
            let (digest, size) = store.put_blob(&tar.into_inner().unwrap()).unwrap();
            Layer { diff_id: crate::oci::DiffId(digest), descriptor: Descriptor::new(media_type::OCI_LAYER, digest, size) }
        };
        let below = layer(&|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, "etc", "usr/etc").unwrap();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, "usr/etc", &b""[..]).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            tar.append_data(&mut header, "users", &b"a:x\n"[..]).unwrap();
        });
        let link = layer(&|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Link);
            header.set_size(0);
            header.set_mode(0o644);
            tar.append_link(&mut header, "etc/passwd", "users").unwrap();
        });
        let snapshots = layers.snapshots(&[below.clone(), link.clone()]).unwrap();
        assert_eq!(std::fs::read(snapshots[1].join("usr/etc/passwd")).unwrap(), b"a:x\n");
        assert_eq!([below, link].map(|layer| layers.toc(&layer).is_some()), [true, false]);
    }
}
