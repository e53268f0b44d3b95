//! Bounds of the HTTP servers.

use std::time::Duration;

/// Most connections at the admin socket.
pub(crate) const SOCKET_CONNECTIONS_MAX: usize = 512;
/// Most connections at the HTTPS port of the admin API.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Most connections at the public pages.
pub const PUBLIC_CONNECTIONS_MAX: usize = 128;
/// Most connections at the port for owners of accounts.
pub const OWNER_CONNECTIONS_MAX: usize = 128;
/// Most connections at the listener for health and metrics.
pub const HEALTH_CONNECTIONS_MAX: usize = 64;
/// Most connections of guests from one address, on one listener.
pub(crate) const GUESTS_ADDRESS_MAX: usize = 16;
/// Longest life of a connection that has shown no valid token.
pub(crate) const GUEST_LIFE: Duration = Duration::from_secs(10);
/// Longest time for the header of a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the body of a request.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
