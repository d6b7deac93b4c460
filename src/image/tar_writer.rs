//! Change set to layer tar (OCI image spec, "Image Layer Filesystem Changeset"): the same tree gives the same bytes everywhere.
//!
//! Members are ustar headers; what those cannot hold goes to PAX records (POSIX.1-2017, pax). User and group names stay empty.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FileType, major, minor};
use tar::{Builder, EntryType, Header};

use super::changes::{Found, walk};
use super::whiteout::{is_opaque, is_whiteout};
use super::xattr::{self, Xattrs};
use super::{Error, lossy};

/// What 8, and 12, bytes of octal digits and a NUL can hold.
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtime {
    /// Every member has this time, in seconds since 1970.
    Normalized(i64),
    /// Every member has the time of its file.
    Preserve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerOptions {
    pub mtime: Mtime,
    /// Whether [`super::OWNER`] overrides a file's owner (a snapshot made with a single mapped id).
    pub owner_xattr: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSummary {
    /// Members written, whiteouts included. 0: the step changed nothing, and the tar is 1024 zero bytes, as BuildKit writes it.
    pub entries: u64,
    /// Bytes of file content.
    pub content: u64,
}

/// Writes the tar of an overlay upper directory to `out`: character devices 0:0 become whiteouts, opaque marks become
/// `.wh..wh..opq`, sockets are left out, and so is the root directory itself.
///
/// # Errors
/// When the tree cannot be read or changes meanwhile, and when `out` fails.
pub fn write_layer(upper: &Path, options: &LayerOptions, out: impl Write) -> Result<LayerSummary, Error> {
    let mut writer = TarWriter { tar: Builder::new(out), options, links: HashMap::new(), summary: LayerSummary::default() };
    walk(upper, |found| writer.add(found))?;
    let TarWriter { tar, summary, .. } = writer;
    tar.into_inner().map_err(Error::Write)?;
    Ok(summary)
}

struct TarWriter<'a, W: Write> {
    tar: Builder<W>,
    options: &'a LayerOptions,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    summary: LayerSummary,
}

/// A member's metadata before it is squeezed into a header.
struct Member<'a> {
    kind: EntryType,
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: (i64, u32),
    device: u64,
    xattrs: Xattrs,
}

impl<W: Write> TarWriter<'_, W> {
    fn add(&mut self, found: &Found<'_>) -> Result<(), Error> {
        let failed = |source| Error::Read { path: lossy(found.path), source };
        let stat = &found.stat;
        let mut member = Member {
            kind: EntryType::Regular,
            name: found.path,
            link: b"",
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: 0,
            mtime: match self.options.mtime {
                Mtime::Normalized(seconds) => (seconds, 0),
                Mtime::Preserve => (stat.st_mtime, stat.st_mtime_nsec as u32),
            },
            device: stat.st_rdev,
            xattrs: Vec::new(),
        };
        let file_type = found.file_type();
        if is_whiteout(stat) {
            return self.whiteout(whiteout_name(found.path), member.mtime);
        }
        if found.path.rsplit(|&b| b == b'/').next().is_some_and(|name| name.starts_with(b".wh.")) {
            return Err(Error::WhiteoutName { path: lossy(found.path) });
        }
        // Directories have no hard links; whiteouts may be links of one another, but are whiteouts first.
        if file_type != FileType::Directory && stat.st_nlink > 1 && file_type != FileType::Socket {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| found.path.to_vec()).clone();
            if first != found.path {
                // Owner and attributes are the first name's; readers take them from there.
                return self.append(&Member { kind: EntryType::Link, link: &first, ..member }, io::empty());
            }
        }
        match file_type {
            FileType::RegularFile => {
                let file = File::from(found.open().map_err(failed)?);
                self.take_xattrs(&mut member, xattr::read_all(&file).map_err(failed)?)?;
                member.size = u64::try_from(stat.st_size).unwrap_or(0);
                self.append_file(&member, file)
            }
            FileType::Directory => self.add_directory(found, member),
            FileType::Symlink => {
                let target = found.link_target().map_err(failed)?;
                self.append(&Member { kind: EntryType::Symlink, link: &target, ..member }, io::empty())
            }
            FileType::Fifo => self.append(&Member { kind: EntryType::Fifo, ..member }, io::empty()),
            FileType::CharacterDevice => self.append(&Member { kind: EntryType::Char, ..member }, io::empty()),
            FileType::BlockDevice => self.append(&Member { kind: EntryType::Block, ..member }, io::empty()),
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn add_directory(&mut self, found: &Found<'_>, mut member: Member<'_>) -> Result<(), Error> {
        let xattrs = match found.directory() {
            Some(fd) => xattr::read_all(fd).map_err(|source| Error::Read { path: lossy(found.path), source })?,
            None => Vec::new(),
        };
        let opaque = is_opaque(&xattrs);
        self.take_xattrs(&mut member, xattrs)?;
        let (mtime, mut name) = (member.mtime, found.path.to_vec());
        if !name.is_empty() {
            name.push(b'/');
            self.append(&Member { kind: EntryType::Directory, name: &name, ..member }, io::empty())?;
        }
        if opaque {
            name.extend_from_slice(b".wh..wh..opq");
            self.whiteout(name, mtime)?;
        }
        Ok(())
    }

    /// Keeps what belongs in a layer, and applies the recorded owner.
    fn take_xattrs(&self, member: &mut Member<'_>, xattrs: Xattrs) -> Result<(), Error> {
        if let Some(name) = xattr::overlay_feature(&xattrs) {
            return Err(Error::OverlayFeature { path: lossy(member.name), xattr: lossy(name) });
        }
        if self.options.owner_xattr {
            member.owner = xattr::owner(&xattrs).unwrap_or(member.owner);
        }
        let kept = xattrs.into_iter().filter(|(name, _)| xattr::kept(name));
        member.xattrs = kept.map(|(name, value)| (name.clone(), xattr::portable(&name, value))).collect();
        Ok(())
    }

    fn whiteout(&mut self, name: Vec<u8>, mtime: (i64, u32)) -> Result<(), Error> {
        // The mode and owner of a whiteout mean nothing: fixed ones, whatever file system it lay on.
        let member = Member {
            kind: EntryType::Regular,
            name: &name,
            link: b"",
            mode: 0,
            owner: (0, 0),
            size: 0,
            mtime: (mtime.0, 0),
            device: 0,
            xattrs: Vec::new(),
        };
        self.append(&member, io::empty())
    }

    fn append_file(&mut self, member: &Member<'_>, file: File) -> Result<(), Error> {
        let mut content = Exactly { file, left: member.size, shrank: false };
        let result = self.append(member, &mut content);
        let changed = || Error::Changed { path: lossy(member.name) };
        if content.shrank {
            return Err(changed());
        }
        result?;
        let more = content.file.read(&mut [0]).map_err(|source| Error::Read { path: lossy(member.name), source })?;
        self.summary.content += member.size;
        if more == 0 { Ok(()) } else { Err(changed()) }
    }

    fn append(&mut self, member: &Member<'_>, content: impl Read) -> Result<(), Error> {
        let (header, records) = encode(member);
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records).map_err(Error::Write)?;
        self.tar.append(&header, content).map_err(Error::Write)?;
        self.summary.entries += 1;
        Ok(())
    }
}

fn whiteout_name(path: &[u8]) -> Vec<u8> {
    let base = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    [&path[..base], b".wh.", &path[base..]].concat()
}

/// A file's content, no more and no less than its size was when it was found.
struct Exactly {
    file: File,
    left: u64,
    shrank: bool,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read(&mut buffer[..wanted])?;
        self.left -= n as u64;
        if n == 0 && wanted > 0 {
            self.shrank = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(n)
    }
}

/// The ustar header of a member and the PAX records for what does not fit in it, sorted by key.
fn encode(member: &Member<'_>) -> (Header, Vec<(String, Vec<u8>)>) {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    let mut header = Header::new_ustar();
    let mut note = |key: &str, value: String| records.push((key.to_owned(), value.into_bytes()));

    header.set_entry_type(member.kind);
    header.set_mode(member.mode);
    let mut id = |key: &str, id: u32| {
        if id > MAX_ID {
            note(key, id.to_string());
            return 0;
        }
        u64::from(id)
    };
    header.set_uid(id("uid", member.owner.0));
    header.set_gid(id("gid", member.owner.1));
    if member.size > MAX_SIZE {
        note("size", member.size.to_string());
    }
    header.set_size(if member.size > MAX_SIZE { 0 } else { member.size });
    let (seconds, nanoseconds) = member.mtime;
    let whole = u64::try_from(seconds).ok().filter(|&s| s <= MAX_SIZE);
    if whole.is_none() || nanoseconds != 0 {
        note("mtime", pax_time(seconds, nanoseconds));
    }
    header.set_mtime(whole.unwrap_or(0));
    // Both calls only fail on headers that are not ustar.
    let device = match member.kind {
        EntryType::Char | EntryType::Block => member.device,
        _ => 0,
    };
    let _ = header.set_device_major(major(device));
    let _ = header.set_device_minor(minor(device));

    if let Some(ustar) = header.as_ustar_mut() {
        let mut text = |key: &str, field: &mut [u8; 100], value: &[u8]| {
            let length = value.len().min(field.len());
            field[..length].copy_from_slice(&value[..length]);
            if length < value.len() {
                records.push((key.to_owned(), value.to_vec()));
            }
        };
        text("path", &mut ustar.name, member.name);
        text("linkpath", &mut ustar.linkname, member.link);
    }
    header.set_cksum();
    // A PAX key is UTF-8 and ends at '='; an attribute whose name is neither cannot be expressed.
    let xattrs = member.xattrs.iter().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
    let xattrs = xattrs.filter(|(name, _)| !name.contains('='));
    records.extend(xattrs.map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone())));
    records.sort();
    (header, records)
}

/// Seconds with a decimal fraction, trailing zeros dropped; the fraction of a time before 1970 counts downwards.
fn pax_time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_pax_wants_them() {
        for (time, text) in
            [((5, 0), "5"), ((5, 250_000_000), "5.25"), ((-1, 500_000_000), "-0.5"), ((-2, 0), "-2"), ((10, 1), "10.000000001")]
        {
            assert_eq!(pax_time(time.0, time.1), text);
        }
    }

    #[test]
    fn what_a_header_cannot_hold_goes_to_records() {
        let long = [b'n'; 101];
        let member = Member {
            kind: EntryType::Regular,
            name: &long,
            link: b"",
            mode: 0o4755,
            owner: (MAX_ID, MAX_ID + 1),
            size: MAX_SIZE + 1,
            mtime: (1, 0),
            device: 0,
            xattrs: vec![(b"user.a".to_vec(), b"b\nc".to_vec())],
        };
        let (header, records) = encode(&member);
        let keys: Vec<_> = records.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["SCHILY.xattr.user.a", "gid", "path", "size"]);
        assert_eq!((header.uid().unwrap(), header.mode().unwrap()), (u64::from(MAX_ID), 0o4755));
    }

    #[test]
    fn a_file_that_shrinks_or_grows_is_an_error() {
        for (size, left) in [(3, 5), (5, 3)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), vec![0; size]).unwrap();
            let options = LayerOptions { mtime: Mtime::Preserve, owner_xattr: false };
            let mut writer =
                TarWriter { tar: Builder::new(Vec::new()), options: &options, links: HashMap::new(), summary: LayerSummary::default() };
            let member = Member {
                kind: EntryType::Regular,
                name: b"f",
                link: b"",
                mode: 0,
                owner: (0, 0),
                size: left,
                mtime: (0, 0),
                device: 0,
                xattrs: Vec::new(),
            };
            let result = writer.append_file(&member, File::open(file.path()).unwrap());
            assert!(matches!(result, Err(Error::Changed { .. })), "{size} bytes for {left}");
        }
    }
}
