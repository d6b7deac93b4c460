//! Manifests and indexes: resolve, head, get, put.

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;

use super::auth::Scopes;
use super::http::{Failure, Payload};
use super::push::expect_stored;
use super::reply::{clean, is_html};
use super::session::Session;
use super::{At, Client, Error};
use crate::oci::{Descriptor, Digest, Document, Index, Manifest, Pin, Platform, Reference, media_type};

/// What the distribution spec advises registries to accept at the least, and Docker's own limit.
const MAX_MANIFEST: usize = 4 << 20;
const CONTENT_DIGEST: &str = "docker-content-digest";

/// The image that a reference means for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The index that the reference names, where it names one.
    pub index: Option<Digest>,
    /// What the index has images for.
    pub platforms: Vec<Platform>,
    /// The manifest.
    pub digest: Digest,
    pub manifest: Manifest,
    /// The manifest as it was sent; `digest` is theirs.
    pub manifest_bytes: Vec<u8>,
    pub media_type: String,
}

struct Fetched {
    digest: Digest,
    media_type: String,
    bytes: Vec<u8>,
    document: Document,
}

impl Fetched {
    fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.bytes.len() as u64)
    }
}

impl Client {
    /// Finds the image of a reference for `platform`: mirror first, index followed, all digests verified. A manifest that stands without an
    /// index is taken as it is: its platform is known from its config only.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, Error> {
        self.block(self.mirrored(reference, async |session: &Session<'_>| {
            let top = fetch(session, reference).await?;
            let index = match top.document {
                Document::Manifest(manifest) => {
                    return Ok(Resolved {
                        index: None,
                        platforms: Vec::new(),
                        digest: top.digest,
                        manifest,
                        manifest_bytes: top.bytes,
                        media_type: top.media_type,
                    });
                }
                Document::Index(index) => index,
            };
            let at = session.at(format!("resolve {}", selector(reference)));
            let entry = choose(&index, platform, &at)?;
            let found = fetch(session, &reference.with_digest(entry.digest)).await?;
            match found.document {
                Document::Manifest(manifest) => Ok(Resolved {
                    index: Some(top.digest),
                    platforms: index.platforms(),
                    digest: found.digest,
                    manifest,
                    manifest_bytes: found.bytes,
                    media_type: found.media_type,
                }),
                Document::Index(_) => {
                    Err(Error::Garbage { at: Box::new(at), expected: "an image manifest", got: "an index within an index".to_owned() })
                }
            }
        }))
    }

    /// Where a reference leads now, and the manifests behind it for `platforms`: one request, mirror first. A manifest that stands without an
    /// index is that of all of them.
    pub fn pin(&self, reference: &Reference, platforms: &[Platform]) -> Result<Pin, Error> {
        self.block(self.mirrored(reference, async |session: &Session<'_>| {
            let top = fetch(session, reference).await?;
            let at = session.at(format!("resolve {}", selector(reference)));
            let digest = |platform: &Platform| match &top.document {
                Document::Manifest(_) => Ok(top.digest),
                Document::Index(index) => choose(index, platform, &at).map(|entry| entry.digest),
            };
            let found = platforms.iter().map(|platform| Ok((platform.clone(), digest(platform)?)));
            Ok(Pin { digest: top.digest, platforms: found.collect::<Result<_, Error>>()? })
        }))
    }

    /// What a reference points to, if anything. Asks the registry itself and never a mirror, which may lag behind.
    pub fn head_manifest(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let session = self.origin(reference)?;
        found(self.block(head(&session, reference, &Scopes::pull(&session.repository))))
    }

    /// The same for who is going to write it: one token for both.
    pub fn head_before_push(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let session = self.origin(reference)?;
        found(self.block(head(&session, reference, &Scopes::push(&session.repository))))
    }

    /// The digest that a reference leads to, if any, from where pulls go: mirror first. Docker Hub does not count it as a pull.
    pub fn look_up(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        let asked = self.block(
            self.mirrored(reference, async |session: &Session<'_>| head(session, reference, &Scopes::pull(&session.repository)).await),
        );
        Ok(found(asked)?.map(|descriptor| descriptor.digest))
    }

    /// A manifest or index with its media type and bytes, verified; `None` where there is none. Asks the registry itself and never a mirror.
    pub fn get_manifest(&self, reference: &Reference) -> Result<Option<(Descriptor, Vec<u8>)>, Error> {
        let session = self.origin(reference)?;
        let within = self.http().policy.small_answer();
        let slow = || Error::Slow { at: Box::new(session.at(format!("read manifest {}", selector(reference)))), seconds: within.as_secs() };
        let asked = self.block(async { tokio::time::timeout(within, fetch(&session, reference)).await }).unwrap_or_else(|_| Err(slow()));
        Ok(found(asked)?.map(|fetched| (fetched.descriptor(), fetched.bytes)))
    }

    /// Writes a manifest or index under the reference's tag, else under its digest, else under its own digest.
    pub fn put_manifest(&self, reference: &Reference, bytes: &[u8], media_type: &str) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let selector = reference.tag.clone().unwrap_or_else(|| digest.to_string());
        let session = self.origin(reference)?;
        let at = session.at(format!("push manifest {selector}"));
        if let Some(expected) = reference.digest.filter(|expected| *expected != digest) {
            return Err(Error::WrongDigest { at: Box::new(at), expected, actual: digest.to_string() });
        }
        let mut call = session.call(Method::PUT, &format!("manifests/{selector}"), at);
        let content_type = HeaderValue::try_from(media_type);
        let bad = |_| Error::Garbage { at: Box::new(call.at.clone()), expected: "a media type", got: clean(media_type) };
        call.headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.map_err(bad)?)]);
        call.payload = Payload::Bytes(bytes);
        let scopes = Scopes::push(&session.repository);
        // What the registry has got instead.
        let put = async || {
            let sent = session.attempt(&call, &scopes).await.map_err(|failure| match failure {
                // The digest is right. Debian's docker-registry says so where somebody else writes the same tag at the same time.
                Failure::Refused(refusal) if refusal.reply.code == "DIGEST_INVALID" => {
                    Error::Interrupted { at: Box::new(call.at.clone()), reason: refusal.reply.to_string() }.into()
                }
                failure => failure,
            });
            let response = sent?;
            let stored = content_digest(&response, &call.at)?;
            if stored != Some(digest) {
                expect_stored(&response, &call.at)?;
            }
            Ok(stored.filter(|actual| *actual != digest))
        };
        let put = || self.block(session.http.retrying(session.tries(), put)).map_err(|failure| session.error(failure));
        // What was damaged on its way is under the tag now: the right one has to replace it.
        let other = put()?.map_or(Ok(None), |_| put())?;
        other.map_or(Ok(digest), |actual| {
            Err(Error::WrongDigest { at: Box::new(call.at.clone()), expected: digest, actual: actual.to_string() })
        })
    }
}

/// An answer, or that there is nothing.
fn found<T>(asked: Result<T, Error>) -> Result<Option<T>, Error> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn head(session: &Session<'_>, reference: &Reference, scopes: &Scopes) -> Result<Descriptor, Error> {
    let at = session.at(format!("look up {}", selector(reference)));
    let mut call = session.call(Method::HEAD, &format!("manifests/{}", selector(reference)), at);
    call.headers = accept();
    let response = session.send(&call, scopes).await?;
    let size = header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok());
    let digest = content_digest(&response, &call.at)?.or(reference.digest);
    match (digest, size) {
        (Some(digest), Some(size)) => Ok(Descriptor::new(&content_type(&response), digest, size)),
        // The spec makes neither header a must for HEAD.
        _ => fetch(session, reference).await.map(|fetched| fetched.descriptor()),
    }
}

/// GETs and verifies what `reference` names.
async fn fetch(session: &Session<'_>, reference: &Reference) -> Result<Fetched, Error> {
    let selector = selector(reference);
    let mut call = session.call(Method::GET, &format!("manifests/{selector}"), session.at(format!("read manifest {selector}")));
    call.headers = accept();
    let (response, bytes) = session.read(&call, &Scopes::pull(&session.repository), MAX_MANIFEST).await?;
    let at = &call.at;
    let (declared, media_type) = (content_digest(&response, at)?, content_type(&response));
    if media_type.starts_with("application/vnd.docker.distribution.manifest.v1") {
        return Err(Error::Schema1 { at: Box::new(at.clone()) });
    }
    let digest = Digest::of(&bytes);
    if let Some(expected) = reference.digest.or(declared).filter(|expected| *expected != digest) {
        return Err(Error::WrongDigest { at: Box::new(at.clone()), expected, actual: digest.to_string() });
    }
    let document = read(&bytes, at)?;
    let media_type = match &document {
        Document::Manifest(manifest) if !manifest.media_type.is_empty() => manifest.media_type.clone(),
        Document::Index(index) if !index.media_type.is_empty() => index.media_type.clone(),
        _ => media_type,
    };
    Ok(Fetched { digest, media_type, bytes, document })
}

fn read(bytes: &[u8], at: &At) -> Result<Document, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u64,
    }
    if serde_json::from_slice(bytes).is_ok_and(|Version { schema_version }| schema_version == 1) {
        return Err(Error::Schema1 { at: Box::new(at.clone()) });
    }
    Document::parse(bytes).map_err(|error| {
        let html = is_html(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
        let got = if html { "an HTML page".to_owned() } else { clean(&error.to_string()) };
        Error::Garbage { at: Box::new(at.clone()), expected: "an image manifest or index", got }
    })
}

/// The first entry for `platform`; where there is none, the only image that does not say its platform. Attestations (`unknown/unknown`)
/// are no images.
fn choose<'a>(index: &'a Index, wanted: &Platform, at: &At) -> Result<&'a Descriptor, Error> {
    let images = || index.manifests.iter().filter_map(|entry| Some((entry, entry.platform.as_ref().filter(|p| p.os != "unknown")?)));
    let named = || images().find(|(_, platform)| wanted.accepts(platform)).map(|(entry, _)| entry);
    let only = || {
        let mut unnamed = index.manifests.iter().filter(|entry| entry.platform.is_none() && is_image(entry));
        unnamed.next().filter(|_| unnamed.next().is_none())
    };
    named().or_else(only).ok_or_else(|| {
        let mut available = index.platforms();
        available.truncate(50);
        Error::NoPlatform { at: Box::new(at.clone()), wanted: wanted.clone(), available }
    })
}

/// Whether an entry is a manifest, and of no attestation as BuildKit annotates them.
fn is_image(entry: &Descriptor) -> bool {
    let is_manifest = matches!(entry.media_type.as_str(), media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST);
    is_manifest && !entry.annotations.contains_key("vnd.docker.reference.type")
}

/// What stands behind `manifests/`: the digest, else the tag, else `latest`.
fn selector(reference: &Reference) -> String {
    let tag = || reference.tag_or_latest().unwrap_or_default().to_owned();
    reference.digest.map_or_else(tag, |digest| digest.to_string())
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))])
}

/// `media_type::MANIFESTS` as one header.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What the registry says that the content's digest is. An empty one, or one of another algorithm, says nothing.
pub(super) fn content_digest(response: &Response, at: &At) -> Result<Option<Digest>, Error> {
    let Some(value) = response.headers().get(CONTENT_DIGEST) else { return Ok(None) };
    let text = value.to_str().unwrap_or("not ASCII");
    if text.is_empty() || text.split_once(':').is_some_and(|(algorithm, _)| algorithm != "sha256") {
        return Ok(None);
    }
    let digest = text.parse().ok();
    let bad = || Error::Header { at: Box::new(at.clone()), status: response.status().as_u16(), header: "Docker-Content-Digest" };
    digest.map(Some).ok_or_else(bad)
}

/// Without parameters.
fn content_type(response: &Response) -> String {
    let value = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or(media_type::OCI_MANIFEST);
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_type_that_brik_reads_is_asked_for() {
        assert_eq!(ACCEPTED, media_type::MANIFESTS.join(", "));
    }

    #[test]
    fn a_platform_that_is_missing_is_told_with_those_there_are() {
        let entry = |platform: &str| {
            let (os, architecture) = platform.split_once('/').unwrap();
            Descriptor {
                platform: Some(Platform { os: os.into(), architecture: architecture.into(), variant: None }),
                ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(platform.as_bytes()), 1)
            }
        };
        let entries = ["unknown/unknown", "linux/arm64", "linux/amd64", "linux/arm64"].map(entry);
        let at = At { registry: "r".into(), repository: "a".into(), step: "resolve latest".into() };
        let index = Index::oci(entries.to_vec());
        let choose = |wanted: &str| choose(&index, &wanted.parse().unwrap(), &at).map(|entry| entry.digest);
        assert_eq!(choose("linux/amd64").unwrap(), entries[2].digest);
        let error = choose("linux/s390x").unwrap_err().to_string();
        assert_eq!(error, "r/a: cannot resolve latest: no image for linux/s390x; there is linux/amd64, linux/arm64");
    }

    #[test]
    fn the_only_image_without_a_platform_is_taken_where_nothing_else_fits() {
        let unnamed = |name: &str| Descriptor::new(media_type::OCI_MANIFEST, Digest::of(name.as_bytes()), 1);
        let named = Descriptor { platform: Some(Platform::new("linux", "arm64", None)), ..unnamed("arm64") };
        let mut attestation = unnamed("attestation");
        attestation.annotations.insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
        let index = Descriptor::new(media_type::OCI_INDEX, Digest::of(b"index"), 1);
        let at = At { registry: "r".into(), repository: "a".into(), step: "resolve latest".into() };
        let chosen = |entries: &[&Descriptor], wanted: &str| {
            let index = Index::oci(entries.iter().copied().cloned().collect());
            choose(&index, &wanted.parse().unwrap(), &at).ok().map(|entry| entry.digest)
        };
        let only = unnamed("only");
        assert_eq!(chosen(&[&attestation, &index, &only, &named], "linux/amd64"), Some(only.digest));
        assert_eq!(chosen(&[&only, &named], "linux/arm64"), Some(named.digest));
        assert_eq!(chosen(&[&only, &unnamed("another")], "linux/amd64"), None, "which of them?");
        assert_eq!(chosen(&[&attestation], "linux/amd64"), None);
    }

    #[test]
    fn an_empty_variant_is_none() {
        let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST","size":1,
            "platform":{"os":"linux","architecture":"amd64","variant":""}}]}"#;
        let index: Index = serde_json::from_str(&text.replace("DIGEST", &Digest::of(b"x").to_string())).unwrap();
        let at = At { registry: "r".into(), repository: "a".into(), step: "resolve latest".into() };
        assert_eq!(choose(&index, &"linux/amd64".parse().unwrap(), &at).unwrap().digest, Digest::of(b"x"));
    }
}
