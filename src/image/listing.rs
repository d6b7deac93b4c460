//! What a layer holds, read through without being unpacked.

use std::io::Read;

use super::member_path::{clean, join, split};
use super::stream::{Decoded, decode_hashed};
use super::tar_reader::{Member, MemberKind, TarReader};
use super::{Error, Limits, lossy};
use crate::oci::DiffId;

/// Far beyond any image that people look at; a list is held in memory.
const LIMITS: Limits = Limits { members: 1_000_000, bytes: 64 << 30, ratio: 2_000, ratio_after: 4 << 30, names: 256 << 20 };

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In the order of the layer.
    pub members: Vec<Listed>,
    /// Bytes of the tar.
    pub uncompressed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Below the root, without a leading slash. Of what hides something, that.
    pub path: Vec<u8>,
    pub kind: ListedKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// A hash over content, attributes and device number, to be compared with others of this process only.
    pub content: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    File,
    Directory,
    Symlink,
    /// Another name of the file at `link`.
    Hardlink,
    CharDevice,
    BlockDevice,
    Fifo,
    /// Removes what the layers below have at this path.
    Whiteout,
    /// Removes what the layers below have in this directory.
    Opaque,
}

/// Lists a layer, in whatever compression its first bytes announce.
///
/// # Errors
/// Where it is none, is larger than any that is looked at, or is not the one that the image means.
pub fn list_layer(blob: impl Read + Send, expected: &DiffId) -> Result<Listing, Error> {
    let (members, digest, uncompressed) = decode_hashed(blob, LIMITS, members)?;
    let actual = DiffId(digest);
    match actual == *expected {
        true => Ok(Listing { members, uncompressed }),
        false => Err(Error::DiffIdMismatch { expected: *expected, actual }),
    }
}

fn members(decoded: &mut Decoded<'_>) -> Result<Vec<Listed>, Error> {
    let (mut tar, mut members) = (TarReader::new(decoded), Vec::new());
    let (mut sparse, mut names): (u64, u64) = (0, 0);
    while let Some(member) = tar.next()? {
        if members.len() as u64 == LIMITS.members {
            return Err(Error::TooManyMembers { limit: LIMITS.members });
        }
        // Holes are not in the stream, and are hashed all the same.
        sparse = sparse.saturating_add(member.size);
        tar.inner().check(sparse)?;
        names += (member.name.len() + member.link.len()) as u64;
        LIMITS.check_names(names)?;
        let content = hash(&mut tar, &member)?;
        members.push(listed(member, content)?);
    }
    Ok(members)
}

fn hash(content: &mut impl Read, member: &Member) -> Result<[u8; 32], Error> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(content).map_err(Error::from_stream)?;
    for (name, value) in &member.xattrs {
        hasher.update(name).update(&[0]).update(value).update(&[0]);
    }
    hasher.update(&member.device.0.to_le_bytes()).update(&member.device.1.to_le_bytes());
    Ok(*hasher.finalize().as_bytes())
}

fn listed(member: Member, content: [u8; 32]) -> Result<Listed, Error> {
    let Some(path) = clean(&member.name) else { return Err(Error::Escapes { member: lossy(&member.name) }) };
    let (above, name) = split(&path);
    let (path, kind) = match name.strip_prefix(b".wh.") {
        Some(b".wh..opq") => (above.to_vec(), ListedKind::Opaque),
        Some(hidden) => (join(above, hidden), ListedKind::Whiteout),
        None => {
            let kind = match member.kind {
                MemberKind::File => ListedKind::File,
                MemberKind::Directory => ListedKind::Directory,
                MemberKind::Symlink => ListedKind::Symlink,
                MemberKind::Hardlink => ListedKind::Hardlink,
                MemberKind::CharDevice => ListedKind::CharDevice,
                MemberKind::BlockDevice => ListedKind::BlockDevice,
                MemberKind::Fifo => ListedKind::Fifo,
            };
            (path, kind)
        }
    };
    let link = if kind == ListedKind::Hardlink { clean(&member.link).unwrap_or_default() } else { member.link };
    Ok(Listed { path, kind, mode: member.mode, owner: (member.uid, member.gid), size: member.size, link, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use tar::{Builder, EntryType, Header};

    fn layer(members: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (name, kind, text) in members {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let content = if *kind == EntryType::Regular { text.as_bytes() } else { b"" };
            header.set_size(content.len() as u64);
            match kind {
                EntryType::Regular | EntryType::Directory => tar.append_data(&mut header, name, content).unwrap(),
                _ => tar.append_link(&mut header, name, text).unwrap(),
            }
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn members_are_listed_with_what_they_hide() {
        let tar = layer(&[
            ("./etc/", EntryType::Directory, ""),
            ("etc/passwd", EntryType::Regular, "root"),
            ("etc/.wh.group", EntryType::Regular, ""),
            ("opt/.wh..wh..opq", EntryType::Regular, ""),
            ("etc/same", EntryType::Link, "./etc/passwd"),
            ("etc/link", EntryType::Symlink, "../x"),
        ]);
        let listing = list_layer(&tar[..], &DiffId(Digest::of(&tar))).unwrap();
        let seen: Vec<_> = listing.members.iter().map(|m| (lossy(&m.path), m.kind, m.size, lossy(&m.link))).collect();
        let line = |path: &str, kind, size, link: &str| (path.to_owned(), kind, size, link.to_owned());
        assert_eq!(
            seen,
            [
                line("etc", ListedKind::Directory, 0, ""),
                line("etc/passwd", ListedKind::File, 4, ""),
                line("etc/group", ListedKind::Whiteout, 0, ""),
                line("opt", ListedKind::Opaque, 0, ""),
                line("etc/same", ListedKind::Hardlink, 0, "etc/passwd"),
                line("etc/link", ListedKind::Symlink, 0, "../x"),
            ]
        );
        assert_eq!(listing.uncompressed, tar.len() as u64);
        assert!(matches!(list_layer(&tar[..], &DiffId(Digest::of(b"another"))), Err(Error::DiffIdMismatch { .. })));
    }

    #[test]
    fn equal_content_has_equal_hashes() {
        let tar = layer(&[("a", EntryType::Regular, "1"), ("b", EntryType::Regular, "1"), ("c", EntryType::Regular, "2")]);
        let members = list_layer(&tar[..], &DiffId(Digest::of(&tar))).unwrap().members;
        assert!(members[0].content == members[1].content && members[1].content != members[2].content);
    }
}
