//! Extended attributes: which of them a layer carries, and brik's own.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr, flistxattr_query, fremovexattr};
use rustix::io::Errno;

/// `"uid:gid"` of a file or directory whose owner could not be set because only one id is mapped. Never in a layer.
pub const OWNER: &str = "user.brik.owner";
const CAPABILITY: &[u8] = b"security.capability";

/// The largest value that the kernel stores (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 65_536;

/// Names and values, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Whether a layer keeps an attribute: file capabilities only, as in every layer that BuildKit (containerd) makes.
pub(super) fn kept(name: &[u8]) -> bool {
    name == CAPABILITY
}

/// Whether an attribute steers overlayfs or brik: never read from an archive, or a layer could redirect lookups.
pub fn private(name: &[u8]) -> bool {
    [&b"user.overlay."[..], b"trusted.overlay.", b"user.brik."].iter().any(|prefix| name.starts_with(prefix))
}

/// All attributes of an open file, sorted by name.
pub fn read_all(fd: impl AsFd) -> io::Result<Xattrs> {
    let size = match flistxattr_query(&fd) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(size) => size,
        Err(error) => return Err(error.into()),
    };
    let mut names = vec![0u8; size];
    let length = flistxattr(&fd, &mut names[..])?;
    names.truncate(length);
    let mut value = vec![0u8; VALUE_MAX];
    let mut all = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        match fgetxattr(&fd, name, &mut value[..]) {
            Ok(length) => all.push((name.to_vec(), value[..length].to_vec())),
            // Listed and gone, or listed and not for us.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    all.sort();
    Ok(all)
}

/// Takes away what a layer does not keep, so that the file is what unpacking its layer gives. What the kernel does not let go, as
/// SELinux's labels, is the machine's.
pub fn remove_unkept(fd: impl AsFd, all: &Xattrs) {
    for (name, _) in all.iter().filter(|(name, _)| !kept(name) && !private(name)) {
        let _ = fremovexattr(&fd, name.as_slice());
    }
}

pub(super) fn value<'a>(xattrs: &'a Xattrs, name: &str) -> Option<&'a [u8]> {
    xattrs.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value.as_slice())
}

/// The attribute by which overlayfs says that a file's content or name is elsewhere.
pub(super) fn overlay_feature(xattrs: &Xattrs) -> Option<&[u8]> {
    let features = [&b".overlay.redirect"[..], b".overlay.metacopy"];
    xattrs.iter().map(|(name, _)| name.as_slice()).find(|name| features.iter().any(|feature| name.ends_with(feature)) && private(name))
}

/// The owner recorded in [`OWNER`].
pub(super) fn owner(xattrs: &Xattrs) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value(xattrs, OWNER)?).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// The value as a layer has it: file capabilities set inside a user namespace are stored with that namespace's root id (revision 3,
/// linux/capability.h) and are portable only without it (revision 2).
pub(super) fn portable(name: &[u8], value: Vec<u8>) -> Vec<u8> {
    match (name, value.len(), value.get(..4)) {
        (CAPABILITY, 24, Some(&[flags, _, _, 3])) => [&[flags, 0, 0, 2][..], &value[4..20]].concat(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_keep_capabilities_only() {
        for (name, expected) in [
            ("security.capability", true),
            ("user.mime_type", false),
            ("user.overlay.opaque", false),
            ("user.brik.owner", false),
            ("trusted.overlay.opaque", false),
            ("trusted.x", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ] {
            assert_eq!(kept(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn capabilities_of_a_namespace_become_those_of_any() {
        let v3 = [&[1, 0, 0, 3, 10, 0, 0, 0][..], &[0; 12], &1000u32.to_le_bytes()].concat();
        let v2 = [&[1, 0, 0, 2, 10, 0, 0, 0][..], &[0; 12]].concat();
        assert_eq!(portable(CAPABILITY, v3), v2);
        assert_eq!(portable(CAPABILITY, v2.clone()), v2);
    }
}
