//! OpenSSL's client over a datagram queue.

use std::time::{Duration, Instant};

use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode,
    SslStream, SslVerifyMode,
};

use super::forge::Identity;
use crate::{ffi, queue::Queue};

/// A DTLS client.
pub(crate) struct Client {
    stream: SslStream<Queue>,
    /// The handshake is complete.
    pub(crate) is_established: bool,
    /// OpenSSL's words about a failure.
    pub(crate) failure: Option<String>,
    /// The server said close_notify.
    pub(crate) is_closed: bool,
    /// Received plaintext.
    pub(crate) plaintext: Vec<Vec<u8>>,
}

/// Makes a client context with `root` as trust anchor and the settings of `tune`.
pub(crate) fn client_context(
    root: &Identity,
    tune: impl FnOnce(&mut SslContextBuilder),
) -> SslContext {
    let mut builder = SslContextBuilder::new(SslMethod::dtls_client()).unwrap();
    builder.set_verify(SslVerifyMode::PEER);
    builder.cert_store_mut().add_cert(root.x509().clone()).unwrap();
    builder.set_options(openssl::ssl::SslOptions::NO_QUERY_MTU);
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT);
    tune(&mut builder);
    builder.build()
}

impl Client {
    /// Begins a handshake.
    pub(crate) fn new(context: &SslContext, server_name: &str, mtu: u32) -> Client {
        Client::resuming(context, server_name, mtu, None)
    }

    /// Begins a handshake that offers a session.
    pub(crate) fn resuming(
        context: &SslContext,
        server_name: &str,
        mtu: u32,
        session: Option<&SslSession>,
    ) -> Client {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_connect_state();
        ssl.set_mtu(mtu).unwrap();
        if !server_name.is_empty() {
            ssl.set_hostname(server_name).unwrap();
        }
        ffi::set_retransmit_timer(&ssl);
        if let Some(session) = session {
            ffi::offer_session(&ssl, session);
        }
        let stream = SslStream::new(ssl, Queue::new(0)).unwrap();
        let (is_established, failure, is_closed, plaintext) = (false, None, false, Vec::new());
        let mut client = Client { stream, is_established, failure, is_closed, plaintext };
        client.advance();
        client
    }

    /// The session, to be offered later.
    pub(crate) fn session(&self) -> SslSession {
        self.stream.ssl().session().unwrap().to_owned()
    }

    /// Certificates of the server, its own first, DER.
    pub(crate) fn server_chain(&self) -> Vec<Vec<u8>> {
        let chain = self.stream.ssl().peer_cert_chain().unwrap();
        chain.iter().map(|x509| x509.to_der().unwrap()).collect()
    }

    /// Whether its session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    fn advance(&mut self) {
        let _ = openssl::error::ErrorStack::get();
        if !self.is_established {
            match self.stream.do_handshake() {
                Ok(()) => self.is_established = true,
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(error) => return self.failure = Some(error.to_string()),
            }
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.ssl_read(&mut buffer) {
                Ok(count) => self.plaintext.push(buffer[..count].to_vec()),
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    return self.is_closed = true;
                }
                Err(error) => return self.failure = Some(error.to_string()),
            }
        }
    }

    /// Takes a datagram of the server.
    pub(crate) fn datagram(&mut self, datagram: &[u8]) {
        self.stream.get_mut().incoming.push_back(datagram.to_vec());
        self.advance();
    }

    /// Datagrams for the server.
    pub(crate) fn outgoing(&mut self) -> Vec<Vec<u8>> {
        self.stream.get_mut().outgoing.drain(..).collect()
    }

    /// Sends plaintext.
    pub(crate) fn send(&mut self, plaintext: &[u8]) {
        self.stream.ssl_write(plaintext).unwrap();
    }

    /// Says close_notify.
    pub(crate) fn close(&mut self) {
        let _ = self.stream.shutdown();
    }

    /// When the last flight is to be repeated.
    pub(crate) fn next_timer(&self, now: Instant) -> Option<Instant> {
        ffi::timer_left(self.stream.ssl()).map(|left| now + left)
    }

    /// Repeats the last flight if it is time.
    pub(crate) fn timer(&mut self) {
        if ffi::timer_left(self.stream.ssl()) == Some(Duration::ZERO) {
            let is_repeated = ffi::repeat_flight(self.stream.ssl());
            assert!(is_repeated, "the client gave up: {}", openssl::error::ErrorStack::get());
        }
    }
}
