//! The differences between operating systems, so that the other files are the same for all.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::libc::c_int;
use nix::poll::PollFlags;
use nix::sys::stat::Mode;
use socket2::{SockAddr, Socket, Type};

#[cfg(any(target_os = "android", target_os = "linux"))]
use {
    nix::errno::Errno,
    nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    nix::sys::signal::{SigSet, SigmaskHow, Signal},
    nix::unistd::Pid,
    socket2::{Domain, SockRef},
    std::os::fd::FromRawFd,
    std::os::unix::fs::OpenOptionsExt,
};

/// `MSG_NOSIGNAL`: a send to a client that has left fails with `EPIPE`, and the process receives no
/// `SIGPIPE`. Apple has the option `SO_NOSIGPIPE` instead, which `socket2` sets.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const NO_SIGNAL: c_int = nix::libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const NO_SIGNAL: c_int = 0;

/// sendfile(2) with the flags of send(2): with `MSG_DONTWAIT` the call does not wait for room, and
/// `SIGPIPE` is never raised. Fails with `EINVAL` if the call does not support the kind of file.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn send_file(
    socket: &Socket,
    flags: c_int,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let Ok(mut offset) = nix::libc::off_t::try_from(offset) else {
        // No file is longer than that.
        return Ok(0);
    };
    let mut send = || {
        let sent = nix::sys::sendfile::sendfile(socket, file, Some(&mut offset), count);
        Ok(sent?)
    };
    without_sigpipe(|| {
        if flags & nix::libc::MSG_DONTWAIT == 0 {
            return send();
        }
        // sendfile(2) has no flags, so the mode of the socket takes their place.
        socket.set_nonblocking(true)?;
        let sent = send();
        socket.set_nonblocking(false).and(sent)
    })
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn send_file(_: &Socket, _: c_int, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(nix::errno::Errno::ENOSYS.into())
}

/// Calls `send` with `SIGPIPE` blocked in this thread, and then removes the signal that the call
/// has raised, since sendfile(2) has no `MSG_NOSIGNAL`.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
fn without_sigpipe<T>(send: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let sigpipe = SigSet::from(Signal::SIGPIPE);
    let before = sigpipe.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let sent = send();
    if !before.contains(Signal::SIGPIPE) {
        let at_once = nix::libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: both pointers are to values that live until the call returns, and the null
        // pointer asks for no information. The signal is blocked, and was not before: one that is
        // pending is of this thread, and of the call above.
        unsafe {
            nix::libc::sigtimedwait(sigpipe.as_ref(), std::ptr::null_mut(), &raw const at_once);
        }
        before.thread_set_mask()?;
    }
    sent
}

/// accept(2) on a non-blocking listening socket. The connection is in blocking mode.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn accept(listening: &Socket) -> io::Result<(Socket, SockAddr)> {
    listening.accept()
}

/// accept(2) on a non-blocking listening socket. The connection, which inherits `O_NONBLOCK` on
/// these systems, is set to blocking mode.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn accept(listening: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (connection, client) = listening.accept()?;
    connection.set_nonblocking(false)?;
    Ok((connection, client))
}

/// Makes a descriptor of epoll(7) that is readable whenever one of `sockets` is.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn readable_with_any<'a>(
    sockets: impl Iterator<Item = BorrowedFd<'a>>,
) -> io::Result<OwnedFd> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for socket in sockets {
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    }
    Ok(epoll.0)
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn readable_with_any<'a>(
    _: impl Iterator<Item = BorrowedFd<'a>>,
) -> io::Result<OwnedFd> {
    let what = "a server with several addresses needs epoll(7), which this system does not have";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// Returns the name of a Unix socket in the abstract namespace, without the NUL byte in front.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn abstract_name(address: &SockAddr) -> Option<&[u8]> {
    address.as_abstract_namespace()
}

/// Returns `None`, since only Linux has the abstract namespace.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn abstract_name(_: &SockAddr) -> Option<&[u8]> {
    None
}

/// `POLLRDHUP`, the event of a half-closed datagram socket, which poll(2) reports only if
/// requested.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::empty();

/// The type of a pair of Unix sockets that keeps each message whole. Apple has no `SOCK_SEQPACKET`
/// for Unix sockets; its `SOCK_STREAM` keeps small messages whole in practice.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const MESSAGES: Type = Type::SEQPACKET;
#[cfg(target_vendor = "apple")]
pub(crate) const MESSAGES: Type = Type::STREAM;

/// Returns the number of sent bytes that the client has not taken yet, or an estimate that falls as
/// the client takes bytes: `TIOCOUTQ`.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn untaken(socket: BorrowedFd<'_>) -> Option<c_int> {
    let mut count: c_int = 0;
    // SAFETY: the descriptor is borrowed, so it is open, and the request writes one `int` to the
    // address that it receives, which is that of a live `int`.
    let status = unsafe { nix::libc::ioctl(socket.as_raw_fd(), nix::libc::TIOCOUTQ, &mut count) };
    (status == 0).then_some(count)
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn untaken(_: BorrowedFd<'_>) -> Option<c_int> {
    None
}

/// Opens the file at `path`, or a symbolic link itself, without any access to its contents
/// (`O_PATH`). As long as the descriptor is open, no other file has the inode number. Returns
/// `None` on a system without such descriptors.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn pin(path: &Path) -> io::Result<Option<File>> {
    let mut how = File::options();
    let how = how.read(true);
    let flags = nix::libc::O_PATH | nix::libc::O_NOFOLLOW;
    how.custom_flags(flags).open(path).map(Some)
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn pin(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Returns the path that leads to the file of a [pinned](pin) descriptor, where `/proc` is mounted.
pub(crate) fn path_of_descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Sets the mode with which bind(2) makes the file of this Unix socket, which the umask restricts
/// further. Systems other than Linux ignore the mode of a socket without a file.
pub(crate) fn set_mode_before_bind(socket: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(mode as nix::libc::mode_t);
    match nix::sys::stat::fchmod(socket, mode) {
        Err(error) if cfg!(any(target_os = "android", target_os = "linux")) => Err(error.into()),
        _ => Ok(()),
    }
}

/// The process at the other end of a Unix socket, as `SO_PEERCRED` reports it. Python's counterpart
/// is `getsockopt(SOL_SOCKET, SO_PEERCRED)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The id of the process that connected, at that time.
    pub process_id: u32,
    /// The id of the user of that process.
    pub user_id: u32,
    /// The id of the group of that process.
    pub group_id: u32,
}

/// Returns the process at the other end of a Unix socket: `SO_PEERCRED`.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let is_unix = SockRef::from(&socket).local_addr()?.is_unix();
    if !is_unix {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only the peer of a Unix socket has credentials",
        ));
    }
    let peer = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials)?;
    Ok(PeerCredentials {
        process_id: peer.pid().cast_unsigned(),
        user_id: peer.uid(),
        group_id: peer.gid(),
    })
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn peer_credentials(_: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns the number of bytes in the send buffer that the peer's kernel has not confirmed:
/// `SIOCOUTQ`. Returns `None` on a system without the call.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn unsent_bytes(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut count: c_int = 0;
    // SAFETY: `SIOCOUTQ`, which has the number of `TIOCOUTQ`, writes one `int` to its argument,
    // which is a valid `int` for the whole call. The descriptor is open, because it is borrowed.
    let result =
        unsafe { nix::libc::ioctl(socket.as_raw_fd(), nix::libc::TIOCOUTQ, &raw mut count) };
    (result == 0).then(|| usize::try_from(count).unwrap_or(0))
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn unsent_bytes(_: BorrowedFd<'_>) -> Option<usize> {
    None
}

/// pidfd_open(2): makes a descriptor of a child, which is readable once the child has ended.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn pidfd_open(child: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: the system call takes two integers, and no pointer.
    let descriptor = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, child.as_raw(), 0) };
    let descriptor = Errno::result(descriptor)?;
    // SAFETY: the call has succeeded, so the number is that of a new descriptor, which nothing else
    // owns. A descriptor is a small number, which no conversion changes.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// pidfd_send_signal(2): sends a signal to the child of this descriptor, and never to another
/// process.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn pidfd_send_signal(child: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    let no_information = std::ptr::null::<nix::libc::siginfo_t>();
    // SAFETY: the descriptor is open as long as it is borrowed. The pointer may be null: the system
    // then makes the information that kill(2) makes.
    let sent = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_pidfd_send_signal,
            child.as_raw_fd(),
            signal as c_int,
            no_information,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// Takes the edge-triggered events of an epoll instance, so that it is not readable any more.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn take_events(epoll: BorrowedFd<'_>) {
    const MOST: usize = 64;
    let mut events = [nix::libc::epoll_event { events: 0, u64: 0 }; MOST];
    loop {
        // SAFETY: the array has room for the number of events that is passed, and the descriptor is
        // open as long as it is borrowed.
        let count = unsafe {
            nix::libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), MOST as c_int, 0)
        };
        if count < MOST as c_int {
            return;
        }
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn take_events(_: BorrowedFd<'_>) {}

/// Returns the number of connections in the backlog of a listening TCP socket: `TCP_INFO`. Returns
/// `None` for another socket, and on a system that does not count them.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn accept_queue_length(socket: BorrowedFd<'_>) -> Option<usize> {
    // SAFETY: `tcp_info` has integers only, for which zero is a value.
    let mut info: nix::libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as nix::libc::socklen_t;
    // SAFETY: getsockopt(2) writes at most `length` bytes to `info`, which has so many, and the new
    // length to `length`. Both are valid for the whole call. The descriptor is open, because it is
    // borrowed.
    let result = unsafe {
        nix::libc::getsockopt(
            socket.as_raw_fd(),
            nix::libc::IPPROTO_TCP,
            nix::libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    // In this state, the field has the length of the backlog.
    (result == 0 && info.tcpi_state == TCP_LISTEN).then_some(info.tcpi_unacked as usize)
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn accept_queue_length(_: BorrowedFd<'_>) -> Option<usize> {
    None
}

/// The state of a listening socket in the kernel's `tcp_states.h`.
#[cfg(any(target_os = "android", target_os = "linux"))]
const TCP_LISTEN: u8 = 10;

/// Removes the errors that make poll(2) report `POLLERR`: the pending error (`SO_ERROR`), and the
/// error queue, which an option such as `IP_RECVERR` fills. Returns whether there were errors.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn take_errors(socket: BorrowedFd<'_>) -> bool {
    // The queue is always shorter, since the receive buffer bounds it.
    const MOST_ERRORS: usize = 10_000;

    let socket = SockRef::from(&socket);
    let pending = matches!(socket.take_error(), Ok(Some(_)));
    // A Unix socket ignores the flag, and would return a datagram.
    let is_inet = matches!(socket.domain(), Ok(Domain::IPV4 | Domain::IPV6));
    let flags = nix::libc::MSG_ERRQUEUE | nix::libc::MSG_DONTWAIT;
    let queued = (0..MOST_ERRORS)
        .take_while(|_| is_inet && socket.recv_with_flags(&mut [], flags).is_ok())
        .count();
    pending || queued > 0
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn take_errors(socket: BorrowedFd<'_>) -> bool {
    matches!(socket2::SockRef::from(&socket).take_error(), Ok(Some(_)))
}

/// Returns the number of datagrams that the kernel has dropped because the receive buffer of this
/// socket had no room, or because the checksum was wrong (`SO_MEMINFO`). The count starts again at
/// 2³². Returns 0 if the system does not count.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[allow(unsafe_code)]
pub(crate) fn dropped_datagrams(socket: BorrowedFd<'_>) -> u32 {
    use nix::libc::{SK_MEMINFO_DROPS, SO_MEMINFO, SOL_SOCKET, getsockopt, socklen_t};

    let mut values = [0_u32; SK_MEMINFO_DROPS as usize + 1];
    let mut length = size_of_val(&values) as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `values`, which has as many, and every
    // bit pattern is a value of `u32`. The descriptor is open as long as it is borrowed.
    let result = unsafe {
        getsockopt(
            socket.as_raw_fd(),
            SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &mut length,
        )
    };
    match Errno::result(result) {
        Ok(_) => values[SK_MEMINFO_DROPS as usize],
        Err(_) => 0,
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn dropped_datagrams(_: BorrowedFd<'_>) -> u32 {
    0
}

/// Returns the number of forks from the first caller's process to the present process. If a value
/// was stored with another number, another process has stored it. getpid(2) would be a system call.
#[allow(unsafe_code)]
pub(crate) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static COUNTED: Once = Once::new();

    extern "C" fn count() {
        FORKS.fetch_add(1, Relaxed);
    }

    COUNTED.call_once(|| {
        // SAFETY: `count` exists for the whole life of the program, and only increments an atomic,
        // which is async-signal-safe, as a child of a program with threads requires. If the call
        // fails, memory has run out, and the only consequence is that the children of forks are not
        // recognised.
        unsafe {
            nix::libc::pthread_atfork(None, None, Some(count));
        }
    });
    FORKS.load(Relaxed)
}
