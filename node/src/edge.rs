//! Sockets where TLS ends.
