//! Incoming connections: handshakes within bounds, then members and joining nodes.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc};

use openraft::async_runtime::watch::WatchReceiver;
use serde_bytes::ByteBuf;

use super::super::{
    Calls, Joiner,
    accept::Accept,
    addresses::Addresses,
    frame,
    guard::Guard,
    identity::{self, ALPN_JOIN, ALPN_MEMBER, EXPORTER_JOIN},
    places::{Holder, Place, Places},
    transport::{Close, Receiver, Sender},
};
use crate::{
    limits::{
        HANDSHAKE_TIMEOUT, JOIN_BYTES_MAX, JOIN_REQUEST_TIMEOUT, JOIN_TIMEOUT, LOOKUP_EVERY,
        MEMBER_WINDOW_BYTES, MEMBERS_LOOK_EVERY, STREAMS_MAX,
    },
    types::NodeId,
    wire::CallV1,
};

/// Handler of incoming connections.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) guard: Arc<Guard>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) places: Arc<Places>,
    pub(super) accept: Accept,
    pub(super) calls: Arc<dyn Calls>,
}

impl Server {
    /// Accepts and answers connections until the socket is closed.
    pub(super) async fn serve(self, endpoint: quinn::Endpoint) {
        let addresses = Arc::clone(&self.addresses);
        tokio::select! {
            () = self.accept_all(endpoint) => {}
            () = self.guard.watch() => {}
            () = self.follow_members() => {}
            () = addresses.refresh(LOOKUP_EVERY) => {}
        }
    }

    async fn accept_all(&self, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let (remote, is_checked) =
                (incoming.remote_address(), incoming.remote_address_validated());
            if !is_checked && self.places.are_crowded() {
                // Costs no memory: the peer must come again with a token that only the owner of its
                // address receives. RFC 9000 §8.1.2
                let _ = incoming.retry();
                continue;
            }
            let Some(place) = self.place(remote.ip(), is_checked) else {
                incoming.refuse();
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                if let Err(error) = server.handshake(incoming, place).await {
                    tracing::debug!(event = "raft.connection_ended", %remote, %error);
                }
            });
        }
    }

    /// Takes a place for a handshake. Only an address that is checked can be a member's: anybody
    /// can send under any other.
    fn place(&self, ip: IpAddr, is_checked: bool) -> Option<Place> {
        if is_checked && self.addresses.is_of_member(ip) {
            return self.places.take(Holder::KnownHandshake(ip));
        }
        self.places.take(Holder::Handshake(ip))
    }

    async fn handshake(&self, incoming: quinn::Incoming, place: Place) -> io::Result<()> {
        let connecting = incoming.accept().map_err(io::Error::other)?;
        let connection = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await?;
        let connection = connection.map_err(io::Error::other)?;
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match alpn.as_deref() {
            Some(ALPN_MEMBER) => self.member(connection, place).await,
            Some(ALPN_JOIN) => {
                let joined = tokio::time::timeout(JOIN_TIMEOUT, self.joining(&connection, place));
                joined.await?
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no known protocol")),
        }
    }

    async fn member(&self, connection: quinn::Connection, place: Place) -> io::Result<()> {
        let Some(proven) = self.guard.admit(connection.clone()) else { return Ok(()) };
        let from = proven.member();
        let _member = self.places.take(Holder::Member(from)).ok_or_else(|| {
            connection.close(Close::Busy.code().into(), Close::Busy.reason().as_bytes());
            io::Error::other("a member has too many connections")
        })?;
        drop(place);
        connection.set_receive_window(MEMBER_WINDOW_BYTES.into());
        connection.set_max_concurrent_bi_streams(STREAMS_MAX.into());
        self.addresses.heard(from, proven.remote());
        self.accept.member(from, proven).await
    }

    async fn joining(&self, connection: &quinn::Connection, place: Place) -> io::Result<()> {
        let remote = connection.remote_address();
        let Some(_joining) = self.places.take(Holder::Join(remote.ip())) else {
            connection.close(Close::Busy.code().into(), Close::Busy.reason().as_bytes());
            return Err(io::Error::other("too many joins at once"));
        };
        drop(place);
        let exporter = identity::exporter(connection, EXPORTER_JOIN)
            .ok_or_else(|| io::Error::other("no TLS exporter"))?;
        let receiving = async {
            let (send, receive) = connection.accept_bi().await.map_err(io::Error::other)?;
            let mut receive: Receiver = Box::new(receive);
            let request: CallV1 = frame::receive_short(&mut receive, JOIN_BYTES_MAX).await?;
            Ok::<_, io::Error>((Box::new(send), request))
        };
        let received = tokio::time::timeout(JOIN_REQUEST_TIMEOUT, receiving).await?;
        let (send, request) = received?;
        let mut send: Sender = send;
        let chain = identity::peer_chain(connection);
        let public_key_der = chain.first().and_then(|leaf| identity::public_key(leaf).ok());
        let joiner = Joiner { exporter, remote, public_key_der };
        let answer = self.calls.join(joiner, request.0.into_vec()).await;
        frame::send(&mut send, &CallV1(ByteBuf::from(answer))).await?;
        frame::finish(&mut send).await;
        // Wait until the peer has read the answer and closes. Dropping the connection earlier could
        // lose the answer.
        connection.closed().await;
        Ok(())
    }

    /// Follows the addresses of the members, because a follower dials few of them itself. The
    /// metrics change with every entry, so they are looked at in intervals.
    async fn follow_members(&self) {
        let metrics = self.accept.raft.metrics();
        let mut ticks = tokio::time::interval(MEMBERS_LOOK_EVERY);
        let mut known = None;
        loop {
            ticks.tick().await;
            let all: BTreeMap<NodeId, String> = {
                let metrics = metrics.borrow_watched();
                let membership = &metrics.membership_config;
                if known.as_ref() == Some(membership.log_id()) {
                    continue;
                }
                known = Some(*membership.log_id());
                membership.nodes().map(|(id, node)| (NodeId(*id), node.addr.clone())).collect()
            };
            self.addresses.know(&all);
        }
    }
}
