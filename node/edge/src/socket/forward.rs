//! Bytes between a client and its upstream, both ways, each with its own end.
//!
//! While nothing flows, a connection holds no buffer: bytes go through two buffers of the thread,
//! and only what a peer does not take at once is kept for it. Nothing more is read for a peer
//! that has something waiting, so that each connection keeps at most [`BUFFER_BYTES`] and a
//! little in each direction.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::{
    counters::ListenerCounters,
    limits::{BUFFER_BYTES, HANDSHAKE_BYTES_MAX, Patience, ROUNDS_MAX},
};

/// One end of a connection: gives and takes clear bytes, whatever is on the wire.
pub(crate) trait End {
    /// Adds to `clear` what has come. `buffer` is for its own use.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Poll<io::Result<Taken>>;

    /// Takes all bytes; Pending means that some of them wait to be sent. `out` is for its own use.
    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        clear: &[u8],
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>>;

    /// Sends what waits.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Bytes that wait to be sent.
    fn waiting(&self) -> usize;

    /// Ends the direction towards this end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Bytes.
    Bytes,
    /// The end of this direction.
    End,
}

/// Sends `bytes`, and keeps in `waiting`, which is empty, what the socket does not take.
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

/// Sends what waits, and gives its memory back.
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

/// An end whose stream gives and takes clear bytes by itself.
pub(crate) struct Plain<S> {
    io: S,
    waiting: Vec<u8>,
}

impl<S> Plain<S> {
    /// `first` is sent before everything else.
    pub(crate) fn new(io: S, first: Vec<u8>) -> Plain<S> {
        Plain { io, waiting: first }
    }

    /// The stream itself, once nothing waits to be sent.
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
            // Only what comes first of all waits here: it goes along.
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

/// Buffers of a thread; whoever is polled has them to itself.
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

/// Takes what comes next from one end alone.
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

/// Gives bytes to one end alone, and waits until they are sent.
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

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Ending,
    Ended,
}

/// What happened since the last look.
#[derive(Default)]
struct Moved {
    up: u64,
    down: u64,
}

/// Copies until both directions have ended. An end of one direction is passed on, the other goes
/// on. `begun` is called once, with the first bytes of the client.
pub(crate) async fn forward(
    client: &mut impl End,
    server: &mut impl End,
    patience: Patience,
    counters: &ListenerCounters,
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
            // The TLS of one direction can have something to say in the other.
            let _ = (client.poll_flush(cx)?, server.poll_flush(cx)?);
            Ok(first?.is_ready() & second?.is_ready())
        });
        if moved.up > 0 {
            counters.bytes_up.fetch_add(moved.up, Relaxed);
            if let Some(begun) = begun.take() {
                begun();
            }
        }
        if moved.down > 0 {
            counters.bytes_down.fetch_add(moved.down, Relaxed);
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
    // There may be more, but others wait too.
    cx.waker().wake_by_ref();
    Ok(Poll::Pending)
}

/// Gives up a connection whose peer takes nothing, or on which nothing happens any more. It looks
/// once in a while: a timer that is set anew with each byte would cost more than the byte.
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
