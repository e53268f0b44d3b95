//! The client side, for probes, proofs and load tests. It verifies nothing.

use std::time::Instant;

use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion,
};

use crate::{
    context::{ContextError, Credential, set_credentials},
    engine::Engine,
    session::Session,
};

/// Starts handshakes with servers. It reports the server's certificates and accepts any. A caller
/// that needs trust must check [`Facts::peer_chain`](crate::Facts::peer_chain).
pub struct Connector {
    shared: SslContext,
}

impl Connector {
    /// Makes a connector. It answers a certificate request with the first of `credentials` that
    /// fits.
    pub fn new(credentials: &[Credential<'_>]) -> Result<Connector, ContextError> {
        let mut builder = SslContextBuilder::new(SslMethod::dtls_client())?;
        builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION);
        builder.set_mode(SslMode::RELEASE_BUFFERS | SslMode::NO_AUTO_CHAIN);
        if !credentials.is_empty() {
            set_credentials(&mut builder, credentials)?;
        }
        Ok(Connector { shared: builder.build() })
    }

    /// Starts a handshake. Its first datagram is ready at once. Fails if `server_name` cannot be
    /// encoded in a ClientHello, or if OpenSSL runs out of memory.
    pub fn connect(
        &self,
        server_name: Option<&str>,
        now: Instant,
        path_mtu_bytes: u16,
    ) -> Result<Box<dyn Session>, ContextError> {
        Ok(Box::new(Engine::connect(&self.shared, server_name, now, path_mtu_bytes)?))
    }
}
