//! Archives that no well-behaved program writes.

use tar::{Builder, EntryType, Header};

/// One member: whatever it is made of is written as it is.
#[derive(Clone)]
pub struct Member {
    header: Header,
    pax: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
}

pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    members.iter().for_each(|member| member.append(&mut tar));
    tar.into_inner().expect("memory takes it")
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Member {
    Member { content: content.as_ref().to_vec(), ..member(EntryType::Regular, name.as_ref(), b"") }.size(content.as_ref().len() as u64)
}

pub fn directory(name: impl AsRef<[u8]>) -> Member {
    member(EntryType::Directory, name.as_ref(), b"").mode(0o755)
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    member(EntryType::Symlink, name.as_ref(), target.as_ref())
}

pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    member(EntryType::Link, name.as_ref(), target.as_ref())
}

pub fn node(kind: EntryType, name: &str, (major, minor): (u32, u32)) -> Member {
    let mut node = member(kind, name.as_bytes(), b"").mode(0o666);
    node.header.set_device_major(major).and_then(|()| node.header.set_device_minor(minor)).expect("a device");
    node
}

/// Names that a header has no room for stand in a PAX record.
pub fn member(kind: EntryType, name: &[u8], link: &[u8]) -> Member {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut member = Member { header, pax: Vec::new(), content: Vec::new() };
    for (at, key, bytes) in [(0, "path", name), (157, "linkpath", link)] {
        match bytes.len() <= 100 {
            true => member.header.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes),
            false => member.pax.push((key.to_owned(), bytes.to_vec())),
        }
    }
    member
}

impl Member {
    pub fn mode(mut self, mode: u32) -> Self {
        self.header.set_mode(mode);
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.header.set_uid(uid);
        self.header.set_gid(gid);
        self
    }

    /// What the header says, whatever follows.
    pub fn size(mut self, size: u64) -> Self {
        self.header.set_size(size);
        self
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// To write what has no words here.
    pub fn header(&mut self) -> &mut Header {
        &mut self.header
    }

    pub fn append<W: std::io::Write>(&self, tar: &mut Builder<W>) {
        let records = self.pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        tar.append_pax_extensions(records).expect("memory takes it");
        let mut header = self.header.clone();
        header.set_cksum();
        tar.append(&header, self.content.as_slice()).expect("memory takes it");
    }
}
