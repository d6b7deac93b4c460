//! Creating the members of an archive below a root: as an overlay lower directory (a layer) or as plain files (`ADD x.tar.gz`).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fchmod, fstat, linkat, makedev, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;

use super::attributes::{Setter, Time, forget_owner, set_mode_and_time};
use super::member_path::{clean, join, split};
use super::merged::{Implied, Resolved, resolve};
use super::root::{Directory, Root};
use super::stream::{Decoded, Limits};
use super::tar_reader::{Member, MemberKind, TarReader};
use super::whiteout::{is_whiteout, make_whiteout, mark_opaque};
use super::{Error, lossy, xattr};

/// Zeros that come in pieces of this many bytes or more take no space on disk.
const HOLE_MIN: usize = 4096;
const BUFFER: usize = 128 << 10;

/// How members are created.
pub(super) struct Policy<'a> {
    /// Whether `.wh.` names are whiteouts, and the root's own entry counts: a layer.
    pub layer: bool,
    /// Whether an owner that cannot be set is recorded in [`super::OWNER`] instead.
    pub single_uid: bool,
    /// In place of every member's owner.
    pub owner: Option<(u32, u32)>,
    /// What lies below, uppermost first; `None` where that is not known.
    pub lowers: Option<&'a [PathBuf]>,
}

/// What was made of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    pub members: u64,
    /// Bytes of file content.
    pub content: u64,
    /// Device nodes left out because this process may not make them.
    pub skipped_devices: u64,
}

pub(super) struct Extractor<'a> {
    root: Root,
    base: Vec<u8>,
    policy: Policy<'a>,
    /// Directories whose mode and time are set last, so that filling them neither fails nor changes them.
    directories: BTreeMap<Vec<u8>, (u32, Time)>,
    /// Bytes of the names in that.
    names: u64,
    done: Extracted,
    /// For content: files of this size are written by one call.
    buffer: Vec<u8>,
}

/// Where a member goes.
struct Place {
    path: Vec<u8>,
    parent: Rc<Directory>,
    name: Vec<u8>,
}

impl<'a> Extractor<'a> {
    /// Extracts to the directory `base` inside of `root`; it is created where it is missing.
    pub(super) fn new(root: &Path, base: &[u8], policy: Policy<'a>) -> Result<Self, Error> {
        let failed = |source| Error::Destination { path: root.to_string_lossy().into_owned(), source };
        let base = clean(base).ok_or_else(|| Error::Escapes { member: lossy(base) })?;
        let root = Root::open(root).map_err(failed)?;
        let mut extractor =
            Self { root, base, policy, directories: BTreeMap::new(), names: 0, done: Extracted::default(), buffer: vec![0; BUFFER] };
        extractor.directory(&extractor.base.clone(), failed)?;
        Ok(extractor)
    }

    /// Extracts a whole archive. `made` hears of every member that was.
    pub(super) fn run(
        mut self,
        decoded: &mut Decoded<'_>,
        limits: &Limits,
        mut made: impl FnMut(&Self, &Member) -> Result<(), Error>,
    ) -> Result<Extracted, Error> {
        let mut tar = TarReader::new(decoded);
        while let Some(member) = tar.next()? {
            self.done.members += 1;
            if self.done.members > limits.members {
                return Err(Error::TooManyMembers { limit: limits.members });
            }
            self.done.content = self.done.content.saturating_add(member.size);
            tar.inner().check(self.done.content)?;
            let added = self.add(&member, &mut tar)?;
            limits.check_names(self.names)?;
            if added {
                made(&self, &member)?;
            }
        }
        self.finish()
    }

    /// Extracts one member. Whether that was anything: another name of a file that is the same name is nothing.
    pub(super) fn add(&mut self, member: &Member, content: &mut impl Read) -> Result<bool, Error> {
        let failed = |source| Error::Create { member: lossy(&member.name), source };
        let relative = clean(&member.name).ok_or_else(|| Error::Escapes { member: lossy(&member.name) })?;
        if relative.is_empty() {
            return match member.kind {
                MemberKind::Directory if self.policy.layer => self.add_root(member).map_err(failed).map(|()| true),
                // An archive's `./` says nothing about the directory that it is unpacked to.
                MemberKind::Directory => Ok(true),
                _ => Err(Error::Malformed { member: lossy(&member.name), reason: "the root can only be a directory" }),
            };
        }
        let path = join(&self.base, &relative);
        let (above, name) = split(&path);
        if let Some(hidden) = name.strip_prefix(b".wh.").filter(|_| self.policy.layer) {
            return self.add_whiteout(member, above, hidden).map(|()| true);
        }
        let parent = self.directory(above, failed)?;
        let place = Place { path: join(&parent.path, name), parent, name: name.to_vec() };
        let added = match member.kind {
            MemberKind::Hardlink => return self.add_hardlink(&place, member),
            MemberKind::File => self.add_file(&place, member, content),
            MemberKind::Directory => self.add_directory(&place, member).map_err(failed),
            MemberKind::Symlink => {
                let link = || symlinkat(member.link.as_slice(), &place.parent, place.name.as_slice());
                self.create(&place, link).and_then(|()| self.describe_special(&place, member)).map_err(failed)
            }
            MemberKind::Fifo => self.add_node(&place, member, FileType::Fifo, 0).map_err(failed),
            MemberKind::CharDevice | MemberKind::BlockDevice => self.add_device(&place, member).map_err(failed),
        };
        added.map(|()| true)
    }

    /// A regular file that was made of a member.
    pub(super) fn file_at(&self, member: &Member) -> io::Result<File> {
        let path = clean(&member.name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.root.open_at(&join(&self.base, &path), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?.into())
    }

    /// Where a member leads that is a symbolic link now, whatever it was in the archive.
    pub(super) fn link_at(&self, member: &Member) -> Option<Vec<u8>> {
        let path = join(&self.base, &clean(&member.name)?);
        let fd = self.root.open_at(&path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        readlinkat(fd, c"", Vec::new()).ok().map(CString::into_bytes)
    }

    fn add_root(&mut self, member: &Member) -> io::Result<()> {
        let fd = self.root.open_at(&self.base, OFlags::RDONLY | OFlags::DIRECTORY)?;
        forget_owner(&fd)?;
        self.describe(&fd, member)?;
        self.directories.insert(self.base.clone(), (member.mode, member.mtime));
        Ok(())
    }

    fn add_whiteout(&mut self, member: &Member, above: &[u8], hidden: &[u8]) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Create { member: lossy(&member.name), source };
        let parent = self.directory(above, failed)?;
        if hidden == b".wh..opq" {
            let fd = openat(&parent, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let mark = fd.and_then(mark_opaque);
            return mark.map_err(|error| failed(error.into()));
        }
        if hidden.starts_with(b".wh.") {
            // Other marks of aufs (`.wh..wh.plnk`) mean nothing outside of it.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::Malformed { member: lossy(&member.name), reason: "a whiteout of nothing" });
        }
        let place = Place { path: join(&parent.path, hidden), parent, name: hidden.to_vec() };
        let whiteout = || make_whiteout(&place.parent, &place.name);
        self.create(&place, whiteout).map_err(failed)
    }

    /// The directory at `path`, which an archive may imply without a member of its own.
    fn directory(&mut self, path: &[u8], failed: impl Fn(io::Error) -> Error) -> Result<Rc<Directory>, Error> {
        if let Some(known) = self.root.known(path) {
            return Ok(known);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.root.open_at(path, flags) {
            Ok(fd) => Ok(self.root.keep(path, Directory { fd, path: path.to_vec() })),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let resolved = self.resolve(path, &failed)?;
                for implied in &resolved.missing {
                    self.imply(implied).map_err(&failed)?;
                }
                let fd = self.root.open_at(&resolved.path, flags).map_err(|error| failed(error.into()))?;
                Ok(self.root.keep(path, Directory { fd, path: resolved.path }))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    fn resolve(&self, path: &[u8], failed: impl Fn(io::Error) -> Error) -> Result<Resolved<'a>, Error> {
        let resolved = resolve(&self.root, self.policy.lowers, path).map_err(failed)?;
        resolved.ok_or_else(|| Error::NeedsLowers { path: lossy(path) })
    }

    /// Makes a directory that has no member: as it is in the layers below, 0755 and root's where they have none.
    fn imply(&mut self, implied: &Implied) -> io::Result<()> {
        let (above, name) = split(&implied.path);
        let parent = self.root.open_at(above, OFlags::PATH | OFlags::DIRECTORY)?;
        if implied.whiteout {
            self.root.remove(&parent, name)?;
        }
        mkdirat(&parent, name, Mode::from(0o755))?;
        let fd = openat(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        // The umask must not show in an image.
        fchmod(&fd, Mode::from(0o755))?;
        if implied.whiteout {
            mark_opaque(&fd)?;
        }
        let (mut mode, mut mtime) = (0o755, (0, 0));
        if let Some(below) = &implied.below {
            self.setter().owner(&fd, below.owner)?;
            self.setter().xattrs(&fd, &below.xattrs)?;
            (mode, mtime) = (below.mode, below.mtime);
        }
        if self.policy.layer {
            self.set_last(&implied.path, (mode, mtime));
        }
        Ok(())
    }

    fn set_last(&mut self, directory: &[u8], mode_and_time: (u32, Time)) {
        if self.directories.insert(directory.to_vec(), mode_and_time).is_none() {
            self.names += directory.len() as u64;
        }
    }

    fn add_file(&mut self, place: &Place, member: &Member, content: &mut impl Read) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Create { member: lossy(&member.name), source };
        let mut file = self.create_file(place).map_err(failed)?;
        let mut ends_in_hole = false;
        loop {
            let n = fill(content, &mut self.buffer).map_err(Error::from_stream)?;
            if n == 0 {
                break;
            }
            let piece = &self.buffer[..n];
            ends_in_hole = n >= HOLE_MIN && piece.iter().all(|&byte| byte == 0);
            let written = if ends_in_hole { file.seek_relative(n as i64) } else { file.write_all(piece) };
            written.map_err(failed)?;
        }
        if ends_in_hole {
            file.set_len(member.size).map_err(failed)?;
        }
        self.describe(&file, member).map_err(failed)?;
        set_mode_and_time(&file, member.mode, member.mtime).map_err(|error| failed(error.into()))
    }

    fn create_file(&mut self, place: &Place) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.create(place, || openat(&place.parent, place.name.as_slice(), flags, Mode::from(0o600))).map(File::from)
    }

    fn add_directory(&mut self, place: &Place, member: &Member) -> io::Result<()> {
        let make = || mkdirat(&place.parent, place.name.as_slice(), Mode::from(0o700));
        let (mut hides_lower, mut known) = (false, false);
        if let Err(error) = make() {
            let there = match error {
                Errno::EXIST => statat(&place.parent, place.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?,
                error => return Err(error.into()),
            };
            known = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
            if !known {
                // A whiteout and then a directory of that name: the directory, with nothing of the lower one in it.
                hides_lower = self.policy.layer && is_whiteout(&there);
                self.vacate(place)?;
                make()?;
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&place.parent, place.name.as_slice(), flags, Mode::empty())?;
        if known {
            forget_owner(&fd)?;
        }
        self.describe(&fd, member)?;
        if hides_lower {
            mark_opaque(&fd)?;
        }
        self.set_last(&place.path, (member.mode, member.mtime));
        Ok(())
    }

    fn add_hardlink(&mut self, place: &Place, member: &Member) -> Result<bool, Error> {
        let failed = |source: io::Error| Error::Create { member: lossy(&member.name), source };
        let target = clean(&member.link).filter(|target| !target.is_empty());
        let target = target.ok_or_else(|| Error::Escapes { member: lossy(&member.name) })?;
        let target = join(&self.base, &target);
        if target == place.path {
            return Ok(false);
        }
        let (above, name) = split(&target);
        let find = |root: &Root, above: &[u8]| {
            let parent = root.open_at(above, OFlags::PATH | OFlags::DIRECTORY)?;
            statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (parent, stat))
        };
        let mut found = find(&self.root, above);
        let mut resolved = None;
        if let Err(Errno::NOENT | Errno::NOTDIR) = found {
            let through_lowers = self.resolve(above, failed)?;
            found = find(&self.root, &through_lowers.path);
            resolved = Some(through_lowers);
        }
        match found {
            Ok((parent, stat)) if !(self.policy.layer && is_whiteout(&stat)) => {
                let link = || linkat(&parent, name, &place.parent, place.name.as_slice(), AtFlags::empty());
                return self.create(place, link).map_err(failed).map(|()| true);
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        if let Some(resolved) = resolved {
            if self.policy.lowers.is_none() {
                return Err(Error::NeedsLowers { path: lossy(&target) });
            }
            if self.copy_from_lower(place, &resolved, name).map_err(failed)? {
                return Ok(true);
            }
        }
        Err(Error::HardlinkOutsideLayer { member: lossy(&member.name), target: lossy(&target) })
    }

    /// Copies the file that a hard link means from the uppermost lower directory that has it: two layers cannot share an inode.
    fn copy_from_lower(&mut self, place: &Place, above: &Resolved<'_>, name: &[u8]) -> io::Result<bool> {
        let target = join(&above.path, name);
        for lower in &above.lowers {
            let lower = Root::open(lower)?;
            let stat = match lower.open_at(&target, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => fstat(fd)?,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(error) => return Err(error.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(false);
            }
            let mut source = File::from(lower.open_at(&target, OFlags::RDONLY | OFlags::NOFOLLOW)?);
            let mut file = self.create_file(place)?;
            self.done.content += io::copy(&mut source, &mut file)?;
            let xattrs = xattr::read_all(&source)?;
            self.setter().owner(&file, xattr::owner(&xattrs).unwrap_or((stat.st_uid, stat.st_gid)))?;
            self.setter().xattrs(&file, &xattrs)?;
            set_mode_and_time(&file, stat.st_mode & 0o7777, (stat.st_mtime, stat.st_mtime_nsec as u32))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn add_device(&mut self, place: &Place, member: &Member) -> io::Result<()> {
        let device = makedev(member.device.0, member.device.1);
        let kind = if member.kind == MemberKind::CharDevice { FileType::CharacterDevice } else { FileType::BlockDevice };
        // To overlayfs, character device 0:0 is a whiteout: no archive makes one that is not called so.
        if device == 0 {
            self.done.skipped_devices += 1;
            return Ok(());
        }
        match self.add_node(place, member, kind, device) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                self.done.skipped_devices += 1;
                Ok(())
            }
            result => result,
        }
    }

    fn add_node(&mut self, place: &Place, member: &Member, kind: FileType, device: u64) -> io::Result<()> {
        self.create(place, || mknodat(&place.parent, place.name.as_slice(), kind, Mode::from(0o600), device))?;
        self.describe_special(place, member)
    }

    /// Owner and attributes of an open file or directory.
    fn describe(&self, fd: impl AsFd, member: &Member) -> io::Result<()> {
        self.setter().owner(&fd, self.owner(member))?;
        self.setter().xattrs(&fd, &member.xattrs)
    }

    fn describe_special(&self, place: &Place, member: &Member) -> io::Result<()> {
        let mode = (member.kind != MemberKind::Symlink).then_some(member.mode);
        self.setter().special(&place.parent, &place.name, self.owner(member), mode, member.mtime)
    }

    fn owner(&self, member: &Member) -> (u32, u32) {
        self.policy.owner.unwrap_or((member.uid, member.gid))
    }

    fn setter(&self) -> Setter {
        Setter { single_uid: self.policy.single_uid }
    }

    /// Creates something, in the place of whatever is there: the last member of a name wins.
    fn create<T>(&mut self, place: &Place, make: impl Fn() -> rustix::io::Result<T>) -> io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.vacate(place)?;
                Ok(make()?)
            }
            result => Ok(result?),
        }
    }

    fn vacate(&mut self, place: &Place) -> io::Result<()> {
        let below = join(&place.path, b"");
        let gone = self.directories.range(below.clone()..).map(|(path, _)| path.clone()).take_while(|path| path.starts_with(&below));
        for path in gone.collect::<Vec<_>>() {
            self.directories.remove(&path);
        }
        self.directories.remove(&place.path);
        self.root.remove(&place.parent.fd, &place.name)
    }

    /// To be called when all members were added.
    pub(super) fn finish(mut self) -> Result<Extracted, Error> {
        if self.policy.layer {
            // Nothing of the time of unpacking may show: without an entry the root has time 0.
            self.directories.entry(Vec::new()).or_insert((0o755, (0, 0)));
        }
        // Children come after their parents in the map, and are done first.
        for (path, (mode, mtime)) in self.directories.iter().rev() {
            let set = |fd: OwnedFd| set_mode_and_time(fd, *mode, *mtime);
            match self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW).and_then(set) {
                // Removed since, through another name of its parent.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(Error::Create { member: lossy(path), source: error.into() }),
            }
        }
        Ok(self.done)
    }
}

/// Fills `buffer` as far as `reader` goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
