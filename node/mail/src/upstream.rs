//! Conversation with the mailbox server, one connection for each recipient of a transaction.

use std::time::Duration;

use tokio::{io, sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    Settings,
    limits::{CONNECT_TIMEOUT, FAREWELL_TIMEOUT, REPLY_TIMEOUT, STORED_TIMEOUT},
    offers::Offers,
    reply::Reply,
    wire::{Wire, WireError},
};

/// Connection to the mailbox server. Dropping it cuts it: a message without its end is not stored.
pub(crate) struct Upstream {
    wire: Wire,
    offers: Offers,
    _place: OwnedSemaphorePermit,
}

/// Reason why the mailbox server does not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It says so.
    #[error("it refuses: {}", .0.code())]
    Refused(Reply),
    /// No connection is possible.
    #[error("no connection is possible")]
    Unreachable(#[source] io::Error),
    /// The conversation fails.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl Failure {
    /// Returns the reply for the recipient.
    pub(crate) fn reply(self) -> Reply {
        match self {
            Failure::Refused(reply) => reply.about_recipient(),
            Failure::Unreachable(_) => Reply::new(451, "4.4.1 The mailbox server does not answer"),
            Failure::Wire(_) => {
                Reply::new(451, "4.4.2 The connection to the mailbox server failed")
            }
        }
    }
}

impl Upstream {
    /// Connects, and says LHLO with the name of the sender, so that the mailbox server traces the
    /// message to the sender.
    pub(crate) async fn open(
        settings: &Settings,
        name: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Upstream, Failure> {
        let connecting = timeout(CONNECT_TIMEOUT, settings.upstream.connect()).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(Failure::Unreachable)?;
        let offers = Offers::default();
        let mut upstream = Upstream { wire: Wire::new(stream), offers, _place: permit };
        positive(Reply::read(&mut upstream.wire, REPLY_TIMEOUT).await?)?;
        let reply = upstream.order(&format!("LHLO {name}")).await?;
        upstream.offers = Offers::of(&reply, settings.offers_dsn);
        Ok(upstream)
    }

    /// Returns what the mailbox server offers.
    pub(crate) fn offers(&self) -> Offers {
        self.offers
    }

    /// Says a command that must succeed, and returns the reply.
    pub(crate) async fn order(&mut self, command: &str) -> Result<Reply, Failure> {
        positive(self.ask(command, REPLY_TIMEOUT).await?)
    }

    /// Says DATA.
    pub(crate) async fn data(&mut self) -> Result<(), Failure> {
        let reply = self.ask("DATA", REPLY_TIMEOUT).await?;
        if reply.code() == 354 { Ok(()) } else { Err(Failure::Refused(reply)) }
    }

    /// Sends a part of the message as it is on the wire.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.wire.write(bytes).await
    }

    /// Returns the reply to the message, once its end was sent.
    pub(crate) async fn stored(&mut self) -> Result<Reply, WireError> {
        Reply::read(&mut self.wire, STORED_TIMEOUT).await
    }

    /// Says QUIT and ends. The answer would change nothing.
    pub(crate) async fn quit(mut self) {
        let _ = timeout(FAREWELL_TIMEOUT, self.wire.write(b"QUIT\r\n")).await;
    }

    async fn ask(&mut self, command: &str, patience: Duration) -> Result<Reply, WireError> {
        self.wire.write(format!("{command}\r\n").as_bytes()).await?;
        Reply::read(&mut self.wire, patience).await
    }
}

fn positive(reply: Reply) -> Result<Reply, Failure> {
    if reply.is_positive() { Ok(reply) } else { Err(Failure::Refused(reply)) }
}
