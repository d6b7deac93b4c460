//! What a request asks for, by the distribution spec's end points.

use super::super::scripted::Request;
use super::tokens;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// GET or HEAD `/v2/`
    Ping,
    /// GET or POST `/token`
    Token,
    /// GET `tags/list`
    Tags,
    /// GET `referrers/…`
    Referrers,
    /// GET or HEAD of a manifest
    ReadManifest,
    /// PUT of a manifest
    WriteManifest,
    /// GET of a blob
    Download,
    /// HEAD of a blob
    LookUp,
    /// POST that wants a blob of another repository
    Mount,
    /// POST that opens an upload
    Open,
    /// PUT or PATCH of bytes; see also [`Ask::RangedPatch`]
    Upload,
    /// PATCH of more than 4 MiB with a `Content-Range`
    RangedPatch,
    /// DELETE of anything: an upload, a tag, a blob
    Delete,
    /// The web page that [`super::Fault::WebPage`] leads to
    Page,
    Other,
}

const PATCH_LIMIT: usize = 4 << 20;

impl Ask {
    pub fn of(request: &Request) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let size: usize = request.header("content-length").parse().unwrap_or_default();
        match (request.method.as_str(), path) {
            (_, "/token") => Self::Token,
            (_, "/login") => Self::Page,
            (_, "/v2/" | "/v2") => Self::Ping,
            ("DELETE", _) => Self::Delete,
            (_, path) if path.ends_with("/tags/list") => Self::Tags,
            (_, path) if path.contains("/referrers/") => Self::Referrers,
            ("GET" | "HEAD", path) if path.contains("/manifests/") => Self::ReadManifest,
            ("PUT", path) if path.contains("/manifests/") => Self::WriteManifest,
            ("POST", path) if path.ends_with("/blobs/uploads/") && query.contains("mount=") => Self::Mount,
            ("POST", path) if path.ends_with("/blobs/uploads/") => Self::Open,
            ("PATCH", _) if size > PATCH_LIMIT && !request.header("content-range").is_empty() => Self::RangedPatch,
            ("PUT" | "PATCH", path) if path.contains("/blobs/uploads/") => Self::Upload,
            ("GET", path) if path.contains("/blobs/") => Self::Download,
            ("HEAD", path) if path.contains("/blobs/") => Self::LookUp,
            _ => Self::Other,
        }
    }

    /// Those whose path contains `part`: a repository, a tag, a digest.
    pub fn of_path(self, part: impl Into<String>) -> When {
        When::from(self).of_path(part)
    }

    /// Those of exactly this [`place`].
    pub fn at(self, place: impl Into<String>) -> When {
        When { place: Some(place.into()), ..self.into() }
    }

    /// The `n`th alone, from 1.
    pub fn nth(self, n: usize) -> When {
        When::from(self).nth(n)
    }

    pub fn first(self, n: usize) -> When {
        When::from(self).first(n)
    }
}

/// The repository that a request is about; of a token, the scopes.
pub fn place(request: &Request) -> String {
    match Ask::of(request) {
        Ask::Token => tokens::scopes(request),
        _ => tokens::repository(request).unwrap_or_default().to_owned(),
    }
}

/// Which requests are meant: all that ask for one thing, or fewer.
#[derive(Debug, Clone)]
pub struct When {
    ask: Ask,
    part: String,
    place: Option<String>,
    /// From 1, both included.
    from: usize,
    to: usize,
}

impl From<Ask> for When {
    fn from(ask: Ask) -> Self {
        Self { ask, part: String::new(), place: None, from: 1, to: usize::MAX }
    }
}

impl When {
    /// Those whose path contains `part`: a repository, a tag, a digest.
    pub fn of_path(self, part: impl Into<String>) -> Self {
        Self { part: part.into(), ..self }
    }

    /// The `n`th alone, from 1.
    pub fn nth(self, n: usize) -> Self {
        Self { from: n, to: n, ..self }
    }

    pub fn first(self, n: usize) -> Self {
        Self { from: 1, to: n, ..self }
    }

    /// The `n`th, from 1, and all that follow.
    pub fn since(self, n: usize) -> Self {
        Self { from: n, to: usize::MAX, ..self }
    }

    pub(super) fn concerns(&self, request: &Request) -> bool {
        let is_there = |wanted: &String| place(request) == *wanted;
        Ask::of(request) == self.ask && request.target.contains(&self.part) && self.place.as_ref().is_none_or(is_there)
    }

    /// Whether it means number `number` (from 1) of those that it concerns.
    pub(super) fn means(&self, number: usize) -> bool {
        (self.from..=self.to).contains(&number)
    }
}
