//! Files behind URLs, remembered in the store by content.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RemoteSources;
use super::tree::set_time;
use crate::image::{ArchiveOptions, extract_archive, is_archive, newest_member};
use crate::oci::Digest;
use crate::plan::Download;
use crate::source::split_credentials;
use crate::store::{IdMapping, RecordKind};

/// What a URL led to, and how to ask whether it still does.
#[derive(Serialize, Deserialize)]
pub struct DownloadRecord {
    pub digest: Digest,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl RemoteSources<'_> {
    /// What lies at `url` now. With the checksum of what was fetched before, nobody is asked.
    pub(super) fn fetch(&self, service: &str, url: &str, checksum: Option<&Digest>) -> Result<Download, String> {
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
        headers.extend(self.access.for_download(service, url)?.map(|value| ("Authorization".to_owned(), value)));
        let store_error = |error: crate::store::Error| error.to_string();
        let mut blob = self.store.blob_writer().map_err(store_error)?;
        let response = self.client.fetch(&split_credentials(url).0, &headers, &mut blob).map_err(|error| error.to_string())?;
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

    /// As BuildKit's `llb.HTTP(…, Filename("context"))`: mode 600, dated by the server.
    pub(super) fn directory_of(&self, download: &Download) -> Result<PathBuf, String> {
        let time = download.modified.unwrap_or(0);
        let id = Digest::of(format!("download\0{}\0{time}", download.digest).as_bytes());
        if let Some(known) = self.store.snapshot(IdMapping::Fetched, &id) {
            return Ok(known);
        }
        let work = self.store.temp_dir().map_err(|error| error.to_string())?;
        let make = || {
            let (directory, blob) = (work.path().join("tree"), self.store.blob_path(&download.digest));
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
            let file = directory.join("context");
            fs::copy(blob, &file)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            set_time(&file, time)?;
            set_time(&directory, time)?;
            Ok(directory)
        };
        let directory = make().map_err(|error: std::io::Error| format!("cannot be put into the store: {error}"))?;
        self.store.commit_snapshot(IdMapping::Fetched, &id, &directory).map_err(|error| error.to_string())
    }

    /// The files of a download that is an archive, `None` where it is none. They are root's, whatever the archive says.
    pub fn unpacked(&self, download: &Download) -> Result<Option<PathBuf>, String> {
        let text = |error: crate::store::Error| error.to_string();
        let open = || self.store.open_blob(&download.digest).map(|blob| BufReader::with_capacity(1 << 18, blob)).map_err(text);
        if !is_archive(open()?) {
            return Ok(None);
        }
        let id = Digest::of(format!("unpacked\0{}", download.digest).as_bytes());
        if let Some(known) = self.store.snapshot(IdMapping::Fetched, &id) {
            return Ok(Some(known));
        }
        let work = self.store.temp_dir().map_err(text)?;
        let directory = work.path().join("tree");
        fs::create_dir(&directory).map_err(|error| format!("cannot be unpacked: {error}"))?;
        let options = ArchiveOptions { single_uid: true, ..ArchiveOptions::default() };
        extract_archive(open()?, &directory, b"", &options).map_err(|error| error.to_string())?;
        self.store.commit_snapshot(IdMapping::Fetched, &id, &directory).map(Some).map_err(text)
    }

    pub(super) fn newest_in(&self, download: &Download) -> Result<Option<i64>, String> {
        let blob: File = self.store.open_blob(&download.digest).map_err(|error| error.to_string())?;
        Ok(newest_member(BufReader::with_capacity(1 << 18, blob)))
    }
}

fn download(record: &DownloadRecord) -> Download {
    let parsed = record.last_modified.as_ref().and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Download { digest: record.digest, modified: parsed.map(|time| time.timestamp().as_second()) }
}
