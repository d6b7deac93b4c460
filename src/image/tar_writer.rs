//! Change set to layer tar (OCI image spec, "Image Layer Filesystem Changeset"): the same tree gives the same bytes everywhere.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps, UTIME_OMIT, fremovexattr, fstat, futimens, unlinkat};
use tar::{Builder, EntryType};

use super::changes::{Found, Visited, walk, walk_with};
use super::member_path::split;
use super::root::Root;
use super::tar_header::{Member, encode};
use super::tar_reader::NAME_MAX;
use super::toc::kept;
use super::whiteout::{OPAQUE_OWN, is_opaque, is_whiteout};
use super::xattr::{self, Xattrs};
use super::{BorrowedFile, BorrowedFiles, Error, TocWriter, lossy};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtime {
    /// Every member has this time, in seconds since 1970, and so has everything in the upper directory when its layer is written: it
    /// then equals what unpacking the layer gives.
    Normalized(i64),
    /// Every member has the time of its file.
    Preserve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerOptions {
    pub mtime: Mtime,
    /// Whether [`super::OWNER`] overrides a file's owner (a snapshot made with a single mapped id).
    pub owner_xattr: bool,
    /// Whether brik's own forms of a whiteout and of an opaque mark mean one. In what overlayfs made they are a RUN's, and go.
    pub own_marks: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSummary {
    /// Members written, whiteouts included. 0: the step changed nothing, and the tar is 1024 zero bytes, as BuildKit writes it.
    pub entries: u64,
    /// Bytes of file content.
    pub content: u64,
}

/// Writes the tar of an overlay upper directory, with the files that are `borrowed` for it, to `out`, and its table of contents to `toc`: character devices 0:0 become whiteouts, opaque marks become
/// `.wh..wh..opq`, sockets are left out, and so is the root directory itself. What no layer keeps is removed from `upper`, sockets and extended
/// attributes: it then holds what unpacking the layer gives.
///
/// # Errors
/// When the tree cannot be read or changes meanwhile, and when `out` fails.
pub fn write_layer(
    upper: &Path,
    borrowed: &BorrowedFiles<'_>,
    options: &LayerOptions,
    out: impl Write,
    toc: &mut TocWriter<impl Write>,
) -> Result<LayerSummary, Error> {
    let mut writer = TarWriter {
        tar: Builder::new(out),
        toc: Some(toc),
        options,
        links: HashMap::new(),
        sockets: Vec::new(),
        summary: LayerSummary::default(),
    };
    walk_with(upper, borrowed, |visited| match visited {
        Visited::Found(found) => writer.add(found),
        Visited::Borrowed { path, file } => writer.add_borrowed(path, file),
    })?;
    let TarWriter { tar, summary, sockets, .. } = writer;
    tar.into_inner().map_err(Error::Write)?;
    remove_sockets(upper, &sockets)?;
    Ok(summary)
}

/// Writes the tar of a directory tree as it is: no name and no device means a removal. Times are kept; sockets and the root directory itself
/// are left out.
///
/// # Errors
/// See [`write_layer`].
pub fn write_tree(root: &Path, owner_xattr: bool, out: impl Write) -> Result<(), Error> {
    let options = &LayerOptions { mtime: Mtime::Preserve, owner_xattr, own_marks: true };
    let toc: Option<&mut TocWriter<io::Sink>> = None;
    let mut writer =
        TarWriter { tar: Builder::new(out), toc, options, links: HashMap::new(), sockets: Vec::new(), summary: LayerSummary::default() };
    walk(root, |found| writer.add(found))?;
    writer.tar.into_inner().map_err(Error::Write)?;
    Ok(())
}

/// Times of directories stay.
fn remove_sockets(upper: &Path, sockets: &[Vec<u8>]) -> Result<(), Error> {
    for path in sockets {
        let (above, name) = split(path);
        let remove = || -> io::Result<()> {
            let parent = Root::open(upper)?.open_at(above, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let times = fstat(&parent)?;
            unlinkat(&parent, name, AtFlags::empty())?;
            let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let last_modification = Timespec { tv_sec: times.st_mtime, tv_nsec: times.st_mtime_nsec as _ };
            Ok(futimens(&parent, &Timestamps { last_access, last_modification })?)
        };
        remove().map_err(|source| Error::Remove { path: lossy(path), source })?;
    }
    Ok(())
}

struct TarWriter<'a, W: Write, T: Write> {
    tar: Builder<W>,
    /// Of a layer: of other trees there is none, and what the overlay has removed is not written as such.
    toc: Option<&'a mut TocWriter<T>>,
    options: &'a LayerOptions,
    /// The first name of every file that has several.
    links: HashMap<FileId, Vec<u8>>,
    sockets: Vec<Vec<u8>>,
    summary: LayerSummary,
}

/// What another name of a file is in a table of contents.
enum OfToc {
    Link(Vec<u8>),
    /// With what is kept of it.
    File(Vec<u8>),
}

#[derive(PartialEq, Eq, Hash)]
enum FileId {
    /// Device and inode.
    Found(u64, u64),
    /// [`BorrowedFile::link`].
    Borrowed(u64),
}

impl<W: Write, T: Write> TarWriter<'_, W, T> {
    fn add(&mut self, found: &Found<'_>) -> Result<(), Error> {
        let failed = |source| Error::Read { path: lossy(found.path), source };
        // The tree of a layer is nobody else's; a cache may be written to while it is read.
        let open = |layer: bool| if layer { found.open_own() } else { found.open() }.map(File::from);
        let stat = &found.stat;
        if let Mtime::Normalized(epoch) = self.options.mtime {
            found.normalise_mtime(epoch)?;
        }
        let mut member = Member {
            kind: EntryType::Regular,
            name: found.path,
            link: b"",
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: 0,
            mtime: self.mtime((stat.st_mtime, stat.st_mtime_nsec as u32)),
            device: stat.st_rdev,
            xattrs: Vec::new(),
        };
        let file_type = found.file_type();
        if self.toc.is_some() {
            if is_whiteout(stat) && (self.options.own_marks || file_type != FileType::Socket) {
                return self.whiteout(whiteout_name(found.path), member.mtime);
            }
            refuse_whiteout_name(found.path)?;
        }
        // Directories have no hard links; whiteouts may be links of one another, but are whiteouts first.
        let linked = stat.st_nlink > 1 && !matches!(file_type, FileType::Directory | FileType::Socket);
        let id = FileId::Found(stat.st_dev, stat.st_ino);
        if let Some(first) = linked.then(|| self.first_name(id, found.path)).flatten() {
            // Owner and attributes are the first name's; readers take them from there.
            let of_toc = match file_type {
                FileType::Symlink => OfToc::Link(found.link_target().map_err(failed)?),
                FileType::RegularFile => OfToc::File(kept(found.path, || open(self.toc.is_some())).map_err(failed)?),
                _ => OfToc::File(Vec::new()),
            };
            return self.append_link(member, &first, &of_toc);
        }
        match file_type {
            FileType::RegularFile => {
                let file = open(self.toc.is_some()).map_err(failed)?;
                let xattrs = xattr::read_all(&file).map_err(failed)?;
                self.keep_xattrs(&file, &mut member, xattrs)?;
                member.size = u64::try_from(stat.st_size).unwrap_or(0);
                self.append_file(&member, &file)
            }
            FileType::Directory => self.add_directory(found, member),
            FileType::Symlink => {
                let target = found.link_target().map_err(failed)?;
                self.append(&Member { kind: EntryType::Symlink, link: &target, ..member })
            }
            FileType::Fifo => self.append(&Member { kind: EntryType::Fifo, ..member }),
            FileType::CharacterDevice => self.append(&Member { kind: EntryType::Char, ..member }),
            FileType::BlockDevice => self.append(&Member { kind: EntryType::Block, ..member }),
            FileType::Socket => {
                self.sockets.push(found.path.to_vec());
                Ok(())
            }
            FileType::Unknown => Ok(()),
        }
    }

    fn add_borrowed(&mut self, path: &[u8], lent: &BorrowedFile<'_>) -> Result<(), Error> {
        let failed = |source| Error::Read { path: lossy(path), source };
        refuse_whiteout_name(path)?;
        let mut member = Member {
            kind: EntryType::Regular,
            name: path,
            link: b"",
            mode: lent.mode,
            owner: lent.owner,
            size: 0,
            mtime: self.mtime(lent.mtime),
            device: 0,
            xattrs: Vec::new(),
        };
        if let Some(first) = lent.link.and_then(|link| self.first_name(FileId::Borrowed(link), path)) {
            let content = kept(path, || lent.lender.open(&lent.source)).map_err(failed)?;
            return self.append_link(member, &first, &OfToc::File(content));
        }
        let file = lent.lender.open(&lent.source).map_err(failed)?;
        if lent.lender.lends_xattrs() {
            member.xattrs = portable(xattr::read_all(&file).map_err(failed)?);
        }
        member.size = lent.size;
        self.append_file(&member, &file)?;
        lent.lender.unchanged(&lent.source, &file).map_err(failed)
    }

    fn mtime(&self, own: (i64, u32)) -> (i64, u32) {
        match self.options.mtime {
            Mtime::Normalized(seconds) => (seconds, 0),
            Mtime::Preserve => own,
        }
    }

    /// The name that a file with several was written under; `None` where this is the first.
    fn first_name(&mut self, id: FileId, path: &[u8]) -> Option<Vec<u8>> {
        let first = self.links.entry(id).or_insert_with(|| path.to_vec());
        (first != path).then(|| first.clone())
    }

    fn add_directory(&mut self, found: &Found<'_>, mut member: Member<'_>) -> Result<(), Error> {
        let mut xattrs = match found.directory() {
            Some(fd) => xattr::read_all(fd).map_err(|source| Error::Read { path: lossy(found.path), source })?,
            None => Vec::new(),
        };
        let foreign = |(name, _): &(Vec<u8>, Vec<u8>)| name == OPAQUE_OWN.as_bytes() && !self.options.own_marks;
        if let (true, Some(fd)) = (xattrs.iter().any(foreign), found.directory()) {
            fremovexattr(fd, OPAQUE_OWN).map_err(|errno| Error::Read { path: lossy(found.path), source: errno.into() })?;
            xattrs.retain(|xattr| !foreign(xattr));
        }
        let opaque = self.toc.is_some() && is_opaque(&xattrs);
        match found.directory() {
            Some(fd) => self.keep_xattrs(fd, &mut member, xattrs)?,
            None => self.take_xattrs(&mut member, xattrs)?,
        }
        let (mtime, mut name) = (member.mtime, found.path.to_vec());
        if !name.is_empty() {
            name.push(b'/');
            self.append(&Member { kind: EntryType::Directory, name: &name, ..member })?;
        }
        if opaque {
            name.extend_from_slice(b".wh..wh..opq");
            self.whiteout(name, mtime)?;
        }
        Ok(())
    }

    /// The same, and takes from the file what a layer leaves out.
    fn keep_xattrs(&self, fd: impl AsFd, member: &mut Member<'_>, xattrs: Xattrs) -> Result<(), Error> {
        if self.toc.is_some() {
            xattr::remove_unkept(fd, &xattrs);
        }
        self.take_xattrs(member, xattrs)
    }

    /// Keeps what belongs in a layer, and applies the recorded owner.
    fn take_xattrs(&self, member: &mut Member<'_>, xattrs: Xattrs) -> Result<(), Error> {
        if let Some(name) = xattr::overlay_feature(&xattrs).filter(|_| self.toc.is_some()) {
            return Err(Error::OverlayFeature { path: lossy(member.name), xattr: lossy(name) });
        }
        if self.options.owner_xattr {
            member.owner = xattr::owner(&xattrs).unwrap_or(member.owner);
        }
        member.xattrs = portable(xattrs);
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
        self.append(&member)
    }

    fn append_file(&mut self, member: &Member<'_>, mut file: &File) -> Result<(), Error> {
        let of_toc = kept(member.name, || file.try_clone());
        let of_toc = of_toc.and_then(|content| file.rewind().map(|()| content));
        let of_toc = of_toc.map_err(|source| Error::Read { path: lossy(member.name), source })?;
        let mut content = Exactly { file, left: member.size, shrank: false };
        let result = self.write(member, &mut content);
        let changed = || Error::Changed { path: lossy(member.name) };
        if content.shrank {
            return Err(changed());
        }
        result?;
        let more = content.file.read(&mut [0]).map_err(|source| Error::Read { path: lossy(member.name), source })?;
        self.summary.content += member.size;
        self.note(Member { xattrs: member.xattrs.clone(), ..*member }, &of_toc)?;
        if more == 0 { Ok(()) } else { Err(changed()) }
    }

    /// A member without content.
    fn append(&mut self, member: &Member<'_>) -> Result<(), Error> {
        self.write(member, io::empty())?;
        self.note(Member { xattrs: member.xattrs.clone(), ..*member }, b"")
    }

    fn note(&mut self, member: Member<'_>, content: &[u8]) -> Result<(), Error> {
        self.toc.as_mut().map_or(Ok(()), |toc| toc.add(member, content))
    }

    /// Another name of what was written as `first`.
    fn append_link(&mut self, member: Member<'_>, first: &[u8], of_toc: &OfToc) -> Result<(), Error> {
        let member = Member { kind: EntryType::Link, link: first, ..member };
        self.write(&member, io::empty())?;
        match of_toc {
            OfToc::Link(target) => self.note(Member { kind: EntryType::Symlink, link: target, ..member }, b""),
            OfToc::File(content) => self.note(Member { kind: EntryType::Regular, link: b"", ..member }, content),
        }
    }

    fn write(&mut self, member: &Member<'_>, content: impl Read) -> Result<(), Error> {
        if member.name.len() > NAME_MAX || member.link.len() > NAME_MAX {
            return Err(Error::LongPath { path: lossy(&member.name[..member.name.len().min(100)]), limit: NAME_MAX });
        }
        let (header, records) = encode(member);
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records).map_err(Error::Write)?;
        self.tar.append(&header, content).map_err(Error::Write)?;
        self.summary.entries += 1;
        Ok(())
    }
}

fn portable(xattrs: Xattrs) -> Xattrs {
    let kept = xattrs.into_iter().filter(|(name, _)| xattr::kept(name));
    kept.map(|(name, value)| (name.clone(), xattr::portable(&name, value))).collect()
}

fn refuse_whiteout_name(path: &[u8]) -> Result<(), Error> {
    match path.rsplit(|&b| b == b'/').next().is_some_and(|name| name.starts_with(b".wh.")) {
        true => Err(Error::WhiteoutName { path: lossy(path) }),
        false => Ok(()),
    }
}

fn whiteout_name(path: &[u8]) -> Vec<u8> {
    let base = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    [&path[..base], b".wh.", &path[base..]].concat()
}

/// A file's content, no more and no less than its size was when it was found.
struct Exactly<'f> {
    file: &'f File,
    left: u64,
    shrank: bool,
}

impl Read for Exactly<'_> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn normalised_times_reach_links_and_directories_but_not_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        symlink(outside.path(), dir.path().join("d/l")).unwrap();
        let options = LayerOptions { mtime: Mtime::Normalized(1_000), owner_xattr: false, own_marks: true };
        write_layer(dir.path(), &BorrowedFiles::default(), &options, io::sink(), &mut TocWriter::new(io::sink()).unwrap()).unwrap();
        for path in ["d", "d/l"] {
            let stat = fs::symlink_metadata(dir.path().join(path)).unwrap();
            assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_000, 0), "{path}");
        }
        assert_eq!(dir.path().metadata().unwrap().mtime(), 0);
        assert_ne!(outside.path().metadata().unwrap().mtime(), 1_000);
    }

    #[test]
    fn a_file_that_shrinks_or_grows_is_an_error() {
        for (size, left) in [(3, 5), (5, 3)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), vec![0; size]).unwrap();
            let options = LayerOptions { mtime: Mtime::Preserve, owner_xattr: false, own_marks: true };
            let toc = &mut TocWriter::new(io::sink()).unwrap();
            let mut writer = TarWriter {
                tar: Builder::new(Vec::new()),
                toc: Some(toc),
                options: &options,
                links: HashMap::new(),
                sockets: Vec::new(),
                summary: LayerSummary::default(),
            };
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
            let result = writer.append_file(&member, &File::open(file.path()).unwrap());
            assert!(matches!(result, Err(Error::Changed { .. })), "{size} bytes for {left}");
        }
    }
}
