//! Random archives for ADD, made on the fly.

use std::io::Write;

use fastrand::Rng;
use tar::{EntryType, Header};

use super::context::choose;

/// vfs_cap_data, revision 2: cap_net_bind_service, permitted and effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Its name in the context, and its bytes. `links`: with hard links.
pub fn generate(rng: &mut Rng, links: bool) -> (&'static str, Vec<u8>) {
    let mut archive = tar::Builder::new(Vec::new());
    // The headers of `t/f0` and its links agree, as tar writes them: BuildKit and brik go by the last one, buildah by the first.
    let (uid, gid, mode) = (choose(rng, &[0, 7, 1000]), choose(rng, &[0, 50]), choose(rng, &[0o644, 0o640, 0o755, 0o4711]));
    let mut add = |path: &str, kind: EntryType, target: Option<&str>, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { mode });
        header.set_uid(uid);
        header.set_gid(gid);
        match target {
            Some(target) => archive.append_link(&mut header, path, target).unwrap(),
            None => archive.append_data(&mut header, path, content).unwrap(),
        }
    };
    add("t/", EntryType::Directory, None, b"");
    add("t/f0", EntryType::Regular, None, b"in an archive");
    if links {
        add("t/hard", EntryType::Link, Some("t/f0"), b"");
    }
    if rng.bool() {
        add("t/soft", EntryType::Symlink, Some("../t/f0"), b"");
    }
    if rng.bool() {
        let long = format!("t/{}", "long-".repeat(30));
        add(&long, EntryType::Regular, None, b"");
    }
    if rng.bool() {
        add("t/f0", EntryType::Regular, None, b"once more");
    }
    if rng.bool() {
        archive
            .append_pax_extensions([("SCHILY.xattr.security.capability", &CAPABILITY[..]), ("SCHILY.xattr.user.brik", b"none")])
            .unwrap();
        let mut header = Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        archive.append_data(&mut header, "t/xattr", &b"x"[..]).unwrap();
    }
    compress(rng, &archive.into_inner().unwrap())
}

fn compress(rng: &mut Rng, archive: &[u8]) -> (&'static str, Vec<u8>) {
    match rng.u8(0..4) {
        0 => ("a.tar", archive.to_owned()),
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(archive).unwrap();
            ("a.tar.gz", gzip.finish().unwrap())
        }
        2 => {
            let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
            xz.write_all(archive).unwrap();
            ("a.tar.xz", xz.finish().unwrap())
        }
        _ => {
            let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            bzip2.write_all(archive).unwrap();
            ("a.tar.bz2", bzip2.finish().unwrap())
        }
    }
}
