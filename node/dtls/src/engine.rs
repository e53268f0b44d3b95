//! DTLS 1.2 sessions on OpenSSL.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use openssl::{
    error::ErrorStack,
    ssl::{Error, ErrorCode, Ssl, SslContextRef, SslOptions, SslRef, SslStream},
    x509::{X509, X509VerifyResult},
};

use crate::{
    ffi,
    hello::ClientHello,
    limits,
    queue::Queue,
    session::{Facts, Reason, SendError, Session, State},
    terms::{Opening, Policy, Terms, Wrong},
};

pub(crate) struct Engine {
    stream: SslStream<Queue>,
    /// Set in server sessions only.
    terms: Option<Arc<Terms>>,
    /// Random of the ClientHello. Set in server sessions only.
    random: Option<[u8; 32]>,
    server_name: Option<String>,
    state: State,
    facts: Option<Facts>,
    plaintext: VecDeque<Vec<u8>>,
    deadline: Option<Instant>,
    path_mtu_bytes: u16,
    repetitions_at_mtu: u32,
}

impl Engine {
    pub(crate) fn accept(
        context: &SslContextRef,
        policy: Arc<Policy>,
        hello: &ClientHello,
        opening: Opening,
    ) -> Result<Engine, ErrorStack> {
        forget_errors();
        let Opening { now, unix_seconds, tickets, path_mtu_bytes } = opening;
        let mut ssl = Ssl::new(context)?;
        // OpenSSL fails a handshake whose ticket would have a lifetime of zero.
        if tickets.is_none() || policy.ticket_seconds == 0 {
            ffi::set_options(&ssl, SslOptions::NO_TICKET);
        }
        let (refusal, is_expired) = (OnceLock::new(), AtomicBool::new(false));
        let terms = Arc::new(Terms { policy, tickets, unix_seconds, refusal, is_expired });
        ssl.set_ex_data(ffi::terms_index()?, terms.clone());
        ssl.set_accept_state();
        let mut queue = Queue::new(hello.record_number());
        queue.incoming.push_back(hello.to_record());
        let mut engine = Engine::begin(ssl, queue, path_mtu_bytes)?;
        engine.terms = Some(terms);
        engine.random = Some(hello.random());
        engine.server_name = hello.server_name().map(str::to_owned);
        if ffi::listen(engine.stream.ssl())? {
            engine.advance(now);
        } else {
            engine.fail("OpenSSL refuses the ClientHello".into());
        }
        Ok(engine)
    }

    pub(crate) fn connect(
        context: &SslContextRef,
        server_name: Option<&str>,
        now: Instant,
        path_mtu_bytes: u16,
    ) -> Result<Engine, ErrorStack> {
        forget_errors();
        let mut ssl = Ssl::new(context)?;
        if let Some(server_name) = server_name {
            ssl.set_hostname(server_name)?;
        }
        ssl.set_connect_state();
        let mut engine = Engine::begin(ssl, Queue::new(0), path_mtu_bytes)?;
        engine.server_name = server_name.map(str::to_owned);
        engine.advance(now);
        Ok(engine)
    }

    fn begin(mut ssl: Ssl, queue: Queue, path_mtu_bytes: u16) -> Result<Engine, ErrorStack> {
        ffi::set_retransmit_timer(&ssl);
        let path_mtu_bytes =
            path_mtu_bytes.clamp(limits::PATH_MTU_BYTES_MIN, limits::PATH_MTU_BYTES_MAX);
        ssl.set_mtu(u32::from(path_mtu_bytes - limits::IP_UDP_BYTES))?;
        Ok(Engine {
            stream: SslStream::new(ssl, queue)?,
            terms: None,
            random: None,
            server_name: None,
            state: State::Handshaking,
            facts: None,
            plaintext: VecDeque::new(),
            deadline: None,
            path_mtu_bytes,
            repetitions_at_mtu: 0,
        })
    }

    /// Processes all pending input.
    fn advance(&mut self, now: Instant) {
        forget_errors();
        if self.state == State::Handshaking {
            match self.stream.do_handshake() {
                Ok(()) => self.established(),
                Err(error) => self.judge(&error),
            }
        }
        self.read_all();
        self.set_deadline(now);
    }

    /// Reads all pending records. Stops before OpenSSL finds nothing: it frees its 16 KiB read
    /// buffer after each whole record, but not after an empty read.
    fn read_all(&mut self) {
        while self.state == State::Established
            && (!self.stream.get_ref().incoming.is_empty() || ffi::has_pending(self.stream.ssl()))
        {
            self.read();
        }
    }

    /// Reads one record. Returns whether there was one.
    fn read(&mut self) -> bool {
        let mut buffer = [0; limits::PLAINTEXT_BYTES_MAX];
        match self.stream.ssl_read(&mut buffer) {
            Ok(count) => self.plaintext.extend(buffer.get(..count).map(<[u8]>::to_vec)),
            Err(error) => {
                self.judge(&error);
                return false;
            }
        }
        true
    }

    fn established(&mut self) {
        let ssl = self.stream.ssl();
        let ignored = self.terms.as_ref().and_then(|terms| terms.refusal.get().cloned());
        let is_accepted = ignored.is_none() && ssl.verify_result() == X509VerifyResult::OK;
        let facts = Facts {
            version: ssl.version_str(),
            cipher: ssl
                .current_cipher()
                .and_then(|cipher| cipher.standard_name())
                .unwrap_or("")
                .into(),
            server_name: self.server_name.clone(),
            alpn: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            // A resumed session restores its verify result from the ticket. So a certificate that
            // was ignored stays ignored.
            peer_chain: if is_accepted || self.terms.is_none() {
                presented(ssl)
            } else {
                Vec::new()
            },
            client_ignored: ignored,
            is_resumed: ssl.session_reused(),
        };
        let is_resumed = facts.is_resumed;
        self.facts = Some(facts);
        self.state = State::Established;
        // On resumption the client's Finished comes last, and its first plaintext may have
        // overtaken it. OpenSSL buffers such records, and only a read shows whether there are any.
        while is_resumed && self.state == State::Established && self.read() {}
    }

    /// Handles an error of OpenSSL. Waiting for the client is none; close_notify is answered (RFC
    /// 5246 §7.2.1).
    fn judge(&mut self, error: &Error) {
        match error.code() {
            ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => {}
            ErrorCode::ZERO_RETURN => self.end(Reason::Peer),
            _ => self.fail(words(error)),
        }
    }

    fn fail(&mut self, words: String) {
        let terms = self.terms.iter().filter(|terms| terms.policy.wrong == Wrong::Aborts);
        let refusal = terms.filter_map(|terms| terms.refusal.get().cloned()).next();
        let reason = refusal.map_or(Reason::Protocol(words), Reason::ClientCertificate);
        self.state = State::Closed(reason);
    }

    fn end(&mut self, reason: Reason) {
        // Errors are ignored: without close_notify the client's idle timer ends the session.
        let _ = self.stream.shutdown();
        forget_errors();
        self.state = State::Closed(reason);
    }

    fn set_deadline(&mut self, now: Instant) {
        let is_open = !matches!(self.state, State::Closed(_));
        let left = if is_open { ffi::timer_left(self.stream.ssl()) } else { None };
        self.deadline = left.map(|left| now + left);
    }

    /// Tries the next smaller MTU for a flight that was lost again: it may be too large for the
    /// path.
    fn shrink(&mut self) {
        self.repetitions_at_mtu += 1;
        if self.repetitions_at_mtu <= limits::RETRANSMISSIONS_PER_MTU {
            return;
        }
        let smaller = limits::PATH_MTU_FALLBACKS.into_iter().find(|mtu| *mtu < self.path_mtu_bytes);
        let Some(smaller) = smaller else { return };
        if ffi::set_mtu(self.stream.ssl(), smaller - limits::IP_UDP_BYTES) {
            (self.path_mtu_bytes, self.repetitions_at_mtu) = (smaller, 0);
        }
    }
}

impl Session for Engine {
    fn datagram(&mut self, now: Instant, datagram: &[u8]) {
        if matches!(self.state, State::Closed(_)) || datagram.is_empty() {
            return;
        }
        self.stream.get_mut().incoming.push_back(datagram.to_vec());
        self.advance(now);
    }

    fn timer(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        forget_errors();
        if ffi::timer_left(self.stream.ssl()) == Some(Duration::ZERO) {
            self.shrink();
            if !ffi::repeat_flight(self.stream.ssl()) {
                self.state = State::Closed(Reason::Silence);
            }
        }
        self.set_deadline(now);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.deadline
    }

    fn send(&mut self, plaintext: &[u8]) -> Result<(), SendError> {
        if self.state != State::Established {
            return Err(SendError::NotEstablished);
        }
        let (bytes, max) = (plaintext.len(), limits::PLAINTEXT_BYTES_MAX);
        if bytes > max {
            return Err(SendError::TooLong { bytes, max });
        }
        if plaintext.is_empty() {
            return Ok(()); // OpenSSL sends no empty records, and no peer waits for one
        }
        forget_errors();
        if let Err(error) = self.stream.ssl_write(plaintext) {
            self.judge(&error);
            return Err(SendError::Engine(words(&error)));
        }
        Ok(())
    }

    fn close(&mut self) {
        if !matches!(self.state, State::Closed(_)) {
            self.end(Reason::Node);
            self.deadline = None;
        }
    }

    fn next_datagram(&mut self) -> Option<Vec<u8>> {
        self.stream.get_mut().outgoing.pop_front()
    }

    fn next_plaintext(&mut self) -> Option<Vec<u8>> {
        self.plaintext.pop_front()
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    fn began_with(&self, hello: &ClientHello) -> bool {
        self.random == Some(hello.random())
    }
}

/// Clears OpenSSL's error queue. It is per thread, so errors of another session would be taken for
/// this one's.
fn forget_errors() {
    let _ = ErrorStack::get();
}

/// Returns the peer's certificate and the certificates sent with it. A ticket holds only the first.
fn presented(ssl: &SslRef) -> Vec<Vec<u8>> {
    let chain = ssl.peer_cert_chain();
    let chain = chain.iter().flat_map(|chain| chain.iter()).filter_map(|x509| x509.to_der().ok());
    // On servers OpenSSL's chain lacks the peer's own certificate, on clients it is included.
    let first = if ssl.is_server() { ssl.peer_certificate() } else { None };
    first.iter().filter_map(|x509: &X509| x509.to_der().ok()).chain(chain).collect()
}

fn words(error: &Error) -> String {
    let reasons = error.ssl_error().into_iter().flat_map(ErrorStack::errors);
    let reasons: Vec<_> = reasons.filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { error.to_string() } else { reasons.join(", ") }
}
