//! `--chown` and USER names, looked up in the image.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::CopyError;
use super::directory::file_type;
use super::resolve::resolve;

/// More than any /etc/passwd holds: an image must not make brik read without end.
const MAX_DATABASE: u64 = 16 << 20;

/// Whom a file is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    /// A name that the image does not know. It stands for 0, as BuildKit has it; it is told so that the caller can warn.
    pub unknown: Option<String>,
}

/// Resolves `user[:group]` as BuildKit does: a number is itself, and is the group too where none is named; the group of a user's name is
/// the one in /etc/passwd; `root` is 0 whatever the image says; an empty part is 0.
///
/// # Errors
/// Where /etc/passwd or /etc/group is there and cannot be read.
pub fn resolve_owner(root: BorrowedFd<'_>, spec: &str) -> Result<Owner, CopyError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let mut owner = Owner { uid: 0, gid: 0, unknown: None };
    if let Some(id) = number(user) {
        (owner.uid, owner.gid) = (id, id);
    } else if let Some(fields) = look_up(root, b"/etc/passwd", user)? {
        (owner.uid, owner.gid) = (id_field(&fields, 2), id_field(&fields, 3));
    } else {
        owner.unknown = Some(user.to_owned());
    }
    if let Some(group) = group {
        if let Some(id) = number(group) {
            owner.gid = id;
        } else if let Some(fields) = look_up(root, b"/etc/group", group)? {
            owner.gid = id_field(&fields, 2);
        } else {
            // BuildKit leaves the user's group in place.
            owner.unknown.get_or_insert_with(|| group.to_owned());
        }
    }
    Ok(owner)
}

/// Whether such a `user[:group]` needs no look at the image.
pub fn is_number(spec: &str) -> bool {
    spec.splitn(2, ':').all(|part| number(part).is_some())
}

fn number(text: &str) -> Option<u32> {
    match text {
        "" | "root" => Some(0),
        _ => text.parse().ok().filter(|id| i32::try_from(*id).is_ok()),
    }
}

/// The fields of the first line that begins with `name:`.
fn look_up(root: BorrowedFd<'_>, path: &[u8], name: &str) -> Result<Option<Vec<Vec<u8>>>, CopyError> {
    let Some(file) = open(root, path)? else { return Ok(None) };
    let mut reader = BufReader::new(file.take(MAX_DATABASE));
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|e| CopyError::read(path, e))? == 0 {
            return Ok(None);
        }
        let mut fields = line.trim_ascii().split(|&b| b == b':');
        if fields.next() == Some(name.as_bytes()) {
            let rest = fields.map(<[u8]>::to_vec);
            return Ok(Some(std::iter::once(name.as_bytes().to_vec()).chain(rest).collect()));
        }
    }
}

/// A regular file, or nothing: a FIFO or a device of the image must not block or answer.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<File>, CopyError> {
    let place = match resolve(root, path) {
        Ok(place) if place.is_file => place,
        Ok(_) | Err(CopyError::NotADirectory { .. }) => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(name) = place.rest.first() else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match openat(&place.directory, &name[..], flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NXIO) => return Ok(None),
        Err(e) => return Err(CopyError::read(path, e)),
    };
    let stat = fstat(&fd).map_err(|e| CopyError::read(path, e))?;
    Ok((file_type(&stat) == FileType::RegularFile).then(|| File::from(fd)))
}

/// A field that is no number is 0, as in libcontainer's parser.
fn id_field(fields: &[Vec<u8>], index: usize) -> u32 {
    fields.get(index).and_then(|field| std::str::from_utf8(field).ok()).and_then(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::testing::Destination;

    #[test]
    fn names_come_from_the_image_and_numbers_stand_for_themselves() {
        let root = Destination::new();
        root.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nlp:x:7:70:lp:/:/bin/false\r\nodd:x:abc\nlp:x:8:8::/:\n1000:x:5:5::/:\n");
        root.file("etc/group", "root:x:0:\nadm:x:4:root,adm\nlp:x:70:\nempty\n");
        for (spec, uid, gid, unknown) in [
            ("1000", 1000, 1000, None),
            ("1:2", 1, 2, None),
            ("lp", 7, 70, None),
            ("lp:adm", 7, 4, None),
            ("1:adm", 1, 4, None),
            ("lp:9", 7, 9, None),
            ("root", 0, 0, None),
            ("root:root", 0, 0, None),
            (":adm", 0, 4, None),
            ("5:", 5, 0, None),
            ("odd", 0, 0, None),
            ("empty:empty", 0, 0, Some("empty")),
            ("nobody", 0, 0, Some("nobody")),
            ("lp:nogroup", 7, 70, Some("nogroup")),
            ("nobody:adm", 0, 4, Some("nobody")),
            ("-1", 0, 0, Some("-1")),
            ("4294967295", 0, 0, Some("4294967295")),
        ] {
            let expected = Owner { uid, gid, unknown: unknown.map(str::to_owned) };
            assert_eq!(resolve_owner(root.fd(), spec).unwrap(), expected, "{spec}");
        }
    }

    #[test]
    fn an_image_without_passwd_knows_no_names() {
        let root = Destination::new();
        assert_eq!(resolve_owner(root.fd(), "app").unwrap().unknown.as_deref(), Some("app"));
    }

    #[test]
    fn the_passwd_of_the_host_is_never_read_through_a_link() {
        let root = Destination::new();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "spy:x:42:42::/:\n").unwrap();
        root.directory("etc");
        root.link(outside.path().join("passwd").to_str().unwrap(), "etc/passwd");
        assert_eq!(resolve_owner(root.fd(), "spy").unwrap().unknown.as_deref(), Some("spy"));
    }

    #[test]
    fn a_fifo_for_passwd_does_not_hang() {
        let root = Destination::new();
        root.directory("etc");
        root.fifo("etc/passwd");
        assert_eq!(resolve_owner(root.fd(), "app").unwrap().unknown.as_deref(), Some("app"));
    }
}
