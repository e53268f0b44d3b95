//! A network of byte streams. Within a stream order holds; streams overtake each other. What is
//! lost comes later, as with retransmission; what is cut comes when it is healed, unless the
//! connection has ended by then.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll, Waker},
};

use conclave_raft::{
    Accept, BoxFuture, NodeId,
    executor::{self, SimSleep, rng::Rng, since_start, trace},
    transport::{Close, Connection, DialError, Stream, Transport, Urgency},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::oracle;

/// Nodes are 1 and up; clients are here.
pub const CLIENTS: usize = 7;
pub const PLACES: usize = 8;
/// Bytes on their way in one direction of a stream.
const WINDOW: usize = 1 << 20;
/// A connection whose peer is silent that long has ended.
const IDLE: u64 = 2_000_000_000;

const MICRO: u64 = 1_000;

/// One direction between two places.
#[derive(Clone, Copy)]
pub struct Path {
    pub is_cut: bool,
    pub loss_permille: u64,
    pub delay_us: (u64, u64),
}

pub const GOOD: Path = Path { is_cut: false, loss_permille: 0, delay_us: (100, 2_000) };

struct State {
    paths: [[Path; PLACES]; PLACES],
    doors: [Option<Accept>; PLACES],
    lines: Vec<Weak<Line>>,
    lines_made: u64,
    rng: Rng,
    /// Goes up with every change of the paths.
    changes: u64,
}

/// The network; cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

impl Net {
    pub fn new(rng: Rng) -> Net {
        Net(Arc::new(Mutex::new(State {
            paths: [[GOOD; PLACES]; PLACES],
            doors: [const { None }; PLACES],
            lines: Vec::new(),
            lines_made: 0,
            rng,
            changes: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A node answers from now on.
    pub fn open(&self, node: usize, door: Accept) {
        self.state().doors[node] = Some(door);
    }

    /// A node is gone. Its peers notice when they have heard nothing for a while.
    pub fn gone(&self, node: usize) {
        let door = self.state().doors[node].take();
        executor::as_killed(node, || drop(door));
        for line in self.lines_of(|line| line.places.contains(&node)) {
            let net = self.clone();
            executor::spawn_on(executor::WORLD, async move {
                executor::sleep_until_world(since_start() + IDLE).await;
                drop(net);
                line.end_both();
            });
        }
    }

    /// Nothing is left: nodes and network hold each other.
    pub fn clear(&self) {
        let doors = std::mem::take(&mut self.state().doors);
        self.lines_of(|_| true).into_iter().for_each(|line| line.end_both());
        drop(doors);
    }

    /// Changes paths; connections that hear nothing for a while end.
    pub fn change(&self, change: impl FnOnce(&mut [[Path; PLACES]; PLACES])) {
        let (before, after) = {
            let mut state = self.state();
            let before = state.paths;
            change(&mut state.paths);
            state.changes += 1;
            (before, state.paths)
        };
        let is_cut = |paths: &[[Path; PLACES]; PLACES], line: &Line| {
            let [a, b] = line.places;
            paths[a][b].is_cut || paths[b][a].is_cut
        };
        for line in self.lines_of(|line| is_cut(&before, line) != is_cut(&after, line)) {
            line.wake();
            if is_cut(&after, &line) {
                let net = self.clone();
                executor::spawn_on(executor::WORLD, async move { net.watch(line).await });
            }
        }
    }

    /// Ends a connection that stays cut.
    async fn watch(self, line: Arc<Line>) {
        let mut silent_since = [since_start(); 2];
        // Each end hears nothing, or everything, between two looks.
        for _ in 0..40 {
            executor::sleep_until_world(since_start() + IDLE / 20).await;
            let [a, b] = line.places;
            let deaf = {
                let state = self.state();
                [state.paths[b][a].is_cut, state.paths[a][b].is_cut]
            };
            for end in 0..2 {
                // An end that has ended says nothing any more.
                let is_silent = deaf[end] || line.is_ended(1 - end);
                if !is_silent {
                    silent_since[end] = since_start();
                } else if since_start() - silent_since[end] >= IDLE {
                    line.end(end, "nothing was heard");
                }
            }
            if deaf == [false; 2] && !line.is_ended(0) && !line.is_ended(1) {
                return;
            }
        }
        line.end_both();
    }

    /// Ends every connection between two places.
    pub fn break_lines(&self, a: usize, b: usize) {
        for line in self.lines_of(|line| line.places == [a, b] || line.places == [b, a]) {
            line.end_both();
        }
    }

    fn lines_of(&self, is_wanted: impl Fn(&Line) -> bool) -> Vec<Arc<Line>> {
        let mut state = self.state();
        state.lines.retain(|line| line.strong_count() > 0);
        let lines = state.lines.iter().filter_map(Weak::upgrade);
        lines.filter(|line| is_wanted(line)).collect()
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.state().paths[from][to].is_cut
    }

    /// How long something is on its way.
    pub fn delay(&self, from: usize, to: usize, bytes: usize) -> u64 {
        let mut state = self.state();
        let path = state.paths[from][to];
        let mut micros = state.rng.range(path.delay_us.0, path.delay_us.1) + bytes as u64 / 100;
        while state.rng.chance(path.loss_permille) {
            micros += state.rng.range(20_000, 200_000);
        }
        micros * MICRO
    }

    /// Whether a message of a client is lost.
    pub fn loses(&self, from: usize, to: usize) -> bool {
        let mut state = self.state();
        let path = state.paths[from][to];
        path.is_cut || state.rng.chance(path.loss_permille)
    }

    /// Waits until something sent now arrives; never if the path is cut by then.
    pub async fn pass(&self, from: usize, to: usize, bytes: usize) {
        let delay = self.delay(from, to, bytes);
        executor::sleep_until_world(since_start() + delay).await;
        if self.is_cut(from, to) {
            std::future::pending().await
        }
    }
}

/// The network as one node sees it.
pub struct Port {
    pub net: Net,
    pub node: usize,
}

impl Transport for Port {
    fn dial(
        &self,
        target: NodeId,
        _: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let (net, from, to) = (self.net.clone(), self.node, target.0 as usize);
        Box::pin(async move {
            trace::event(since_start(), "dial", &[from as u64, to as u64]);
            oracle::counts(|counts| counts.dials += 1);
            net.pass(from, to, 1_200).await;
            net.pass(to, from, 1_200).await;
            // Asked last: a process that has died meanwhile answers nothing any more.
            let Some(door) = net.state().doors[to].clone() else {
                return std::future::pending().await;
            };
            let line = {
                let mut state = net.state();
                state.lines_made += 1;
                let line = Arc::new(Line::new(net.clone(), [from, to], state.lines_made));
                state.lines.push(Arc::downgrade(&line));
                line
            };
            let theirs: Arc<dyn Connection> = Arc::new(End { line: Arc::clone(&line), end: 1 });
            executor::spawn_on(to, async move {
                let _ = door.member(NodeId(from as u64), theirs).await;
            });
            let ours: Arc<dyn Connection> = Arc::new(End { line, end: 0 });
            Ok(ours)
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], self.node as u16).into())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        for line in self.net.lines_of(|line| line.places.contains(&self.node)) {
            line.end_both();
        }
        Box::pin(async {})
    }
}

/// A connection between two places.
struct Line {
    net: Net,
    places: [usize; 2],
    /// Made-up keying material, the same at both ends and different on each line.
    exporter: [u8; 32],
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    ended: [Option<&'static str>; 2],
    /// Streams on their way to each end, with the time at which they are there.
    arriving: [Vec<(u64, Stream)>; 2],
    accepting: [Option<Waker>; 2],
    pipes: Vec<Weak<Mutex<Pipe>>>,
}

impl Line {
    fn new(net: Net, places: [usize; 2], number: u64) -> Line {
        let mut exporter = [0; 32];
        exporter[..8].copy_from_slice(&number.to_be_bytes());
        Line { net, places, exporter, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap()
    }

    fn is_ended(&self, end: usize) -> bool {
        self.state().ended[end].is_some()
    }

    fn end(&self, end: usize, why: &'static str) {
        let unaccepted = {
            let mut state = self.state();
            state.ended[end].get_or_insert(why);
            std::mem::take(&mut state.arriving[end])
        };
        drop(unaccepted);
        self.wake();
    }

    fn end_both(&self) {
        self.end(0, "the connection was lost");
        self.end(1, "the connection was lost");
    }

    /// Everybody looks again.
    fn wake(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            state.pipes.retain(|pipe| pipe.strong_count() > 0);
            wakers.extend(state.accepting.iter_mut().filter_map(Option::take));
            for pipe in state.pipes.iter().filter_map(Weak::upgrade) {
                let mut pipe = pipe.lock().unwrap();
                wakers.extend(pipe.reader.take());
                wakers.extend(pipe.writer.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One end of a connection.
struct End {
    line: Arc<Line>,
    end: usize,
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection has ended")
}

impl Connection for End {
    fn open(&self, _: Urgency) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            if self.line.is_ended(self.end) {
                return Err(gone());
            }
            let (here, there) = (self.end, 1 - self.end);
            let forth = Pipe::new();
            let back = Pipe::new();
            {
                let mut state = self.line.state();
                state.pipes.push(Arc::downgrade(&forth));
                state.pipes.push(Arc::downgrade(&back));
            }
            let half = |pipe: &Arc<Mutex<Pipe>>, end| Half {
                line: Arc::clone(&self.line),
                pipe: Arc::clone(pipe),
                end,
                sleep: None,
            };
            let ours = Stream {
                send: Box::new(Out(half(&forth, here))),
                receive: Box::new(In(half(&back, here))),
            };
            let theirs = Stream {
                send: Box::new(Out(half(&back, there))),
                receive: Box::new(In(half(&forth, there))),
            };
            let [from, to] = [self.line.places[here], self.line.places[there]];
            let at = since_start() + self.line.net.delay(from, to, 0);
            let waker = {
                let mut state = self.line.state();
                state.arriving[there].push((at, theirs));
                // The next to arrive is at the end.
                state.arriving[there].sort_by_key(|(at, _)| Reverse(*at));
                state.accepting[there].take()
            };
            waker.into_iter().for_each(Waker::wake);
            Ok(ours)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let mut sleep: Option<SimSleep> = None;
        Box::pin(std::future::poll_fn(move |context| {
            let (here, there) = (self.end, 1 - self.end);
            let is_cut = self.line.net.is_cut(self.line.places[there], self.line.places[here]);
            let mut state = self.line.state();
            if state.ended[here].is_some() {
                return Poll::Ready(Err(gone()));
            }
            state.accepting[here] = Some(context.waker().clone());
            let next = state.arriving[here].last().map(|(at, _)| *at);
            match next {
                Some(at) if at <= since_start() && !is_cut => {
                    let stream = state.arriving[here].pop().expect("it is there").1;
                    Poll::Ready(Ok(stream))
                }
                Some(at) if at > since_start() => {
                    drop(state);
                    let timer = sleep.insert(executor::sleep_until_world(at));
                    let _ = Pin::new(timer).poll(context);
                    Poll::Pending
                }
                _ => Poll::Pending,
            }
        }))
    }

    fn ended(&self) -> Option<String> {
        self.line.state().ended[self.end].map(str::to_owned)
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        Some(self.line.exporter)
    }

    fn close(&self, why: Close) {
        if why == Close::Malformed {
            oracle::fault("a node sent what cannot be read".to_owned());
        }
        self.line.end(self.end, "it was closed here");
        let (line, there) = (Arc::clone(&self.line), 1 - self.end);
        let [from, to] = [self.line.places[self.end], self.line.places[there]];
        executor::spawn_on(executor::WORLD, async move {
            line.net.pass(from, to, 100).await;
            line.end(there, "the peer closed it");
        });
    }
}

/// One direction of a stream.
struct Pipe {
    /// Bytes and the time at which they are there.
    chunks: VecDeque<(u64, Vec<u8>)>,
    /// How much of the first chunk was read.
    read: usize,
    bytes: usize,
    /// When the end is there.
    finished: Option<u64>,
    /// The reader is gone.
    is_stopped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new() -> Arc<Mutex<Pipe>> {
        Arc::new(Mutex::new(Pipe {
            chunks: VecDeque::new(),
            read: 0,
            bytes: 0,
            finished: None,
            is_stopped: false,
            reader: None,
            writer: None,
        }))
    }
}

struct Half {
    line: Arc<Line>,
    pipe: Arc<Mutex<Pipe>>,
    /// Whose half this is.
    end: usize,
    sleep: Option<SimSleep>,
}

impl Half {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap()
    }

    fn here(&self) -> usize {
        self.line.places[self.end]
    }

    fn there(&self) -> usize {
        self.line.places[1 - self.end]
    }
}

/// Sends.
struct Out(Half);

/// Receives.
struct In(Half);

impl Out {
    /// When bytes sent now are there: not before those sent earlier.
    fn arrival(&self, pipe: &Pipe, bytes: usize) -> u64 {
        let delay = self.0.line.net.delay(self.0.here(), self.0.there(), bytes);
        let before = pipe.chunks.back().map_or(0, |(at, _)| *at);
        (since_start() + delay).max(before)
    }

    fn finish(&self) {
        let mut pipe = self.0.pipe();
        if pipe.finished.is_none() {
            pipe.finished = Some(self.arrival(&pipe, 0));
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl AsyncWrite for Out {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let half = &self.0;
        if half.line.is_ended(half.end) {
            return Poll::Ready(Err(gone()));
        }
        let mut pipe = half.pipe();
        if pipe.is_stopped || pipe.finished.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.bytes >= WINDOW {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let at = self.arrival(&pipe, bytes.len());
        oracle::counts(|counts| counts.messages += 1);
        trace::event(
            since_start(),
            "send",
            &[half.here() as u64, half.there() as u64, bytes.len() as u64, at],
        );
        pipe.chunks.push_back((at, bytes.to_vec()));
        pipe.bytes += bytes.len();
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // A process that dies says nothing.
        if !executor::is_killing() {
            self.finish();
        }
    }
}

impl AsyncRead for In {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let half = &mut self.0;
        if half.line.is_ended(half.end) {
            return Poll::Ready(Err(gone()));
        }
        let (here, there) = (half.here(), half.there());
        let is_cut = half.line.net.is_cut(there, here);
        let now = since_start();
        let mut pipe = half.pipe.lock().unwrap();
        let next = pipe.chunks.front().map(|(at, _)| *at).or(pipe.finished);
        match next {
            Some(at) if at <= now && !is_cut => {
                half.sleep = None;
                while out.remaining() > 0 {
                    let read = pipe.read;
                    let Some((_, chunk)) = pipe.chunks.front().filter(|(at, _)| *at <= now) else {
                        break;
                    };
                    let count = out.remaining().min(chunk.len() - read);
                    out.put_slice(&chunk[read..read + count]);
                    let is_done = read + count == chunk.len();
                    pipe.read = if is_done { 0 } else { read + count };
                    if is_done {
                        pipe.chunks.pop_front();
                    }
                    pipe.bytes -= count;
                }
                pipe.writer.take().into_iter().for_each(Waker::wake);
                Poll::Ready(Ok(()))
            }
            Some(at) if at > now => {
                pipe.reader = Some(context.waker().clone());
                drop(pipe);
                let timer = half.sleep.insert(executor::sleep_until_world(at));
                let _ = Pin::new(timer).poll(context);
                Poll::Pending
            }
            _ => {
                pipe.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for In {
    fn drop(&mut self) {
        if executor::is_killing() {
            return;
        }
        let mut pipe = self.0.pipe();
        pipe.is_stopped = true;
        pipe.writer.take().into_iter().for_each(Waker::wake);
    }
}
