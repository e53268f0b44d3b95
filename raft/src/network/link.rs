//! One connection to each peer: dialled when it is wanted, and seldom while the peer is away.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use openraft::async_runtime::AsyncRuntime;
use rand::RngExt;
use serde_bytes::ByteBuf;
use tokio::sync::watch;

use super::{
    CallError, Identity, Peers, frame,
    identity::{is_refused_by_tls, member_client},
    lane::{Lane, Urgency},
};
use crate::{
    limits::{DIAL_PAUSE, DIAL_PAUSE_MAX, DIAL_TIMEOUT},
    types::NodeId,
    wire::{CallV1, Message},
};

/// All peers, by number; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: quinn::Endpoint,
    identity: Identity,
    peers: Arc<dyn Peers>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
}

/// One peer: its address and the connection to it.
pub(super) struct Link {
    target: NodeId,
    state: Mutex<State>,
}

struct State {
    address: String,
    connected: Option<Connected>,
    /// The attempt that is under way. It runs in a task of its own, so that it does not end with
    /// a caller that gives up.
    dialling: Option<Dialling>,
    /// Attempts since the peer last answered.
    failures: u32,
    /// No attempt before this moment.
    paused_until: Option<Instant>,
    reach: Reach,
}

type Dialling = watch::Receiver<Option<Result<Session, Arc<io::Error>>>>;

/// What is known of a peer. One line is logged for each change, however often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not tried yet.
    Unknown,
    /// It answers.
    Answers,
    /// It does not.
    Silent,
    /// Something else answers at its address.
    Another,
}

/// A connection to a peer.
#[derive(Clone)]
pub(super) struct Session {
    link: Arc<Link>,
    connected: Connected,
}

#[derive(Clone)]
struct Connected {
    connection: quinn::Connection,
    is_answered: Arc<AtomicBool>,
}

/// Why an attempt failed.
struct DialError {
    reach: Reach,
    error: io::Error,
}

impl Session {
    /// A stream for this lane.
    pub(super) async fn open(
        &self,
        lane: Lane,
        urgency: Urgency,
    ) -> io::Result<(quinn::SendStream, quinn::RecvStream)> {
        open_on(&self.connected.connection, lane, urgency).await
    }

    /// Nothing more is asked on this connection.
    pub(super) fn close(&self) {
        self.connected.connection.close(0u32.into(), b"sent");
    }

    /// Receives the one message that must come: only an answer shows that the peer is there.
    pub(super) async fn answer<T: Message>(
        &self,
        receive: &mut quinn::RecvStream,
    ) -> io::Result<T> {
        let answer = frame::receive_one(receive).await?;
        if !self.connected.is_answered.swap(true, Ordering::Relaxed) {
            let mut state = self.link.state();
            (state.failures, state.paused_until) = (0, None);
            self.link.tell(&mut state, Reach::Answers, None);
        }
        Ok(answer)
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure: the next attempt comes later than the one before it.
    fn failed(&self, state: &mut State, reach: Reach, error: &dyn std::fmt::Display) {
        state.failures = state.failures.saturating_add(1);
        state.paused_until = Some(Instant::now() + pause_after(state.failures));
        self.tell(state, reach, Some(error));
    }

    fn tell(&self, state: &mut State, reach: Reach, error: Option<&dyn std::fmt::Display>) {
        if state.reach == reach {
            return;
        }
        state.reach = reach;
        let (node, address) = (self.target, &state.address);
        let error = error.map(tracing::field::display);
        match reach {
            Reach::Unknown => {}
            Reach::Answers => {
                tracing::info!(event = "raft.peer_answers", %node, address, "a member answers");
            }
            Reach::Silent => {
                let text = "a member cannot be reached";
                tracing::warn!(event = "raft.peer_silent", %node, address, error, "{text}");
            }
            Reach::Another => {
                let text = "something else answers at the address of a member";
                tracing::warn!(event = "raft.peer_is_another", %node, address, error, "{text}");
            }
        }
    }
}

/// Doubles up to the longest pause; half of it is drawn, so that nodes do not dial in step.
fn pause_after(failures: u32) -> Duration {
    let doubled = DIAL_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(DIAL_PAUSE_MAX);
    let drawn = openraft::impls::TokioRuntime::thread_rng().random_range(0.5..=1.0);
    pause.mul_f64(drawn)
}

/// What one who wants a connection does next.
enum Step {
    Use(Session),
    Wait(Dialling),
    Pause(Instant),
}

impl Links {
    pub(crate) fn new(
        endpoint: quinn::Endpoint,
        identity: Identity,
        peers: Arc<dyn Peers>,
    ) -> Links {
        let links = Mutex::default();
        Links { shared: Arc::new(Shared { endpoint, identity, peers, links }) }
    }

    /// Notes where a peer is to be reached. A new address is tried at once.
    pub(crate) fn know(&self, target: NodeId, address: &str) {
        let link = self.link(target, address);
        let mut state = link.state();
        if state.address != address {
            address.clone_into(&mut state.address);
            (state.failures, state.paused_until) = (0, None);
        }
    }

    /// The peer has dialled this node, so it is there: it is tried at once.
    pub(super) fn heard(&self, target: NodeId) {
        if let Some(link) = self.known(target) {
            link.state().paused_until = None;
        }
    }

    pub(super) fn link(&self, target: NodeId, address: &str) -> Arc<Link> {
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(target).or_insert_with(|| {
            let state = State {
                address: address.to_owned(),
                connected: None,
                dialling: None,
                failures: 0,
                paused_until: None,
                reach: Reach::Unknown,
            };
            Arc::new(Link { target, state: Mutex::new(state) })
        });
        Arc::clone(link)
    }

    fn known(&self, target: NodeId) -> Option<Arc<Link>> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&target).cloned()
    }

    /// The connection to a peer, dialled if there is none; an error at once while the peer is
    /// given a pause.
    pub(super) async fn session(&self, link: &Arc<Link>) -> io::Result<Session> {
        match self.step(link) {
            Step::Use(session) => Ok(session),
            Step::Wait(dialling) => dialled(dialling).await,
            Step::Pause(_) => {
                Err(io::Error::new(io::ErrorKind::NotConnected, "it just failed to connect"))
            }
        }
    }

    /// The connection to a peer, after the pause if there is one. An error comes at most once
    /// for each attempt to connect.
    pub(super) async fn session_in_time(&self, link: &Arc<Link>) -> io::Result<Session> {
        loop {
            match self.step(link) {
                Step::Use(session) => return Ok(session),
                Step::Wait(dialling) => return dialled(dialling).await,
                // The pause may end early, and another may begin.
                Step::Pause(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    tokio::time::sleep(left.min(DIAL_PAUSE)).await;
                }
            }
        }
    }

    fn step(&self, link: &Arc<Link>) -> Step {
        let mut state = link.state();
        if let Some(connected) = &state.connected {
            let Some(reason) = connected.connection.close_reason() else {
                return Step::Use(Session { link: Arc::clone(link), connected: connected.clone() });
            };
            // A peer that takes connections and never answers is dialled as seldom as one that
            // takes none.
            if !connected.is_answered.load(Ordering::Relaxed) {
                link.failed(&mut state, Reach::Silent, &reason);
            }
            state.connected = None;
        }
        if let Some(dialling) = &state.dialling
            && dialling.has_changed().is_ok()
        {
            return Step::Wait(dialling.clone());
        }
        if let Some(until) = state.paused_until
            && Instant::now() < until
        {
            return Step::Pause(until);
        }
        let (sender, receiver) = watch::channel(None);
        state.dialling = Some(receiver.clone());
        let (links, link) = (self.clone(), Arc::clone(link));
        tokio::spawn(async move {
            let dialled = links.dial(&link).await;
            let result = links.dialled(&link, dialled);
            sender.send_replace(Some(result));
        });
        Step::Wait(receiver)
    }

    fn dialled(
        &self,
        link: &Arc<Link>,
        dialled: Result<quinn::Connection, DialError>,
    ) -> Result<Session, Arc<io::Error>> {
        let mut state = link.state();
        state.dialling = None;
        match dialled {
            Ok(connection) => {
                let connected = Connected { connection, is_answered: Arc::default() };
                state.connected = Some(connected.clone());
                Ok(Session { link: Arc::clone(link), connected })
            }
            Err(failed) => {
                link.failed(&mut state, failed.reach, &failed.error);
                Err(Arc::new(failed.error))
            }
        }
    }

    /// A connection of its own to a peer that has answered, for what would hold others up.
    pub(super) async fn own_session(&self, link: &Arc<Link>) -> io::Result<Session> {
        // The shared connection takes the pauses for both.
        self.session_in_time(link).await?;
        let connection = self.dial(link).await.map_err(|failed| failed.error)?;
        let connected = Connected { connection, is_answered: Arc::default() };
        Ok(Session { link: Arc::clone(link), connected })
    }

    /// A new connection.
    async fn dial(&self, link: &Link) -> Result<quinn::Connection, DialError> {
        let address = link.state().address.clone();
        tracing::debug!(event = "raft.dial", node = %link.target, address);
        let failed = |error: io::Error| DialError { reach: Reach::Silent, error };
        let dial = async {
            let address = resolve(&address).await.map_err(failed)?;
            let peers = Arc::clone(&self.shared.peers);
            let config = member_client(&self.shared.identity, peers, link.target)
                .map_err(|error| failed(io::Error::other(error)))?;
            let connecting = self
                .shared
                .endpoint
                .connect_with(config, address, "member.conclave.internal")
                .map_err(|error| failed(io::Error::other(error)))?;
            connecting.await.map_err(|error| DialError {
                reach: if is_refused_by_tls(&error) { Reach::Another } else { Reach::Silent },
                error: io::Error::other(error),
            })
        };
        let timeout = || failed(io::ErrorKind::TimedOut.into());
        tokio::time::timeout(DIAL_TIMEOUT, dial).await.map_err(|_| timeout())?
    }

    /// A request of the node above to a peer.
    pub(crate) async fn call(
        &self,
        target: NodeId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let link = self.known(target).ok_or(CallError::Unreachable(target))?;
        let deadline = tokio::time::Instant::now() + timeout;
        let opened = tokio::time::timeout_at(deadline, async {
            let session = self.session(&link).await?;
            let streams = session.open(Lane::Call, Urgency::Urgent).await?;
            Ok::<_, io::Error>((session, streams))
        });
        let Ok(Ok((session, (mut send, mut receive)))) = opened.await else {
            return Err(CallError::Unreachable(target));
        };
        let asked = async {
            frame::send(&mut send, &CallV1(ByteBuf::from(request))).await?;
            session.answer::<CallV1>(&mut receive).await
        };
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer.0.into_vec()),
            _ => Err(CallError::Lost(target)),
        }
    }
}

/// Waits for an attempt that is under way.
async fn dialled(mut dialling: Dialling) -> io::Result<Session> {
    let gone =
        || io::Error::new(io::ErrorKind::NotConnected, "the attempt to connect was given up");
    let result = dialling.wait_for(Option::is_some).await.map_err(|_| gone())?.clone();
    result.ok_or_else(gone)?.map_err(|error| io::Error::new(error.kind(), error))
}

async fn open_on(
    connection: &quinn::Connection,
    lane: Lane,
    urgency: Urgency,
) -> io::Result<(quinn::SendStream, quinn::RecvStream)> {
    let (mut send, receive) = connection.open_bi().await.map_err(io::Error::other)?;
    if let Urgency::Urgent = urgency {
        send.set_priority(URGENT).map_err(io::Error::other)?;
    }
    send.write_all(&[lane.byte()]).await.map_err(io::Error::other)?;
    Ok((send, receive))
}

/// Priority of urgent streams; QUIC's default is 0.
const URGENT: i32 = 1;

/// `HOST:PORT` to an address; the first that the system gives.
async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(address).await?;
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}
