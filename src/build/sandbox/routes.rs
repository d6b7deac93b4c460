//! Routes of the calling thread's network namespace that lead nowhere, by rtnetlink(7).

use std::io;
use std::net::Ipv4Addr;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// linux/netlink.h and linux/rtnetlink.h.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWROUTE: u16 = 24;
const RTN_UNREACHABLE: u8 = 7;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_TABLE_MAIN: u8 = 254;
const RTA_DST: u16 = 1;
const AF_INET: u8 = 2;
/// Bytes of a `nlmsghdr`, which an error number of 4 bytes follows in the answer.
const HEADER: usize = 16;

/// Sends to addresses of `network` fail with "no route to host", and go out through no device either: the kernel then looks for the
/// address on the device's own link.
pub(super) fn refuse(network: Ipv4Addr, prefix_length: u8) -> io::Result<()> {
    // NETLINK_ROUTE is the protocol 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::sendto(&socket, &new_route(network, prefix_length), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer[..length].get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(Errno::from_raw_os_error(-error).into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A `nlmsghdr`, a `rtmsg` and the attribute of the destination.
fn new_route(network: Ipv4Addr, prefix_length: u8) -> [u8; 36] {
    let mut message = [0; 36];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        message[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&36u32.to_ne_bytes());
    put(&RTM_NEWROUTE.to_ne_bytes());
    put(&(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
    // Sequence number and port: this is the only message, and the kernel fills the port in.
    put(&[0; 8]);
    put(&[AF_INET, prefix_length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE]);
    put(&0u32.to_ne_bytes());
    put(&8u16.to_ne_bytes());
    put(&RTA_DST.to_ne_bytes());
    put(&network.octets());
    message
}
