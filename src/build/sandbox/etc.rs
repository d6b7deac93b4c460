//! The files of /etc that a RUN sees instead of the image's: name resolution as on the host.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;

use super::network::NAMESERVER;
use super::spec::Network;

/// brik's own resolv.conf, nameservers on loopback included: they are in reach on the host's network. A private one has a nameserver that
/// asks them.
pub(super) fn resolv_conf(network: Network) -> Vec<u8> {
    let own = fs::read("/etc/resolv.conf").unwrap_or_default();
    if network == Network::Private { by_nameserver(&String::from_utf8_lossy(&own)).into_bytes() } else { own }
}

/// The search list and options of a resolv.conf (resolv.conf(5)), with slirp4netns's nameserver.
fn by_nameserver(own: &str) -> String {
    let kept =
        own.lines().filter(|line| ["search", "domain", "options"].contains(&line.split_ascii_whitespace().next().unwrap_or_default()));
    kept.map(str::to_owned).chain([format!("nameserver {NAMESERVER}")]).map(|line| line + "\n").collect()
}

/// The lines that BuildKit writes.
pub(super) fn hosts(hostname: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_network_keeps_the_search_list_and_no_nameserver_of_the_host() {
        let own = "# by systemd\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\nnameserver\t::1\n";
        assert_eq!(by_nameserver(own), "options edns0 trust-ad\nsearch corp.example\nnameserver 10.0.2.3\n");
        assert_eq!(by_nameserver(""), "nameserver 10.0.2.3\n");
    }
}
