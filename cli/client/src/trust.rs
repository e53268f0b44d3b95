//! Whom to trust over HTTPS: a node whose certificate is by the cluster's authority, known by
//! the fingerprint that the access token carries.

use conclave_tls::{issued_by, ring_provider};
use rustls::{ClientConfig, Error};

/// TLS settings that trust the authority with this fingerprint and nobody else.
pub(crate) fn config(authority: [u8; 32]) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(issued_by(ring_provider(), authority))
        .with_no_client_auth())
}
