//! The destination of a datagram: the address of this machine to which the client sent it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;

use nix::libc::c_int;

#[cfg(any(target_os = "android", target_os = "linux"))]
use {
    nix::errno::Errno,
    nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike,
        sendmsg, setsockopt, sockopt,
    },
    std::io::IoSlice,
    std::net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    std::os::fd::AsRawFd,
};

use crate::values::address::Address;

/// The destination of a datagram that has come to a wildcard address, `0.0.0.0` or `[::]`.
///
/// The system reports the destination with each datagram (`IP_PKTINFO`, `IPV6_PKTINFO`), and
/// accepts it as the source of the reply. Without a given source, the route to the client decides
/// about it. A client that has connected its socket drops a reply from another address than it has
/// sent to. Every router with address translation does so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    ip: IpAddr,
    /// The index of the interface, for an address that is valid on one link only; otherwise 0.
    interface: u32,
    /// Whether the address is neither a broadcast nor a multicast address, so that it can be the
    /// source of a reply.
    is_unicast: bool,
}

impl Destination {
    /// Returns the destination with the port of the socket.
    pub(crate) fn address(&self, port: u16) -> Address {
        let address = match self.ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.interface).into(),
        };
        address.into()
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.ip.to_canonical()
    }

    pub(crate) fn is_unicast(&self) -> bool {
        self.is_unicast
    }
}

/// Makes the system report the destination of each datagram if `socket` is bound to the wildcard
/// address `local`. Returns whether the system does.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn report_destinations(socket: BorrowedFd<'_>, local: &SocketAddr) -> bool {
    if !local.ip().is_unspecified() {
        return false;
    }
    let inet = setsockopt(&socket, sockopt::Ipv4PacketInfo, &true);
    match local {
        SocketAddr::V4(_) => inet.is_ok(),
        // Both options are set: the datagram of an IPv4 client carries both messages, and only the
        // IPv4 message distinguishes a broadcast from a unicast address.
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).is_ok(),
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn report_destinations(_: BorrowedFd<'_>, _: &SocketAddr) -> bool {
    false
}

/// Sends a datagram from the address of `source`.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn send_from(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    source: &Destination,
    receiver: &SocketAddr,
    flags: c_int,
) -> io::Result<()> {
    match (source.ip, *receiver) {
        (IpAddr::V4(ip), SocketAddr::V4(receiver)) => {
            let info = in_pktinfo {
                // The route decides about the interface.
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr {
                    s_addr: u32::from(ip).to_be(),
                },
                ipi_addr: in_addr { s_addr: 0 },
            };
            let message = ControlMessage::Ipv4PacketInfo(&info);
            send_with(socket, packet, message, &SockaddrIn::from(receiver), flags)
        }
        (IpAddr::V6(ip), SocketAddr::V6(receiver)) => {
            let info = in6_pktinfo {
                ipi6_addr: in6_addr {
                    s6_addr: ip.octets(),
                },
                ipi6_ifindex: source.interface,
            };
            let message = ControlMessage::Ipv6PacketInfo(&info);
            send_with(socket, packet, message, &SockaddrIn6::from(receiver), flags)
        }
        _ => Err(Errno::EAFNOSUPPORT.into()),
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn send_from(
    _: BorrowedFd<'_>,
    _: &[u8],
    _: &Destination,
    _: &SocketAddr,
    _: c_int,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn send_with(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    message: ControlMessage<'_>,
    receiver: &impl SockaddrLike,
    flags: c_int,
) -> io::Result<()> {
    let packet = [IoSlice::new(packet)];
    let flags = MsgFlags::from_bits_retain(flags);
    sendmsg(
        socket.as_raw_fd(),
        &packet,
        &[message],
        flags,
        Some(receiver),
    )?;
    Ok(())
}

/// Finds the destination among the control messages of a datagram.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn find_destination(
    messages: impl Iterator<Item = ControlMessageOwned>,
) -> Option<Destination> {
    let mut found = None;
    for message in messages {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => found = Some(of_ipv6(&info)),
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let mut destination = of_ipv4(&info);
                if let (Some(_), IpAddr::V4(ip)) = (found, destination.ip) {
                    // The socket is an IPv6 socket, for which an IPv4 address is a mapped address.
                    destination.ip = ip.to_ipv6_mapped().into();
                }
                // This message has the kind of the address: see `report_destinations`.
                return Some(destination);
            }
            _ => {}
        }
    }
    found
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn of_ipv6(info: &in6_pktinfo) -> Destination {
    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
    let is_of_a_link = ip.is_unicast_link_local() || ip.is_multicast();
    Destination {
        ip: ip.into(),
        interface: if is_of_a_link { info.ipi6_ifindex } else { 0 },
        is_unicast: !ip.is_multicast(),
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn of_ipv4(info: &in_pktinfo) -> Destination {
    let [ip, source] = [info.ipi_addr, info.ipi_spec_dst].map(|it| u32::from_be(it.s_addr).into());
    let ip: Ipv4Addr = ip;
    Destination {
        ip: ip.into(),
        interface: 0,
        // According to ip(7), `ipi_spec_dst` is "the local address of the packet", which differs
        // from the destination for broadcast and multicast. Linux leaves it out if the datagram
        // came before the option was set, such as a datagram that waits in a given socket.
        is_unicast: ip == source
            || source.is_unspecified() && !ip.is_multicast() && !is_broadcast(ip),
    }
}

/// Returns whether connect(2) to the address fails with `EACCES`, the error for a broadcast address
/// without `SO_BROADCAST`.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn is_broadcast(ip: Ipv4Addr) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let connected = socket.and_then(|socket| socket.connect((ip, 9)));
    connected.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
