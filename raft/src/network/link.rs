//! One connection to each peer: dialled on demand, with growing pauses while the peer is
//! unreachable.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::async_runtime::AsyncRuntime;
use rand::RngExt;
use serde_bytes::ByteBuf;
use tokio::{io::AsyncWriteExt, sync::watch};

use super::{
    CallError, frame,
    lane::Lane,
    transport::{Close, Connection, DialError, Receiver, Sender, Stream, Transport, Urgency},
};
use crate::{
    limits::{DIAL_PAUSE, DIAL_PAUSE_MAX, DIAL_TIMEOUT},
    rt::{Handle, Instant, Rt, now},
    types::NodeId,
    wire::{CallV1, Message},
};

/// All peers, by number; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    /// Runtime for connection attempts.
    handle: Handle,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    /// Why members refuse this node, as last logged.
    refused: Mutex<Option<Close>>,
}

/// One peer: its address and the connection to it.
pub(super) struct Link {
    target: NodeId,
    state: Mutex<State>,
}

struct State {
    address: String,
    connected: Option<Connected>,
    /// The connection attempt in progress. It runs in a task of its own, so that it survives a
    /// caller that gives up.
    dialling: Option<Dialling>,
    /// Failed attempts since the peer last answered.
    failures: u32,
    /// Earliest time of the next attempt.
    paused_until: Option<Instant>,
    reach: Reach,
}

type Dialling = watch::Receiver<Option<Result<Session, Arc<io::Error>>>>;

/// Reachability of a peer. Each change is logged once, however many attempts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not tried yet.
    Unknown,
    /// The peer answers.
    Answers,
    /// The peer does not answer.
    Silent,
    /// Something else answers at its address.
    Another,
    /// The peer refuses this node. That is logged once for all peers.
    Refuses,
}

/// A connection to a peer.
#[derive(Clone)]
pub(super) struct Session {
    link: Arc<Link>,
    connected: Connected,
}

#[derive(Clone)]
struct Connected {
    connection: Arc<dyn Connection>,
    is_answered: Arc<AtomicBool>,
}

impl Session {
    /// Opens a stream for this lane.
    pub(super) async fn open(
        &self,
        lane: Lane,
        urgency: Urgency,
    ) -> io::Result<(Sender, Receiver)> {
        let Stream { mut send, receive } = self.connected.connection.open(urgency).await?;
        send.write_u8(lane.byte()).await?;
        Ok((send, receive))
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.connected.connection.close(Close::Done);
    }

    /// Receives one answer. Only an answer proves that the peer works, so the first one on a
    /// connection ends the pauses.
    pub(super) async fn answer<T: Message>(&self, receive: &mut Receiver) -> io::Result<T> {
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

    /// Records a failure, and lengthens the pause before the next attempt.
    fn failed(&self, state: &mut State, reach: Reach, error: &dyn std::fmt::Display) {
        state.failures = state.failures.saturating_add(1);
        state.paused_until = Some(now() + pause_after(state.failures));
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
            Reach::Unknown | Reach::Refuses => {}
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

/// Returns the pause after this many failures: doubles up to the longest pause. Half of it is
/// random, so that nodes do not dial in step.
fn pause_after(failures: u32) -> Duration {
    let doubled = DIAL_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(DIAL_PAUSE_MAX);
    let drawn = Rt::thread_rng().random_range(0.5..=1.0);
    pause.mul_f64(drawn)
}

/// Next step of a caller that needs a connection.
enum Step {
    Use(Session),
    Wait(Dialling),
    Pause(Instant),
}

impl Links {
    /// Creates links over `transport`. Connection attempts run on the current runtime.
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Links {
        let (handle, links, refused) = (Handle::current(), Mutex::default(), Mutex::default());
        Links { shared: Arc::new(Shared { transport, handle, links, refused }) }
    }

    /// Logs that a peer refuses this node, once until another reason is given.
    fn refused(&self, by: NodeId, why: Close) {
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.replace(why) == Some(why) {
            return;
        }
        match why {
            Close::Removed => tracing::error!(
                event = "raft.removed", %by,
                hint = "stop it; to use it again, empty its data directory and join with a new token",
                "this node was removed from the cluster, and its members refuse it",
            ),
            Close::OtherCluster => tracing::error!(
                event = "raft.other_cluster", %by,
                hint = "check its data directory, and the addresses of its cluster",
                "this node belongs to another cluster than the members that it dials",
            ),
            _ => tracing::warn!(
                event = "raft.not_known", %by,
                hint = "if this node has just joined, this ends by itself",
                "a member does not know this node yet",
            ),
        }
    }

    /// Records the address of a peer. A new address is tried at once.
    pub(crate) fn know(&self, target: NodeId, address: &str) {
        let link = self.link(target, address);
        let mut state = link.state();
        if state.address != address {
            address.clone_into(&mut state.address);
            (state.failures, state.paused_until) = (0, None);
        }
    }

    /// Returns the round-trip time to each peer with a connection.
    pub(crate) fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<Arc<Link>> = links.values().map(Arc::clone).collect();
        drop(links);
        let time = |link: &Arc<Link>| {
            let connected = link.state().connected.clone()?;
            connected.connection.ended().is_none().then_some(())?;
            Some((link.target, connected.connection.round_trip()?))
        };
        known.iter().filter_map(time).collect()
    }

    /// Ends the pause for a peer that has dialled this node: it is alive, so it is tried at once.
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

    /// Returns the connection to a peer, and dials if there is none. Fails at once during the pause
    /// after a failure.
    pub(super) async fn session(&self, link: &Arc<Link>) -> io::Result<Session> {
        match self.step(link) {
            Step::Use(session) => Ok(session),
            Step::Wait(dialling) => dialled(dialling).await,
            Step::Pause(_) => {
                Err(io::Error::new(io::ErrorKind::NotConnected, "it just failed to connect"))
            }
        }
    }

    /// Returns the connection to a peer, after the pause if there is one. Fails at most once for
    /// each connection attempt.
    pub(super) async fn session_in_time(&self, link: &Arc<Link>) -> io::Result<Session> {
        loop {
            match self.step(link) {
                Step::Use(session) => return Ok(session),
                Step::Wait(dialling) => return dialled(dialling).await,
                // Wait in short steps: the pause may end early, and a new one may begin.
                Step::Pause(until) => {
                    Rt::sleep_until(until.min(now() + DIAL_PAUSE)).await;
                }
            }
        }
    }

    fn step(&self, link: &Arc<Link>) -> Step {
        let mut state = link.state();
        if let Some(connected) = &state.connected {
            let Some(reason) = connected.connection.ended() else {
                return Step::Use(Session { link: Arc::clone(link), connected: connected.clone() });
            };
            let (refused, is_answered) =
                (connected.connection.refused(), connected.is_answered.load(Ordering::Relaxed));
            if let Some(why) = refused {
                self.refused(link.target, why);
                link.failed(&mut state, Reach::Refuses, &reason);
            } else if !is_answered {
                // Dial a peer that accepts connections but never answers as seldom as one that
                // accepts none.
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
            && now() < until
        {
            return Step::Pause(until);
        }
        let (sender, receiver) = watch::channel(None);
        state.dialling = Some(receiver.clone());
        let (links, link) = (self.clone(), Arc::clone(link));
        self.shared.handle.spawn(async move {
            let dialled = links.dial(&link).await;
            let result = links.dialled(&link, dialled);
            sender.send_replace(Some(result));
        });
        Step::Wait(receiver)
    }

    fn dialled(
        &self,
        link: &Arc<Link>,
        dialled: Result<Arc<dyn Connection>, DialError>,
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
                let reach = if failed.is_another { Reach::Another } else { Reach::Silent };
                link.failed(&mut state, reach, &failed.error);
                Err(Arc::new(failed.error))
            }
        }
    }

    /// Dials a separate connection to a peer, for transfers that would delay other requests.
    pub(super) async fn own_session(&self, link: &Arc<Link>) -> io::Result<Session> {
        // The pauses are those of the shared connection, so connect that one first.
        self.session_in_time(link).await?;
        let connection = self.dial(link).await.map_err(|failed| failed.error)?;
        let connected = Connected { connection, is_answered: Arc::default() };
        Ok(Session { link: Arc::clone(link), connected })
    }

    /// Dials a new connection.
    async fn dial(&self, link: &Link) -> Result<Arc<dyn Connection>, DialError> {
        let address = link.state().address.clone();
        tracing::debug!(event = "raft.dial", node = %link.target, address);
        let dial = self.shared.transport.dial(link.target, address);
        let timeout = || DialError { is_another: false, error: io::ErrorKind::TimedOut.into() };
        Rt::timeout(DIAL_TIMEOUT, dial).await.map_err(|_| timeout())?
    }

    /// Sends a request of the layer above to a peer, and returns the answer. `build` makes the
    /// request from the exporter of the connection on which it goes.
    pub(crate) async fn call(
        &self,
        target: NodeId,
        build: impl FnOnce([u8; 32]) -> Vec<u8> + Send,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let link = self.known(target).ok_or(CallError::Unreachable(target))?;
        let deadline = now() + timeout;
        let opened = Rt::timeout_at(deadline, async {
            let session = self.session(&link).await?;
            let exporter = session.connected.connection.exporter();
            let exporter = exporter.ok_or(io::ErrorKind::NotConnected)?;
            let streams = session.open(Lane::Call, Urgency::Urgent).await?;
            Ok::<_, io::Error>((session, exporter, streams))
        });
        let Ok(Ok((session, exporter, (mut send, mut receive)))) = opened.await else {
            return Err(CallError::Unreachable(target));
        };
        let request = CallV1(ByteBuf::from(build(exporter)));
        let asked = async {
            frame::send(&mut send, &request).await?;
            session.answer::<CallV1>(&mut receive).await
        };
        match Rt::timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer.0.into_vec()),
            _ => Err(CallError::Lost(target)),
        }
    }
}

/// Waits for a connection attempt in progress.
async fn dialled(mut dialling: Dialling) -> io::Result<Session> {
    let gone =
        || io::Error::new(io::ErrorKind::NotConnected, "the attempt to connect was given up");
    let result = dialling.wait_for(Option::is_some).await.map_err(|_| gone())?.clone();
    result.ok_or_else(gone)?.map_err(|error| io::Error::new(error.kind(), error))
}
