//! The other side: a client for probes, proofs and load, which verifies nothing.

use std::time::Instant;

use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion,
};

use crate::{
    context::{ContextError, Credential, set_credentials},
    engine::Engine,
    session::Session,
};

/// Begins handshakes with servers. It shows who is there and judges nobody: whoever wants to
/// trust what is shown looks at [`Facts::peer_chain`](crate::Facts::peer_chain).
pub struct Connector {
    shared: SslContext,
}

impl Connector {
    /// A connector that answers a request for a certificate with the first of these that fits.
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

    /// Begins a handshake; its first datagram is ready at once. Fails if `server_name` cannot
    /// stand in a ClientHello, or if OpenSSL is out of memory.
    pub fn connect(
        &self,
        server_name: Option<&str>,
        now: Instant,
        path_mtu_bytes: u16,
    ) -> Result<Box<dyn Session>, ContextError> {
        Ok(Box::new(Engine::connect(&self.shared, server_name, now, path_mtu_bytes)?))
    }
}
