//! Members of a tar stream: ustar, PAX, GNU long names and sparse files, over the `tar` crate's headers.
//!
//! The crate's own iterator splits PAX records at newlines, so that a binary attribute (file capabilities) hides a member's size and
//! owner, and it reads extension headers of any length into memory; hence this one.

use std::collections::VecDeque;
use std::io::{self, Read};

use tar::Header;

use super::sparse::{PaxSparse, Segment, SparseMap, bad_map};
use super::xattr::Xattrs;
use super::{Error, lossy};

const BLOCK: u64 = 512;
/// The longest PAX, long name or long link header that is read. (The kernel's limit on an attribute is 64 KiB.)
const EXTENSION_MAX: u64 = 1 << 20;
/// The kernel takes no longer path (PATH_MAX).
pub(super) const NAME_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    /// As it stands in the archive.
    pub name: Vec<u8>,
    pub kind: MemberKind,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    pub mtime: (i64, u32),
    pub device: (u32, u32),
    pub xattrs: Xattrs,
}

/// Reads members one after the other; after [`TarReader::next`] it is the reader of that member's content.
pub(super) struct TarReader<R> {
    inner: R,
    member: String,
    /// Content of the current member: its length, how much was given, and the pieces that the stream still has of it.
    size: u64,
    position: u64,
    segments: VecDeque<Segment>,
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, member: String::new(), size: 0, position: 0, segments: VecDeque::new(), padding: 0 }
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    /// The next member; what is unread of the one before is skipped. `None` at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Error> {
        let rest = self.segments.drain(..).map(|segment| segment.length).sum::<u64>() + self.padding;
        self.skip(rest)?;
        (self.size, self.position, self.padding) = (0, 0, 0);
        self.member = "a header".to_owned();
        let mut extensions = Extensions::default();
        let mut dangling = false;
        loop {
            let Some(header) = self.header()? else {
                return if dangling { Err(Error::Truncated { within: "a header".to_owned() }) } else { Ok(None) };
            };
            let malformed = |reason| Error::Malformed { member: lossy(&header.path_bytes()), reason };
            let size = number(header.entry_size(), &header.as_old().size).ok_or_else(|| malformed("the size is no number"))?;
            match header.entry_type().as_byte() {
                b'L' => extensions.name = Some(terminated(self.extension(&header, size)?)),
                b'K' => extensions.link = Some(terminated(self.extension(&header, size)?)),
                b'x' => extensions.records = pax_records(&self.extension(&header, size)?).ok_or_else(|| malformed("bad PAX records"))?,
                // Global records: git's commit id and the like; containerd ignores them too.
                b'g' => drop(self.extension(&header, size)?),
                _ => return self.begin(&header, extensions, size).map(Some),
            }
            dangling |= header.entry_type().as_byte() != b'g';
        }
    }

    fn begin(&mut self, header: &Header, extensions: Extensions, size: u64) -> Result<Member, Error> {
        let record =
            |key: &str| extensions.records.iter().rev().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value.as_slice());
        let name = record("path").map(<[u8]>::to_vec).or(extensions.name).unwrap_or_else(|| header.path_bytes().into_owned());
        let mut sparse = PaxSparse::of(&extensions.records, &name)?;
        let name = sparse.as_mut().and_then(|sparse| sparse.name.take()).unwrap_or(name);
        self.member = lossy(&name);
        let malformed = |reason| Error::Malformed { member: lossy(&name), reason };
        let unsupported = |feature: String| Error::Unsupported { member: lossy(&name), feature };
        let link = record("linkpath").map(<[u8]>::to_vec).or(extensions.link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().map_or_else(Vec::new, |link| link.into_owned()));
        if name.contains(&0) || link.contains(&0) {
            return Err(malformed("a NUL in the name"));
        }
        if name.len() > NAME_MAX || link.len() > NAME_MAX {
            let name = lossy(&name[..name.len().min(100)]);
            return Err(Error::Malformed { member: name, reason: "a name or link of more than 4096 bytes" });
        }
        let old = header.as_old();
        let numeric = |key: &str, field: Option<u64>, reason| match record(key) {
            Some(text) => decimal(text).ok_or_else(|| malformed(reason)),
            None => field.ok_or_else(|| malformed(reason)),
        };
        let id = |key, field, reason| {
            let id = numeric(key, field, reason)?;
            // The highest id means «unchanged» to chown(2).
            u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or_else(|| malformed(reason))
        };
        let size = numeric("size", Some(size), "the size is no number")?;
        if i64::try_from(size).is_err() {
            return Err(malformed("the size is negative or beyond any file's"));
        }
        let mtime = match record("mtime") {
            Some(text) => pax_time(text).ok_or_else(|| malformed("the time is no number"))?,
            // Base-256 fields hold two's complement: times before 1970.
            None => (number(header.mtime(), &old.mtime).ok_or_else(|| malformed("the time is no number"))? as i64, 0),
        };
        let kind = match header.entry_type().as_byte() {
            b'\0' if name.ends_with(b"/") => MemberKind::Directory,
            b'\0' | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' => MemberKind::CharDevice,
            b'4' => MemberKind::BlockDevice,
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            other => return Err(unsupported(format!("member type {:?}", char::from(other)))),
        };
        if kind != MemberKind::File && (size != 0 || sparse.is_some()) {
            // Readers disagree on whether content follows: two views of one archive.
            return Err(malformed("content in a member that can have none"));
        }
        let device = |field: io::Result<Option<u32>>| field.ok().flatten().unwrap_or(0);
        let member = Member {
            kind,
            mode: number(header.mode().map(u64::from), &old.mode).ok_or_else(|| malformed("the mode is no number"))? as u32 & 0o7777,
            uid: id("uid", number(header.uid(), &old.uid), "the user id is out of range")?,
            gid: id("gid", number(header.gid(), &old.gid), "the group id is out of range")?,
            size,
            mtime,
            device: (device(header.device_major()), device(header.device_minor())),
            xattrs: extensions.records.iter().filter_map(|(k, v)| Some((k.strip_prefix(b"SCHILY.xattr.")?.to_vec(), v.clone()))).collect(),
            link,
            name,
        };
        self.padding = size.next_multiple_of(BLOCK) - size;
        let (mut map, mut taken) = (SparseMap::whole(size), 0);
        let inner = &mut self.inner;
        let mut blocks = |block: &mut [u8]| match fill(inner, block)? {
            true => Ok(()),
            false => Err(Error::Truncated { within: lossy(&member.name) }),
        };
        if header.entry_type().is_gnu_sparse() {
            let gnu = header.as_gnu().ok_or_else(|| bad_map(&member.name))?;
            map = SparseMap::old_gnu(gnu, &member.name, &mut blocks)?;
        } else if let Some(sparse) = sparse {
            (map, taken) = sparse.map(size, &member.name, &mut blocks)?;
        }
        if map.stored() != size - taken {
            return Err(bad_map(&member.name));
        }
        (self.size, self.segments) = (map.size, map.pieces);
        Ok(Member { size: self.size, ..member })
    }

    /// The next header block; `None` at the end: two zero blocks, or the end of the stream in their place.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let mut header = Header::new_old();
        if !fill(&mut self.inner, header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|&b| b == 0) {
            let mut second = [0; BLOCK as usize];
            fill(&mut self.inner, &mut second)?;
            return if second == [0; BLOCK as usize] {
                Ok(None)
            } else {
                Err(Error::Malformed { member: String::new(), reason: "a single zero block between members" })
            };
        }
        let bytes = header.as_bytes();
        let sum = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).sum::<u32>();
        let expected = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        match header.cksum() {
            Ok(found) if found == expected => Ok(Some(header)),
            _ => Err(Error::Malformed { member: lossy(&header.path_bytes()), reason: "the header's checksum is wrong" }),
        }
    }

    fn extension(&mut self, header: &Header, size: u64) -> Result<Vec<u8>, Error> {
        if size > EXTENSION_MAX {
            return Err(Error::Malformed { member: lossy(&header.path_bytes()), reason: "an extension header of more than 1 MiB" });
        }
        let mut body = vec![0; size as usize];
        if size > 0 && !fill(&mut self.inner, &mut body)? {
            return Err(Error::Truncated { within: "an extension header".to_owned() });
        }
        self.skip(size.next_multiple_of(BLOCK) - size)?;
        Ok(body)
    }

    fn skip(&mut self, count: u64) -> Result<(), Error> {
        let skipped = io::copy(&mut self.inner.by_ref().take(count), &mut io::sink()).map_err(Error::from_stream)?;
        if skipped == count { Ok(()) } else { Err(Error::Truncated { within: self.member.clone() }) }
    }
}

/// The content of the current member, holes as zeros.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.segments.front().is_some_and(|segment| segment.length == 0) {
            self.segments.pop_front();
        }
        let left = |end: u64, position: u64| usize::try_from(end - position).unwrap_or(usize::MAX);
        let n = match self.segments.front_mut() {
            Some(segment) if segment.offset == self.position => {
                let wanted = left(segment.length, 0).min(buffer.len());
                let n = self.inner.read(&mut buffer[..wanted])?;
                if n == 0 && wanted > 0 {
                    return Err(io::Error::other(Error::Truncated { within: self.member.clone() }));
                }
                segment.offset += n as u64;
                segment.length -= n as u64;
                n
            }
            next => {
                let end = next.map_or(self.size, |segment| segment.offset);
                let n = left(end, self.position).min(buffer.len());
                buffer[..n].fill(0);
                n
            }
        };
        self.position += n as u64;
        Ok(n)
    }
}

/// Fills `buffer`; false where the stream ends before its first byte.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<bool, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(Error::Truncated { within: "a header".to_owned() }),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::from_stream(error)),
        }
    }
    Ok(true)
}

/// A numeric header field; a blank one is 0, as every reader has it.
fn number(parsed: io::Result<u64>, field: &[u8]) -> Option<u64> {
    if field.iter().all(|&b| b == 0 || b == b' ') { Some(0) } else { parsed.ok() }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn terminated(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// `seconds[.fraction]`, perhaps negative.
fn pax_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// Records `length key=value\n`, where `length` counts all of it; a value may be any bytes.
fn pax_records(mut body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let space = body.iter().take(8).position(|&b| b == b' ')?;
        let length = usize::try_from(decimal(&body[..space])?).ok()?;
        let record = body.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&b| b == b'=')?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        body = &body[length..];
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_newlines_and_must_be_as_long_as_they_say() {
        assert_eq!(
            pax_records(b"9 a=b\nc=\n10 path=x\n"),
            Some(vec![(b"a".to_vec(), b"b\nc=".to_vec()), (b"path".to_vec(), b"x".to_vec())])
        );
        for bad in [&b"5 a=b\n"[..], b"99 a=b\n", b"a=b\n", b"6 a b\n", b"-6 a=b\n", b"6 a=b", b"1 a=b\n"] {
            assert_eq!(pax_records(bad), None, "{}", lossy(bad));
        }
    }

    #[test]
    fn times_are_read_as_pax_writes_them() {
        for (text, time) in [("5", (5, 0)), ("5.25", (5, 250_000_000)), ("-0.5", (-1, 500_000_000)), ("1.0000000019", (1, 1))] {
            assert_eq!(pax_time(text.as_bytes()), Some(time), "{text}");
        }
        for bad in ["", "x", "1.x", "1.-5", "99999999999999999999"] {
            assert_eq!(pax_time(bad.as_bytes()), None, "{bad}");
        }
    }
}
