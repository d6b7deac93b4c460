//! Headers of tar members: ustar; what that cannot hold goes to PAX records (POSIX.1-2017, pax). User and group names stay empty.

use rustix::fs::{major, minor};
use tar::{EntryType, Header};

use super::xattr::Xattrs;

/// What 8, and 12, bytes of octal digits and a NUL can hold.
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;

/// A member's metadata before it is squeezed into a header.
pub(super) struct Member<'a> {
    pub kind: EntryType,
    pub name: &'a [u8],
    pub link: &'a [u8],
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub mtime: (i64, u32),
    pub device: u64,
    pub xattrs: Xattrs,
}

/// The ustar header of a member and the PAX records for what does not fit in it, sorted by key.
pub(super) fn encode(member: &Member<'_>) -> (Header, Vec<(String, Vec<u8>)>) {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    let mut header = Header::new_ustar();
    let mut note = |key: &str, value: String| records.push((key.to_owned(), value.into_bytes()));

    header.set_entry_type(member.kind);
    header.set_mode(member.mode);
    let mut id = |key: &str, id: u32| {
        if id > MAX_ID {
            note(key, id.to_string());
            return 0;
        }
        u64::from(id)
    };
    header.set_uid(id("uid", member.owner.0));
    header.set_gid(id("gid", member.owner.1));
    if member.size > MAX_SIZE {
        note("size", member.size.to_string());
    }
    header.set_size(if member.size > MAX_SIZE { 0 } else { member.size });
    let (seconds, nanoseconds) = member.mtime;
    let whole = u64::try_from(seconds).ok().filter(|&s| s <= MAX_SIZE);
    if whole.is_none() || nanoseconds != 0 {
        note("mtime", pax_time(seconds, nanoseconds));
    }
    header.set_mtime(whole.unwrap_or(0));
    // Both calls only fail on headers that are not ustar.
    let device = match member.kind {
        EntryType::Char | EntryType::Block => member.device,
        _ => 0,
    };
    let _ = header.set_device_major(major(device));
    let _ = header.set_device_minor(minor(device));

    if let Some(ustar) = header.as_ustar_mut() {
        let mut text = |key: &str, field: &mut [u8; 100], value: &[u8]| {
            let length = value.len().min(field.len());
            field[..length].copy_from_slice(&value[..length]);
            if length < value.len() {
                records.push((key.to_owned(), value.to_vec()));
            }
        };
        text("path", &mut ustar.name, member.name);
        text("linkpath", &mut ustar.linkname, member.link);
    }
    header.set_cksum();
    // A PAX key is UTF-8 and ends at '='; an attribute whose name is neither cannot be expressed.
    let xattrs = member.xattrs.iter().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
    let xattrs = xattrs.filter(|(name, _)| !name.contains('='));
    records.extend(xattrs.map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone())));
    records.sort();
    (header, records)
}

/// Seconds with a decimal fraction, trailing zeros dropped; the fraction of a time before 1970 counts downwards.
fn pax_time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_pax_wants_them() {
        for (time, text) in
            [((5, 0), "5"), ((5, 250_000_000), "5.25"), ((-1, 500_000_000), "-0.5"), ((-2, 0), "-2"), ((10, 1), "10.000000001")]
        {
            assert_eq!(pax_time(time.0, time.1), text);
        }
    }

    #[test]
    fn what_a_header_cannot_hold_goes_to_records() {
        let long = [b'n'; 101];
        let member = Member {
            kind: EntryType::Regular,
            name: &long,
            link: b"",
            mode: 0o4755,
            owner: (MAX_ID, MAX_ID + 1),
            size: MAX_SIZE + 1,
            mtime: (1, 0),
            device: 0,
            xattrs: vec![(b"user.a".to_vec(), b"b\nc".to_vec())],
        };
        let (header, records) = encode(&member);
        let keys: Vec<_> = records.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["SCHILY.xattr.user.a", "gid", "path", "size"]);
        assert_eq!((header.uid().unwrap(), header.mode().unwrap()), (u64::from(MAX_ID), 0o4755));
    }
}
