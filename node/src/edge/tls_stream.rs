//! TLS on a socket, by rustls's unbuffered interface.
//!
//! A connection holds only bytes that wait: part of a record that has not come whole, records
//! that the peer does not take. Everything else goes through buffers of the thread.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    CommonState, ServerConfig,
    server::{Accepted, Acceptor, ClientHello, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::{
    forward::{End, Taken},
    limits::{BUFFER_BYTES, HANDSHAKE_BYTES_MAX},
};

/// Bytes that are read at once during a handshake.
const STEP_BYTES: usize = 4096;
/// What a record adds to its bytes, at most.
const RECORD_OVERHEAD: usize = 64;

/// A connection whose client has said hello.
pub(crate) struct Start {
    /// The socket.
    pub(crate) io: TcpStream,
    received: Vec<u8>,
    accepted: Accepted,
}

impl Start {
    /// Reads the hello; `received` was read before. An alert has been sent where it fails.
    pub(crate) async fn read(mut io: TcpStream, mut received: Vec<u8>) -> io::Result<Start> {
        let mut acceptor = Acceptor::default();
        let mut seen = 0;
        loop {
            while let Some(new @ [_, ..]) = received.get(seen..) {
                seen += acceptor.read_tls(&mut &*new)?;
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(Start { io, received, accepted }),
                Ok(None) => read_more(&mut io, &mut received).await?,
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    // The client may be gone already.
                    let _ = io.write_all(&bytes).await;
                    let _ = io.shutdown().await;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    /// What the client said.
    pub(crate) fn client_hello(&self) -> ClientHello<'_> {
        self.accepted.client_hello()
    }

    /// Goes on to the end of the handshake. An alert has been sent where it fails.
    pub(crate) async fn into_stream(self, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let Start { io, mut received, accepted } = self;
        // rustls reads the hello once more: the interface for choosing has buffers of its own.
        drop(accepted);
        let (to_send, clear, is_closed) = (Vec::new(), Vec::new(), false);
        let held = Vec::new();
        let mut stream = TlsStream { io, connection, held, to_send, clear, is_closed };
        loop {
            let mut clear = std::mem::take(&mut stream.clear);
            let advanced = stream.advance(&mut received, &mut clear);
            stream.clear = clear;
            if !stream.to_send.is_empty() {
                let to_send = std::mem::take(&mut stream.to_send);
                stream.io.write_all(&to_send).await?;
            }
            received.drain(..advanced?);
            if !stream.connection.is_handshaking() {
                stream.held = received;
                stream.held.shrink_to_fit();
                return Ok(stream);
            }
            read_more(&mut stream.io, &mut received).await?;
        }
    }
}

async fn read_more(io: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    if received.len() > HANDSHAKE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the handshake is too large"));
    }
    received.reserve(STEP_BYTES);
    match io.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A connection after its handshake.
pub(crate) struct TlsStream {
    io: TcpStream,
    connection: UnbufferedServerConnection,
    /// The beginning of a record.
    held: Vec<u8>,
    /// Records that the socket has not taken.
    to_send: Vec<u8>,
    /// Bytes that came together with the end of the handshake.
    clear: Vec<u8>,
    /// The peer has ended its direction.
    is_closed: bool,
}

impl TlsStream {
    /// What the handshake settled.
    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Whether bytes of the client are there already.
    pub(crate) fn has_clear(&self) -> bool {
        !self.clear.is_empty()
    }

    /// Takes in what was received and gives how much of it is done with. Clear bytes and records
    /// to send are added to their buffers, also when it fails.
    fn advance(&mut self, received: &mut [u8], clear: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        let mut failed: Option<rustls::Error> = None;
        loop {
            let rest = received.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(rest);
            let is_blocked = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        clear.extend_from_slice(record.map_err(io::Error::other)?.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.to_send, 0, |out| match data.encode(out) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        other => other.map_err(|_| None),
                    })?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.is_closed = true;
                    false
                }
                // Nothing more without more bytes. Early data is off.
                Ok(_) => true,
                Err(error) => {
                    // The next rounds give the alert, then the same error again.
                    let is_blocked = failed.is_some();
                    failed = Some(error);
                    is_blocked
                }
            };
            used += discard;
            if is_blocked {
                break;
            }
        }
        match failed {
            Some(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            None => Ok(used),
        }
    }

    /// Adds a record or more to what is sent.
    fn encrypt(&mut self, what: Outgoing<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        // The held bytes go along, because rustls remembers places in them.
        let mut held = std::mem::take(&mut self.held);
        let mut used = 0;
        let result = loop {
            let rest = held.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(rest);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let expected = match what {
                        Outgoing::Clear(bytes) => {
                            let records = bytes.len() / (16 * 1024) + 1;
                            bytes.len() + records * RECORD_OVERHEAD
                        }
                        Outgoing::End => RECORD_OVERHEAD,
                    };
                    break append(out, expected, |out| {
                        let written = match what {
                            Outgoing::Clear(bytes) => traffic.encrypt(bytes, out),
                            Outgoing::End => traffic.queue_close_notify(out),
                        };
                        match written {
                            Err(EncryptError::InsufficientSize(size)) => {
                                Err(Some(size.required_size))
                            }
                            other => other.map_err(|_| None),
                        }
                    });
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(out, 0, |out| match data.encode(out) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        other => other.map_err(|_| None),
                    })?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.is_closed = true,
                // Both directions have ended, and there is nothing to say.
                _ => break Ok(()),
            }
            used += discard;
        };
        held.drain(..used);
        self.held = held;
        result
    }
}

#[derive(Clone, Copy)]
enum Outgoing<'a> {
    Clear(&'a [u8]),
    End,
}

/// Lets `write` put bytes behind those of `out`; it is asked again with the room that it needs.
fn append(
    out: &mut Vec<u8>,
    expected: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    let begin = out.len();
    let mut room = expected;
    loop {
        out.resize(begin + room, 0);
        match write(out.get_mut(begin..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(begin + written);
                return Ok(());
            }
            Err(Some(required)) if required > room => room = required,
            Err(_) => {
                out.truncate(begin);
                return Err(io::Error::other("the keys of this connection are used up"));
            }
        }
    }
}

impl End for TlsStream {
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Poll<io::Result<Taken>> {
        if !self.clear.is_empty() {
            clear.append(&mut self.clear);
            self.clear = Vec::new();
            return Poll::Ready(Ok(Taken::Bytes));
        }
        loop {
            if self.is_closed {
                return Poll::Ready(Ok(Taken::End));
            }
            let held = self.held.len();
            let (kept, free) = buffer.split_at_mut(held);
            let mut read = ReadBuf::new(free.get_mut(..BUFFER_BYTES).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let new = read.filled().len();
            if new == 0 {
                // Without close_notify somebody may have cut it (RFC 8446 §6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            kept.copy_from_slice(&self.held);
            self.held = Vec::new();
            let received = buffer.get_mut(..held + new).unwrap_or_default();
            let used = match self.advance(received, clear) {
                Ok(used) => used,
                Err(error) => {
                    // The alert goes out if it can go at once.
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(error));
                }
            };
            self.held = received.get(used..).unwrap_or_default().to_vec();
            if self.held.len() > HANDSHAKE_BYTES_MAX {
                let error = io::Error::new(io::ErrorKind::InvalidData, "a record is too large");
                return Poll::Ready(Err(error));
            }
            if !clear.is_empty() {
                return Poll::Ready(Ok(Taken::Bytes));
            }
        }
    }

    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        clear: &[u8],
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        out.clear();
        out.append(&mut self.to_send);
        self.encrypt(Outgoing::Clear(clear), out)?;
        super::forward::poll_send(&mut self.io, cx, out, &mut self.to_send)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        super::forward::poll_flush(&mut self.io, cx, &mut self.to_send)
    }

    fn waiting(&self) -> usize {
        self.to_send.len()
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked again it adds nothing: rustls says close_notify once.
        let mut out = std::mem::take(&mut self.to_send);
        let result = self.encrypt(Outgoing::End, &mut out);
        self.to_send = out;
        result?;
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
