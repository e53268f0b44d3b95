//! TLS server connections on a socket, by rustls's unbuffered interface.
//!
//! A connection holds only pending bytes: an incomplete record, or records that the peer has not
//! taken yet. Everything else passes through buffers of the thread.

#[cfg(test)]
mod tests;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    CommonState, ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{
    forward::{End, Taken},
    limits::{BUFFER_BYTES, HANDSHAKE_BYTES_MAX},
};

/// Bytes per read during a handshake.
const STEP_BYTES: u64 = 4096;
/// Most bytes added to a record's plaintext.
const RECORD_OVERHEAD: usize = 64;

/// Reads at least one more byte of a handshake, and at most [`STEP_BYTES`]. `received` may have more
/// room than that, and then a client could fill it before the next look at the bound.
pub(crate) async fn read_more(
    io: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
    max: usize,
) -> io::Result<()> {
    if received.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the handshake is too large"));
    }
    received.reserve(usize::try_from(STEP_BYTES).unwrap_or_default());
    match io.take(STEP_BYTES).read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A TLS server connection after its handshake.
pub(crate) struct TlsStream<S> {
    io: S,
    connection: UnbufferedServerConnection,
    /// An incomplete record.
    held: Vec<u8>,
    /// Records not taken by the socket yet.
    to_send: Vec<u8>,
    /// Length of the session tickets in `to_send`. They wait for the first bytes to the client,
    /// since a packet of their own would cost more than making them.
    tickets: usize,
    /// Whether the client has sent application data.
    has_spoken: bool,
    /// Plaintext received with the end of the handshake.
    clear: Vec<u8>,
    /// Whether the peer has sent close_notify.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Performs the handshake. `received` holds the first bytes from the client, if any were read.
    /// If the handshake fails, an alert has been sent.
    pub(crate) async fn accept(
        io: S,
        mut received: Vec<u8>,
        config: Arc<ServerConfig>,
    ) -> io::Result<TlsStream<S>> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let (held, to_send, mut clear) = (Vec::new(), Vec::new(), Vec::new());
        let mut stream = TlsStream {
            io,
            connection,
            held,
            to_send,
            tickets: 0,
            has_spoken: false,
            clear: Vec::new(),
            is_closed: false,
        };
        loop {
            let advanced = stream.advance(&mut received, &mut clear);
            if advanced.is_ok() && stream.has_only_tickets() {
                stream.tickets = stream.to_send.len();
            } else if !stream.to_send.is_empty() {
                let to_send = std::mem::take(&mut stream.to_send);
                stream.io.write_all(&to_send).await?;
            }
            received.drain(..advanced?);
            if !stream.connection.is_handshaking() {
                check_held(&received)?;
                // Copy exactly, so that the handshake's spare capacity is freed.
                (stream.held, stream.clear) = (received.as_slice().to_vec(), clear);
                return Ok(stream);
            }
            read_more(&mut stream.io, &mut received, HANDSHAKE_BYTES_MAX).await?;
        }
    }

    /// Returns whether the pending records are only tickets. In TLS 1.3 a server sends nothing else
    /// directly after the client's Finished (RFC 8446 §4.6.1).
    fn has_only_tickets(&self) -> bool {
        !self.connection.is_handshaking()
            && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Notes application data from the client. Tickets wait no longer than the client's second
    /// message: the upstream may be one that never answers.
    fn hear(&mut self) {
        if self.has_spoken {
            self.tickets = 0;
        }
        self.has_spoken = true;
    }

    /// Returns the parameters of the connection.
    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Returns whether plaintext of the client is already there.
    pub(crate) fn has_clear(&self) -> bool {
        !self.clear.is_empty()
    }

    /// Processes received bytes and returns how many are done with. Appends plaintext to `clear`,
    /// and records to send, including alerts, to `to_send`.
    fn advance(&mut self, received: &mut [u8], clear: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = received.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(rest);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        clear.extend_from_slice(record.map_err(io::Error::other)?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.to_send)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_closed = true,
                // All input is processed. Early data is off, so no other state needs handling.
                Ok(_) => return Ok(used),
                Err(error) => {
                    self.take_alert()?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    /// Collects the alert after an error. Passes no received bytes, or rustls would fail on them
    /// again.
    fn take_alert(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.to_send)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// Appends encrypted records to `out`.
    fn encrypt(&mut self, what: Outgoing<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        // Pass the held bytes too: rustls keeps offsets into them.
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
                ConnectionState::EncodeTlsData(data) => encode(data, out)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.is_closed = true,
                // Both directions have ended, so there is nothing to send.
                _ => break Ok(()),
            }
            used += discard;
        };
        held.drain(..used);
        self.held = held;
        result
    }
}

/// Refuses more bytes of an incomplete record or message than an honest client sends.
fn check_held(held: &[u8]) -> io::Result<()> {
    match held.len() > HANDSHAKE_BYTES_MAX {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "a record is too large")),
        false => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Outgoing<'a> {
    Clear(&'a [u8]),
    End,
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> io::Result<()> {
    append(out, 0, |out| match data.encode(out) {
        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
        other => other.map_err(|_| None),
    })
}

/// Appends bytes to `out` by `write`. If `write` needs more room, it is called again with that
/// room.
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

impl<S: AsyncRead + AsyncWrite + Unpin> End for TlsStream<S> {
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Poll<io::Result<Taken>> {
        if !self.clear.is_empty() {
            clear.append(&mut self.clear);
            self.clear = Vec::new();
            self.hear();
            return Poll::Ready(Ok(Taken::Bytes));
        }
        loop {
            if self.is_closed {
                return Poll::Ready(Ok(Taken::End));
            }
            let held = self.held.len();
            let too_small = || io::Error::other("the buffer is smaller than what is held");
            let (kept, free) = buffer.split_at_mut_checked(held).ok_or_else(too_small)?;
            let mut read = ReadBuf::new(free.get_mut(..BUFFER_BYTES).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let new = read.filled().len();
            if new == 0 {
                // End of stream without close_notify: the data may have been truncated (RFC 8446
                // §6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            kept.copy_from_slice(&self.held);
            self.held = Vec::new();
            let received = buffer.get_mut(..held + new).unwrap_or_default();
            let used = match self.advance(received, clear) {
                Ok(used) => used,
                Err(error) => {
                    // Best effort: send the alert if the socket takes it now.
                    let _ = End::poll_flush(self, cx);
                    return Poll::Ready(Err(error));
                }
            };
            self.held = received.get(used..).unwrap_or_default().to_vec();
            check_held(&self.held)?;
            if !clear.is_empty() {
                self.hear();
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
        self.tickets = 0;
        self.encrypt(Outgoing::Clear(clear), out)?;
        super::forward::poll_send(&mut self.io, cx, out, &mut self.to_send)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.tickets = 0;
        super::forward::poll_flush(&mut self.io, cx, &mut self.to_send)
    }

    fn waiting(&self) -> usize {
        if self.to_send.len() == self.tickets { 0 } else { self.to_send.len() }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Safe to repeat: rustls queues close_notify only once.
        let mut out = std::mem::take(&mut self.to_send);
        let result = self.encrypt(Outgoing::End, &mut out);
        self.to_send = out;
        self.tickets = 0;
        result?;
        ready!(End::poll_flush(self, cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Generic stream interface. Forwarding uses [`End`] instead.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.clear.is_empty() {
            let mut clear = Vec::new();
            let mut buffer = vec![0; BUFFER_BYTES + HANDSHAKE_BYTES_MAX];
            let taken = ready!(stream.poll_take(cx, &mut buffer, &mut clear))?;
            if taken == Taken::End {
                return Poll::Ready(Ok(()));
            }
            stream.clear = clear;
        }
        let length = stream.clear.len().min(read.remaining());
        read.put_slice(stream.clear.get(..length).unwrap_or_default());
        stream.clear.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        ready!(End::poll_flush(stream, cx))?;
        let bytes = bytes.get(..BUFFER_BYTES).unwrap_or(bytes);
        // The stream keeps what the socket does not take now.
        if let Poll::Ready(Err(error)) = stream.poll_give(cx, bytes, &mut Vec::new()) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        End::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}
