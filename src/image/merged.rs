//! What a path means to a layer that is laid over others: the tree that containerd unpacks it into, though here the layers below stay
//! as they are. Paths that this returns have no symbolic links in them, so that they mean the same in the layer alone.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat, fstat, readlinkat};
use rustix::io::Errno;

use super::member_path::join;
use super::root::Root;
use super::whiteout::{is_opaque, is_whiteout};
use super::xattr::{self, Xattrs};

/// Symbolic links followed in one path, as the kernel does (path_resolution(7)).
const LINKS: usize = 40;

/// Where a path to a directory leads.
pub(super) struct Resolved<'a> {
    pub path: Vec<u8>,
    /// What of it the layer does not have yet, from the top down.
    pub missing: Vec<Implied>,
    /// The layers below whose directories of that path are merged there, uppermost first.
    pub lowers: Vec<&'a Path>,
}

/// A directory that a layer needs and does not have.
pub(super) struct Implied {
    pub path: Vec<u8>,
    /// Its like in the layers below.
    pub below: Option<Attributes>,
    /// Whether the layer has a whiteout there, which the directory replaces.
    pub whiteout: bool,
}

/// What a directory is, apart from its entries.
pub(super) struct Attributes {
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    pub xattrs: Xattrs,
}

/// A directory on the way.
struct Level<'a> {
    path: Vec<u8>,
    missing: Option<Implied>,
    lowers: Vec<&'a Path>,
}

enum Entry<'a> {
    Directory(Level<'a>),
    Symlink(Vec<u8>),
}

/// What the layers below show at a path.
enum Below<'a> {
    /// Nothing that leads on: no entry, a whiteout, a file.
    Nothing,
    Directory(Attributes, Vec<&'a Path>),
    Symlink(Vec<u8>),
}

/// Resolves the path of a directory in `upper` over `lowers` (uppermost first), symbolic links followed inside of them. `None` where
/// that takes `lowers`, and they are not known.
pub(super) fn resolve<'a>(upper: &Root, lowers: Option<&'a [PathBuf]>, path: &[u8]) -> io::Result<Option<Resolved<'a>>> {
    let all = lowers.unwrap_or_default().iter().map(PathBuf::as_path).collect();
    let mut here = Level { path: Vec::new(), missing: None, lowers: all };
    let mut above: Vec<Level<'a>> = Vec::new();
    let mut links = 0;
    // What is still to go, the next component last.
    let mut ahead: Vec<Vec<u8>> = components(path);
    while let Some(name) = ahead.pop() {
        match name.as_slice() {
            b"" | b"." => {}
            // Above the root is the root.
            b".." => here = above.pop().unwrap_or(here),
            name => match enter(upper, lowers.is_some(), &here, name)? {
                None => return Ok(None),
                Some(Entry::Directory(level)) => above.push(std::mem::replace(&mut here, level)),
                Some(Entry::Symlink(target)) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.starts_with(b"/") {
                        here = above.drain(..).next().unwrap_or(here);
                    }
                    ahead.extend(components(&target));
                }
            },
        }
    }
    let (path, lowers) = (here.path, here.lowers);
    let missing = above.into_iter().filter_map(|level| level.missing).chain(here.missing).collect();
    Ok(Some(Resolved { path, missing, lowers }))
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect()
}

fn enter<'a>(upper: &Root, known: bool, here: &Level<'a>, name: &[u8]) -> io::Result<Option<Entry<'a>>> {
    let path = join(&here.path, name);
    let implied = |below, whiteout| Some(Implied { path: path.clone(), below, whiteout });
    if let Some((fd, stat)) = entry(upper, &path)?.filter(|_| here.missing.is_none()) {
        return match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let lowers = match attributes(upper, &path, &stat)? {
                    own if is_opaque(&own.xattrs) => Vec::new(),
                    _ => match below(&here.lowers, &path)? {
                        Below::Directory(_, lowers) => lowers,
                        Below::Nothing | Below::Symlink(_) => Vec::new(),
                    },
                };
                Ok(Some(Entry::Directory(Level { path, missing: None, lowers })))
            }
            FileType::Symlink => Ok(Some(Entry::Symlink(target(&fd)?))),
            _ if is_whiteout(&stat) => Ok(Some(Entry::Directory(Level { missing: implied(None, true), path, lowers: Vec::new() }))),
            _ => Err(Errno::NOTDIR.into()),
        };
    }
    if !known {
        return Ok(None);
    }
    Ok(Some(match below(&here.lowers, &path)? {
        Below::Symlink(target) => Entry::Symlink(target),
        Below::Directory(like, lowers) => Entry::Directory(Level { missing: implied(Some(like), false), path, lowers }),
        Below::Nothing => Entry::Directory(Level { missing: implied(None, false), path, lowers: Vec::new() }),
    }))
}

/// What overlayfs would show of `lowers` at `path`. Each of them has a directory above it.
fn below<'a>(lowers: &[&'a Path], path: &[u8]) -> io::Result<Below<'a>> {
    let mut first = None;
    let mut merged = Vec::new();
    for &lower in lowers {
        let root = Root::open(lower)?;
        let Some((fd, stat)) = entry(&root, path)? else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let attributes = attributes(&root, path, &stat)?;
                let opaque = is_opaque(&attributes.xattrs);
                first.get_or_insert(attributes);
                merged.push(lower);
                if opaque {
                    break;
                }
            }
            FileType::Symlink if first.is_none() => return Ok(Below::Symlink(target(&fd)?)),
            // A whiteout or a file hides what is under it.
            _ => break,
        }
    }
    Ok(first.map_or(Below::Nothing, |attributes| Below::Directory(attributes, merged)))
}

/// What is at `path` itself, a link not followed.
fn entry(root: &Root, path: &[u8]) -> io::Result<Option<(OwnedFd, Stat)>> {
    match root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(fd) => {
            let stat = fstat(&fd)?;
            Ok(Some((fd, stat)))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn target(link: &OwnedFd) -> io::Result<Vec<u8>> {
    Ok(readlinkat(link, c"", Vec::new())?.into_bytes())
}

fn attributes(root: &Root, path: &[u8], stat: &Stat) -> io::Result<Attributes> {
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    let xattrs = xattr::read_all(fd)?;
    Ok(Attributes {
        mode: stat.st_mode & 0o7777,
        owner: xattr::owner(&xattrs).unwrap_or((stat.st_uid, stat.st_gid)),
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        xattrs,
    })
}
