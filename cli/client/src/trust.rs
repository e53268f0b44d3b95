//! Trust over HTTPS: the node's certificate must be issued by the cluster's authority, whose
//! fingerprint is in the access token.

use conclave_tls::{issued_by, ring_provider};
use rustls::{ClientConfig, Error};

/// Returns TLS settings with trust in the authority of this fingerprint and no other.
pub(crate) fn config(authority: [u8; 32]) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(issued_by(ring_provider(), authority))
        .with_no_client_auth())
}
