//! The descriptor store of systemd: listening sockets outlive the process (sd_notify(3), FDSTORE).

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use listenfd::ListenFd;

use super::descriptors::{self, DESCRIPTORS_MAX};

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Returns whether a service manager listens.
pub(crate) fn is_there() -> bool {
    std::env::var_os(NOTIFY_SOCKET).is_some()
}

/// Takes the sockets that the service manager gave to this process (sd_listen_fds(3)). Call it
/// once.
pub(crate) fn take() -> Vec<OwnedFd> {
    let mut passed = ListenFd::from_env();
    let mut taken = Vec::new();
    for place in 0..passed.len() {
        // Each call takes the descriptor only if it is of that kind.
        if let Ok(Some(socket)) = passed.take_tcp_listener(place) {
            taken.push(socket.into());
        } else if let Ok(Some(socket)) = passed.take_udp_socket(place) {
            taken.push(socket.into());
        }
    }
    taken
}

/// Stores descriptors under a name. systemd ignores one that it has already.
pub(crate) fn put(name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let message = format!("FDSTORE=1\nFDNAME={name}\n");
    for some in descriptors.chunks(DESCRIPTORS_MAX) {
        descriptors::send(manager()?.as_fd(), message.as_bytes(), some)?;
    }
    Ok(())
}

/// Removes all descriptors with this name.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    manager()?.send(format!("FDSTOREREMOVE=1\nFDNAME={name}\n").as_bytes()).map(|_| ())
}

fn manager() -> io::Result<UnixDatagram> {
    let path = std::env::var_os(NOTIFY_SOCKET).ok_or(io::ErrorKind::NotFound)?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}
