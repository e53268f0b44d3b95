//! Admission of connections: members by their pinned keys, checked again as long as a connection
//! lasts.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::{
    BoxFuture, Peers, Renewable,
    identity::{self, EXPORTER_MEMBER},
    transport::{Close, Connection, Stream, Urgency},
};
use crate::{
    limits::{MEMBERS_LOOK_EVERY, REFUSED_LINES_EVERY, REFUSED_LINES_MAX, REFUSED_MAX},
    types::NodeId,
};

/// Priority of urgent streams; quinn's default is 0.
const URGENT: i32 = 1;

/// Judge of all connections of a node.
pub(super) struct Guard {
    identity: Arc<Renewable>,
    peers: Arc<dyn Peers>,
    standing: Mutex<Vec<Weak<Proven>>>,
    refused: Mutex<Refused>,
}

impl Guard {
    pub(super) fn new(identity: Arc<Renewable>, peers: Arc<dyn Peers>) -> Arc<Guard> {
        let (standing, refused) = (Mutex::default(), Mutex::default());
        Arc::new(Guard { identity, peers, standing, refused })
    }

    /// Takes a connection whose peer has proved a member's key. Closes any other one.
    pub(super) fn admit(self: &Arc<Guard>, connection: quinn::Connection) -> Option<Arc<Proven>> {
        let chain = identity::peer_chain(&connection);
        let key = chain.first().and_then(|leaf| identity::public_key(leaf).ok());
        let Some(member) = key.as_deref().and_then(|key| self.peers.identify(key)) else {
            self.refuse(&connection, &chain, key.unwrap_or_default());
            return None;
        };
        let (guard, key) = (Arc::clone(self), key.unwrap_or_default());
        let proven = Arc::new(Proven { connection, member, chain, key, guard });
        locked(&self.standing).push(Arc::downgrade(&proven));
        Some(proven)
    }

    /// Closes the connections of nodes that are no longer members. Runs until dropped.
    pub(super) async fn watch(&self) {
        let mut ticks = tokio::time::interval(MEMBERS_LOOK_EVERY);
        loop {
            ticks.tick().await;
            let standing: Vec<Arc<Proven>> = {
                let mut standing = locked(&self.standing);
                standing.retain(|proven| proven.strong_count() > 0);
                standing.iter().filter_map(Weak::upgrade).collect()
            };
            for proven in standing.iter().filter(|proven| proven.ended().is_none()) {
                // It closes the connection itself.
                let _ = proven.check();
            }
        }
    }

    /// Closes a connection, and tells the peer why.
    fn refuse(
        &self,
        connection: &quinn::Connection,
        chain: &[CertificateDer<'static>],
        key: Vec<u8>,
    ) {
        let why = match chain.first() {
            _ if !identity::is_of_cluster(chain, &self.identity.present()) => Close::OtherCluster,
            Some(leaf) if self.peers.was_removed(leaf) => Close::Removed,
            _ => Close::Stranger,
        };
        connection.close(why.code().into(), why.reason().as_bytes());
        let line = locked(&self.refused).line(key, why, Instant::now());
        if let Some(unlogged) = line {
            let (remote, reason) = (connection.remote_address(), why.reason());
            tracing::warn!(event = "raft.stranger", %remote, reason, unlogged, "refused a node");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refused peers, so that the log has one line for each, and few in all.
#[derive(Default)]
struct Refused {
    logged: BTreeMap<Vec<u8>, Close>,
    /// Start of the interval in which lines are counted.
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
}

impl Refused {
    /// Returns whether a refusal is worth a line, with the number of those that got none before.
    fn line(&mut self, key: Vec<u8>, why: Close, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now - since >= REFUSED_LINES_EVERY) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.logged.get(&key) == Some(&why) || self.lines >= REFUSED_LINES_MAX {
            self.unlogged += 1;
            return None;
        }
        if self.logged.len() >= REFUSED_MAX {
            self.logged.clear();
        }
        self.logged.insert(key, why);
        self.lines += 1;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// A connection whose peer has proved a member's key. It ends when the peer is no longer a member.
pub(super) struct Proven {
    connection: quinn::Connection,
    member: NodeId,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    guard: Arc<Guard>,
}

impl Proven {
    /// Returns the peer's number.
    pub(super) fn member(&self) -> NodeId {
        self.member
    }

    /// Returns the peer's address.
    pub(super) fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn check(&self) -> io::Result<()> {
        if self.guard.peers.identify(&self.key) == Some(self.member) {
            return Ok(());
        }
        self.guard.refuse(&self.connection, &self.chain, self.key.clone());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the peer is no longer a member"))
    }
}

fn stream((send, receive): (quinn::SendStream, quinn::RecvStream)) -> Stream {
    Stream { send: Box::new(send), receive: Box::new(receive) }
}

impl Connection for Proven {
    fn open(&self, urgency: Urgency) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            self.check()?;
            let (send, receive) = self.connection.open_bi().await.map_err(io::Error::other)?;
            if let Urgency::Urgent = urgency {
                send.set_priority(URGENT).map_err(io::Error::other)?;
            }
            Ok(stream((send, receive)))
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let accepted = self.connection.accept_bi().await.map_err(io::Error::other)?;
            self.check()?;
            Ok(stream(accepted))
        })
    }

    fn ended(&self) -> Option<String> {
        self.connection.close_reason().map(|reason| reason.to_string())
    }

    fn refused(&self) -> Option<Close> {
        identity::closed_by_peer(&self.connection).filter(|why| why.is_refusal())
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        identity::exporter(&self.connection, EXPORTER_MEMBER)
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(self.connection.rtt())
    }

    fn close(&self, why: Close) {
        self.connection.close(why.code().into(), why.reason().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refused_peer_is_logged_once_and_all_of_them_seldom() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        assert_eq!(refused.line(vec![1], Close::Removed, now), Some(0));
        assert_eq!(refused.line(vec![1], Close::Removed, now), None, "the same again");
        assert_eq!(refused.line(vec![1], Close::Stranger, now), Some(1), "another reason");
        let lines = |refused: &mut Refused, now| {
            let many = (0..1000u16).map(|key| key.to_be_bytes().to_vec());
            many.filter_map(|key| refused.line(key, Close::OtherCluster, now)).count()
        };
        assert_eq!(lines(&mut refused, now), usize::try_from(REFUSED_LINES_MAX).unwrap() - 2);
        let later = now + REFUSED_LINES_EVERY;
        assert!(
            refused.line(vec![7; 9], Close::Removed, later).is_some_and(|unlogged| unlogged > 900)
        );
        lines(&mut refused, later);
        assert!(refused.logged.len() <= REFUSED_MAX);
    }
}
