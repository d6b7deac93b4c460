//! The files of /etc that a RUN sees instead of the image's: name resolution as on the host.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;

/// brik's own resolv.conf, nameservers on loopback included: a RUN with network has the host's network.
pub(super) fn resolv_conf() -> Vec<u8> {
    fs::read("/etc/resolv.conf").unwrap_or_default()
}

/// The lines that BuildKit writes.
pub(super) fn hosts(hostname: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}
