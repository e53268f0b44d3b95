//! Forwarding between a client and its upstream, in both directions, with half-close.
//!
//! An idle connection holds no buffer: bytes pass through buffers of the thread. Only bytes that a
//! peer does not take at once are kept for it. While a peer has bytes pending, nothing more is read
//! for it. So each connection keeps little more than [`BUFFER_BYTES`] per direction.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::{
    counters::ListenerCounters,
    limits::{BUFFER_BYTES, HANDSHAKE_BYTES_MAX, Patience, ROUNDS_MAX},
    record::Recorded,
};

/// One end of a connection, seen as a stream of plaintext.
pub(crate) trait End {
    /// Appends received plaintext to `clear`. `buffer` is scratch space.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Poll<io::Result<Taken>>;

    /// Accepts all of `clear`. Pending means that some bytes are still to be sent. `out` is scratch
    /// space.
    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        clear: &[u8],
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>>;

    /// Sends pending bytes.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns the number of pending bytes.
    fn waiting(&self) -> usize;

    /// Ends the direction towards this end, after its pending bytes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Result of reading from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Plaintext was appended.
    Bytes,
    /// This direction has ended.
    End,
}

/// Sends `bytes` and stores in `waiting`, which must be empty, what the socket does not take.
pub(crate) fn poll_send(
    io: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    bytes: &[u8],
    waiting: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut sent = 0;
    while let Some(rest @ [_, ..]) = bytes.get(sent..) {
        match Pin::new(&mut *io).poll_write(cx, rest)? {
            Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => sent += written,
            Poll::Pending => {
                waiting.extend_from_slice(rest);
                return Poll::Pending;
            }
        }
    }
    Poll::Ready(Ok(()))
}

/// Sends the pending bytes and releases their memory.
pub(crate) fn poll_flush(
    io: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    waiting: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    while !waiting.is_empty() {
        match ready!(Pin::new(&mut *io).poll_write(cx, waiting))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => drop(waiting.drain(..written)),
        }
    }
    *waiting = Vec::new();
    Poll::Ready(Ok(()))
}

/// An end over a stream of plaintext.
pub(crate) struct Plain<S> {
    io: S,
    waiting: Vec<u8>,
}

impl<S> Plain<S> {
    /// Wraps a stream. `first` is sent before everything else.
    pub(crate) fn new(io: S, first: Vec<u8>) -> Plain<S> {
        Plain { io, waiting: first }
    }

    /// Returns the stream. Call it only when nothing is pending.
    pub(crate) fn into_io(self) -> S {
        self.io
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> End for Plain<S> {
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Poll<io::Result<Taken>> {
        clear.reserve(BUFFER_BYTES);
        let read = ready!(std::pin::pin!(self.io.read_buf(clear)).poll(cx))?;
        Poll::Ready(Ok(if read == 0 { Taken::End } else { Taken::Bytes }))
    }

    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        clear: &[u8],
        _: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            // Only the `first` bytes can be pending here: send them together with these.
            self.waiting.extend_from_slice(clear);
            return self.poll_flush(cx);
        }
        poll_send(&mut self.io, cx, clear, &mut self.waiting)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_flush(&mut self.io, cx, &mut self.waiting)
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Scratch buffers of a thread. A task uses them only within one poll.
struct Buffers {
    received: Vec<u8>,
    clear: Vec<u8>,
    out: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const {
        RefCell::new(Buffers { received: Vec::new(), clear: Vec::new(), out: Vec::new() })
    };
}

/// Reads once from a single end.
pub(crate) async fn take(from: &mut impl End, clear: &mut Vec<u8>) -> io::Result<Taken> {
    std::future::poll_fn(|cx| {
        BUFFERS.with_borrow_mut(|buffers| {
            buffers.received.resize(BUFFER_BYTES + HANDSHAKE_BYTES_MAX, 0);
            buffers.clear.clear();
            let taken = from.poll_take(cx, &mut buffers.received, &mut buffers.clear);
            clear.extend_from_slice(&buffers.clear);
            taken
        })
    })
    .await
}

/// Writes to a single end and waits until everything is sent.
pub(crate) async fn give(to: &mut impl End, clear: &[u8]) -> io::Result<()> {
    let mut clear = Some(clear);
    std::future::poll_fn(|cx| match clear.take() {
        Some(clear) => BUFFERS.with_borrow_mut(|buffers| {
            ready!(to.poll_give(cx, clear, &mut buffers.out))?;
            to.poll_flush(cx)
        }),
        None => to.poll_flush(cx),
    })
    .await
}

/// State of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Ending,
    Ended,
}

/// Where the bytes of a connection are counted.
#[derive(Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) counters: &'a ListenerCounters,
    pub(crate) recorded: &'a Recorded,
}

/// Bytes forwarded during one poll.
#[derive(Default)]
struct Moved {
    up: u64,
    down: u64,
}

/// Forwards until both directions have ended. The end of one direction is passed on while the other
/// continues. Calls `begun` once, at the client's first bytes.
pub(crate) async fn forward(
    client: &mut impl End,
    server: &mut impl End,
    patience: Patience,
    flow: Flow<'_>,
    begun: impl FnOnce(),
) -> io::Result<()> {
    let mut begun = Some(begun);
    let (mut up, mut down) = (Way::Open, Way::Open);
    let mut watch = Watch::new(patience);
    std::future::poll_fn(|cx| {
        let mut moved = Moved::default();
        let waited = client.waiting() + server.waiting();
        let done = BUFFERS.with_borrow_mut(|buffers| {
            buffers.received.resize(BUFFER_BYTES + HANDSHAKE_BYTES_MAX, 0);
            let first = poll_way(client, server, &mut up, cx, buffers, &mut moved.up);
            let second = poll_way(server, client, &mut down, cx, buffers, &mut moved.down);
            // Reading from an end can make TLS records pending in the other direction, such as
            // alerts.
            let _ = (client.poll_flush(cx)?, server.poll_flush(cx)?);
            Ok(first?.is_ready() & second?.is_ready())
        });
        if moved.up > 0 {
            flow.recorded.up(flow.counters, moved.up);
            if let Some(begun) = begun.take() {
                begun();
            }
        }
        if moved.down > 0 {
            flow.recorded.down(flow.counters, moved.down);
        }
        let waits = client.waiting() + server.waiting();
        match done {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                let has_moved = moved.up + moved.down > 0 || waits < waited;
                watch.poll(cx, has_moved, waits > 0).map(Err)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    })
    .await
}

fn poll_way(
    from: &mut impl End,
    to: &mut impl End,
    way: &mut Way,
    cx: &mut Context<'_>,
    buffers: &mut Buffers,
    moved: &mut u64,
) -> io::Result<Poll<()>> {
    for _ in 0..ROUNDS_MAX {
        match way {
            Way::Ended => return Ok(Poll::Ready(())),
            Way::Ending => {
                if to.poll_end(cx)?.is_pending() {
                    return Ok(Poll::Pending);
                }
                *way = Way::Ended;
                return Ok(Poll::Ready(()));
            }
            Way::Open => {}
        }
        if to.poll_flush(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        buffers.clear.clear();
        match from.poll_take(cx, &mut buffers.received, &mut buffers.clear)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Taken::End) => *way = Way::Ending,
            Poll::Ready(Taken::Bytes) => {
                *moved += u64::try_from(buffers.clear.len()).unwrap_or(u64::MAX);
                if to.poll_give(cx, &buffers.clear, &mut buffers.out)?.is_pending() {
                    return Ok(Poll::Pending);
                }
            }
        }
    }
    // There may be more to read, but let other connections run first.
    cx.waker().wake_by_ref();
    Ok(Poll::Pending)
}

/// A timer for idle connections and for peers that do not drain their send buffers. It fires
/// periodically: resetting a timer for each byte would cost more than forwarding the byte.
struct Watch {
    patience: Patience,
    look: Pin<Box<Sleep>>,
    last_moved: Instant,
    has_moved: bool,
    waits: bool,
}

impl Watch {
    fn new(patience: Patience) -> Watch {
        let look = Box::pin(sleep(patience.stall));
        Watch { patience, look, last_moved: Instant::now(), has_moved: false, waits: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, has_moved: bool, waits: bool) -> Poll<io::Error> {
        self.has_moved |= has_moved;
        let waited = std::mem::replace(&mut self.waits, waits);
        while self.look.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if std::mem::take(&mut self.has_moved) {
                self.last_moved = now;
            } else if waited && waits {
                let why = "the peer takes nothing of what waits for it";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            } else if now.duration_since(self.last_moved) >= self.patience.idle {
                let why = "nothing was said for too long";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            self.look.as_mut().reset(now + self.patience.stall);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
