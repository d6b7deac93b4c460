//! A layer's table of contents: the layer itself, with its files empty, as a tar in zstd. Unpacked in the layer's place it shows which
//! directories, links and other nodes are there; by the same rules, since it is unpacked by the same code. Two files are kept, by which
//! names become ids: /etc/passwd and /etc/group.
//!
//! A further name of a file is a file of its own here, or a link of its own where the file is a symbolic link: nobody who works on a
//! table of contents asks for the number of names.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::makedev;
use tar::{Builder, EntryType};

use super::extract::{Extractor, Policy};
use super::member_path::{clean, join, split};
use super::stream::{Limits, decode};
use super::tar_header::{self, encode};
use super::tar_reader::{self, MemberKind, TarReader};
use super::{Error, lossy};

const LEVEL: i32 = 1;
/// No image comes near: whoever exceeds this is to be had without a table of contents, or not at all.
const LIMITS: Limits = Limits { members: 500_000, bytes: 1 << 30, ratio: 10_000, ratio_after: 256 << 20, names: 256 << 20 };

/// Bytes of the paths of all directories above all members, each looked up with those above it. An image of half a million files has a
/// tenth of it.
const MOST_LOOKED_UP: u64 = 4 << 30;

/// Files whose content is kept, and how much of it: a longer one makes a table of contents that is refused.
const KEPT: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];
const KEPT_MAX: u64 = 1 << 20;

/// What a table of contents keeps of the content of a file. `open` is called where it keeps any.
pub(super) fn kept(name: &[u8], open: impl FnOnce() -> io::Result<File>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if clean(name).is_some_and(|path| KEPT.contains(&path.as_slice())) {
        open()?.take(KEPT_MAX + 1).read_to_end(&mut content)?;
    }
    Ok(content)
}

/// Writes a table of contents while its layer is written or unpacked.
pub struct TocWriter<W: Write>(Builder<zstd::Encoder<'static, W>>);

impl<W: Write> TocWriter<W> {
    /// # Errors
    /// When zstd has no memory.
    pub fn new(out: W) -> io::Result<Self> {
        zstd::Encoder::new(out, LEVEL).map(|encoder| Self(Builder::new(encoder)))
    }

    /// Adds a member that is no hard link; `content` is what is [`kept`] of it.
    pub(super) fn add(&mut self, member: tar_header::Member<'_>, content: &[u8]) -> Result<(), Error> {
        let (header, records) = encode(&tar_header::Member { size: content.len() as u64, ..member });
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.0.append_pax_extensions(records).map_err(Error::Write)?;
        self.0.append(&header, content).map_err(Error::Write)
    }

    /// The same for a member that was read and made; `linked` is where it leads if it is another name of a symbolic link.
    pub(super) fn add_made(&mut self, member: &tar_reader::Member, linked: Option<&[u8]>, content: &[u8]) -> Result<(), Error> {
        let (kind, link) = match (member.kind, linked) {
            (MemberKind::Hardlink, Some(target)) => (EntryType::Symlink, target),
            (MemberKind::File | MemberKind::Hardlink, _) => (EntryType::Regular, &b""[..]),
            (MemberKind::Directory, _) => (EntryType::Directory, &b""[..]),
            (MemberKind::Symlink, _) => (EntryType::Symlink, member.link.as_slice()),
            (MemberKind::CharDevice, _) => (EntryType::Char, &b""[..]),
            (MemberKind::BlockDevice, _) => (EntryType::Block, &b""[..]),
            (MemberKind::Fifo, _) => (EntryType::Fifo, &b""[..]),
        };
        let member = tar_header::Member {
            kind,
            name: &member.name,
            link,
            mode: member.mode,
            owner: (member.uid, member.gid),
            size: 0,
            mtime: member.mtime,
            device: makedev(member.device.0, member.device.1),
            xattrs: member.xattrs.clone(),
        };
        self.add(member, content)
    }

    /// Writes what is left and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        self.0.into_inner()?.finish()
    }
}

/// A table of contents that was read.
pub struct Toc(Vec<Entry>);

struct Entry {
    /// What it is about: for a whiteout what it hides, for an opaque mark the directory.
    path: Vec<u8>,
    member: tar_reader::Member,
    content: Vec<u8>,
    /// The length of the path of the uppermost directory that it lies in and that has no member before it.
    implied: Option<usize>,
}

impl Toc {
    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    /// Where `blob` is none.
    pub fn read(blob: impl Read + Send) -> Result<Self, Error> {
        decode(blob, LIMITS, |decoded| {
            let (mut tar, mut entries, mut names) = (TarReader::new(decoded), Vec::new(), 0);
            let mut looked_up = 0;
            let mut directories: HashSet<Vec<u8>> = HashSet::new();
            while let Some(member) = tar.next()? {
                if entries.len() as u64 == LIMITS.members {
                    return Err(Error::TooManyMembers { limit: LIMITS.members });
                }
                let path = clean(&member.name).ok_or_else(|| Error::Escapes { member: lossy(&member.name) })?;
                let xattrs: usize = member.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
                names += (2 * member.name.len() + member.link.len() + xattrs) as u64;
                LIMITS.check_names(names)?;
                looked_up += prefixes(&path).map(|prefix| prefix.len() as u64).sum::<u64>();
                if looked_up > MOST_LOOKED_UP {
                    return Err(Error::Malformed { member: lossy(&member.name), reason: "a table of contents does not go that deep" });
                }
                let most = if KEPT.contains(&path.as_slice()) { KEPT_MAX } else { 0 };
                if member.kind == MemberKind::Hardlink || member.size > most {
                    return Err(Error::Malformed { member: lossy(&member.name), reason: "a table of contents does not have that" });
                }
                let mut content = Vec::new();
                tar.read_to_end(&mut content).map_err(Error::from_stream)?;
                let implied = prefixes(split(&path).0).find(|above| !directories.contains(*above)).map(<[u8]>::len);
                if member.kind == MemberKind::Directory {
                    directories.insert(path.clone());
                }
                entries.push(Entry { path: subject(path), member, content, implied });
            }
            Ok(Self(entries))
        })
    }
}

impl Entry {
    /// The uppermost path that unpacking it makes or changes.
    fn made(&self) -> &[u8] {
        self.implied.map_or(&self.path, |length| &self.path[..length])
    }
}

fn subject(path: Vec<u8>) -> Vec<u8> {
    let (above, name) = split(&path);
    match name.strip_prefix(b".wh.") {
        Some(hidden) if hidden.starts_with(b".wh.") => above.to_vec(),
        Some(hidden) => join(above, hidden),
        None => path,
    }
}

/// Makes directories that look like the layers of `tocs` (lowest first) to whoever looks at `path` (absolute), at the directories and links
/// that lead there and at what is below it, and reads /etc/passwd and /etc/group if `names` says so; of the rest there may be nothing. They
/// are numbered in `into`, and may be used only as one stack: uppermost first. `None` where these files may be links to others.
///
/// # Errors
/// What cannot be unpacked.
pub fn unpack_tocs(tocs: &[Toc], path: &[u8], names: bool, into: &Path, single_uid: bool) -> Result<Option<Vec<PathBuf>>, Error> {
    if names && Wanted::of(tocs, &KEPT) == Wanted::Everything {
        return Ok(None);
    }
    let paths: Vec<&[u8]> = [path].into_iter().chain(KEPT.into_iter().filter(|_| names)).collect();
    let wanted = Wanted::of(tocs, &paths);
    let mut made: Vec<PathBuf> = Vec::new();
    for (n, toc) in tocs.iter().enumerate() {
        let directory = into.join(n.to_string());
        std::fs::create_dir(&directory).map_err(|source| Error::Destination { path: directory.to_string_lossy().into_owned(), source })?;
        let policy = Policy { layer: true, single_uid, owner: None, lowers: Some(&made) };
        let mut extractor = Extractor::new(&directory, b"", policy)?;
        for entry in toc.0.iter().filter(|entry| wanted.includes(entry.made())) {
            extractor.add(&entry.member, &mut entry.content.as_slice())?;
        }
        extractor.finish()?;
        made.insert(0, directory);
    }
    Ok(Some(made))
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// What is at these paths, above or below them. Relative.
    Around(Vec<Vec<u8>>),
    /// Links decide what is where.
    Everything,
}

impl Wanted {
    fn of(tocs: &[Toc], paths: &[&[u8]]) -> Self {
        let Some(paths) = paths.iter().map(|path| clean(path)).collect::<Option<Vec<_>>>() else { return Self::Everything };
        let mut links: HashSet<&[u8]> = HashSet::new();
        let mut checked: &[u8] = b"";
        for toc in tocs {
            let new = toc.0.iter().filter(|entry| entry.member.kind == MemberKind::Symlink);
            let known = links.len();
            links.extend(new.map(|entry| entry.path.as_slice()));
            if links.len() > known {
                checked = b"";
            }
            for entry in &toc.0 {
                let above = split(&entry.path).0;
                if above != checked && prefixes(above).any(|prefix| links.contains(prefix)) {
                    return Self::Everything;
                }
                checked = above;
            }
        }
        let leads_elsewhere = paths.iter().flat_map(|path| prefixes(path)).any(|prefix| links.contains(prefix));
        if leads_elsewhere { Self::Everything } else { Self::Around(paths) }
    }

    fn includes(&self, path: &[u8]) -> bool {
        let Self::Around(wanted) = self else { return true };
        wanted.iter().any(|wanted| is_at_or_below(path, wanted) || is_at_or_below(wanted, path))
    }
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// `a`, `a/b`, `a/b/c` of `a/b/c`.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    ends.chain((!path.is_empty()).then_some(path.len())).map(|end| &path[..end])
}
