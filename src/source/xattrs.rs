//! Extended attributes of an open file, of any kind, without following anything.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{getxattr, listxattr};
use rustix::io::Errno;

/// All attributes whose names `wanted` takes, sorted by name. `fd` may be an `O_PATH` descriptor; a file system without
/// attributes has none.
pub(super) fn read(fd: BorrowedFd<'_>, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // fgetxattr(2) refuses O_PATH descriptors; through /proc the file is named without being looked up again.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let names = match filled(|buffer| listxattr(&path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut out = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty() && wanted(name)) {
        match filled(|buffer| getxattr(&path, name, buffer)) {
            Ok(value) => out.push((name.to_vec(), value)),
            // Removed since it was listed, or listed but not readable by this user.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    out.sort();
    Ok(out)
}

/// Calls with a buffer that grows until the answer fits; the kernel's limit is 64 KiB (xattr(7)).
fn filled(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 16, 0),
            Err(error) => return Err(error),
        }
    }
}
