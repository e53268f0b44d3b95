//! Conversation with a sender: transactions, one after the other (RFC 2033, RFC 5321 §3).

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{sync::watch, time::Instant};

use crate::{
    WithoutCertificate,
    command::{Command, Envelope, parse},
    delivery::Delivery,
    limits::{
        COMMAND_BYTES_MAX, COMMAND_TIMEOUT, CONNECTION_TIME_MAX, ENVELOPE_TIME_MAX, ERRORS_MAX,
        PLACE_TIMEOUT, RECIPIENTS_MAX,
    },
    offers::Offers,
    readers::{NotReady, readers},
    reply::Reply,
    shared::{Phase, Shared},
    transfer::transfer,
    upstream::{Failure, Upstream},
    wire::{Wire, WireError},
};

/// Conversation with a sender.
pub(crate) struct Session {
    wire: Wire,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    begun: Instant,
    /// Name of the sender and what the mailbox server offers, once LHLO was said.
    greeted: Option<(String, Offers)>,
    transaction: Option<Transaction>,
    errors: usize,
}

/// Transaction from MAIL on.
struct Transaction {
    from: Envelope,
    begun: Instant,
    deliveries: Vec<Delivery>,
}

impl Session {
    pub(crate) fn new(wire: Wire, shared: Arc<Shared>, phase: watch::Receiver<Phase>) -> Session {
        let begun = Instant::now();
        Session { wire, shared, phase, begun, greeted: None, transaction: None, errors: 0 }
    }

    /// Runs until either side ends the connection.
    pub(crate) async fn run(mut self) {
        match self.converse().await {
            Ok(()) => {}
            Err(WireError::Gone) if self.transaction.is_none() => {}
            Err(error) => {
                tracing::info!(event = "lmtp.connection_failed", %error);
                if !matches!(error, WireError::Gone | WireError::Io(_)) {
                    let farewell = Reply::new(421, format!("4.4.2 Closing: {error}"));
                    let _ = self.say(&farewell).await;
                }
            }
        }
    }

    async fn converse(&mut self) -> Result<(), WireError> {
        let closing = Reply::new(421, "4.3.2 This node takes no mail now");
        if *self.phase.borrow() != Phase::Serving {
            return self.say(&closing).await;
        }
        self.say(&Reply::new(220, format!("{} LMTP", self.shared.host))).await?;
        while let Some(line) = self.next_line().await? {
            let reply = match parse(&line) {
                Ok(Command::Quit) => return self.say(&Reply::new(221, "2.0.0 Bye")).await,
                Ok(Command::Data) => match self.data().await? {
                    Some(reply) => reply,
                    None => continue,
                },
                Ok(command) => self.obey(command).await,
                Err(reply) => reply,
            };
            self.errors += usize::from(reply.code() / 10 == 50);
            self.say(&reply).await?;
            if self.errors >= ERRORS_MAX {
                return self.say(&Reply::new(421, "4.7.0 Too many errors")).await;
            }
        }
        self.say(&closing).await
    }

    /// Returns the next command line; none: the node takes no further transactions.
    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let left = match &self.transaction {
            Some(transaction) => ENVELOPE_TIME_MAX.saturating_sub(transaction.begun.elapsed()),
            None => CONNECTION_TIME_MAX.saturating_sub(self.begun.elapsed()),
        };
        let is_idle = self.transaction.is_none();
        tokio::select! {
            // No transaction begins at the same time.
            biased;
            () = Phase::wait(&mut self.phase, |phase| phase != Phase::Serving), if is_idle => Ok(None),
            line = self.wire.line(COMMAND_BYTES_MAX, COMMAND_TIMEOUT.min(left)) => line.map(Some),
        }
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), WireError> {
        self.wire.write(&reply.bytes()).await
    }

    async fn obey(&mut self, command: Command) -> Reply {
        match command {
            Command::Lhlo(name) => self.lhlo(name).await,
            Command::Mail(from) => self.mail(from),
            Command::Rcpt(to) => {
                let reply = self.rcpt(to).await;
                if let Some(outcome) = reply.refusal() {
                    self.shared.counters.add(outcome);
                }
                reply
            }
            Command::Rset => {
                self.transaction = None;
                Reply::new(250, "2.0.0 Ok")
            }
            Command::Noop => Reply::new(250, "2.0.0 Ok"),
            Command::Vrfy => Reply::new(252, "2.5.2 Send some mail"),
            Command::Data | Command::Quit => out_of_order(),
        }
    }

    async fn lhlo(&mut self, name: String) -> Reply {
        self.transaction = None;
        let opened = match self.shared.place(PLACE_TIMEOUT).await {
            Some(place) => Upstream::open(&self.shared.settings, &name, place).await,
            None => return crowded(),
        };
        match opened {
            Ok(upstream) => {
                let offers = upstream.offers();
                upstream.quit().await;
                self.greeted = Some((name, offers));
                offers.reply(&self.shared.host)
            }
            Err(failure) => self.unopened(failure),
        }
    }

    fn mail(&mut self, from: Envelope) -> Reply {
        let Some((_, offers)) = self.greeted.as_ref().filter(|_| self.transaction.is_none()) else {
            return out_of_order();
        };
        if let Err(reply) = offers.check_mail(&from) {
            return reply;
        }
        let (begun, deliveries) = (Instant::now(), Vec::new());
        self.transaction = Some(Transaction { from, begun, deliveries });
        // The mailbox server hears of the sender with each recipient, and refuses it there.
        Reply::new(250, "2.1.0 Ok")
    }

    async fn rcpt(&mut self, to: Envelope) -> Reply {
        let (Some((name, offers)), Some(transaction)) = (&self.greeted, &self.transaction) else {
            return out_of_order();
        };
        // Deliveries cannot be shared among threads, so nothing of them is held while waiting.
        let (count, from) = (transaction.deliveries.len(), transaction.from.clone());
        if count >= RECIPIENTS_MAX {
            return Reply::new(452, "4.5.3 Too many recipients, send the message again for others");
        }
        if let Err(reply) = offers.check_rcpt(&to) {
            return reply;
        }
        let found = self.shared.certificates().ok_or(NotReady);
        let Ok(readers) = found.and_then(|certificates| readers(&to, &*certificates)) else {
            return Reply::new(451, "4.3.0 No certificates are known now");
        };
        // A transaction that has places must not wait for others that wait for its own.
        let patience = if count == 0 { PLACE_TIMEOUT } else { Duration::ZERO };
        let Some(place) = self.shared.place(patience).await else { return crowded() };
        let mail = offers.mail(&from, !readers.is_empty());
        let opened = async {
            let mut upstream = Upstream::open(&self.shared.settings, name, place).await?;
            upstream.order(&mail).await?;
            let reply = upstream.order(&offers.rcpt(&to)).await?;
            Ok((upstream, reply))
        };
        let (upstream, reply) = match opened.await {
            Ok(opened) => opened,
            Err(failure) => return self.unopened(failure),
        };
        if readers.is_empty()
            && let Some(reply) = self.without_certificate(&to)
        {
            upstream.quit().await;
            return reply;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.deliveries.push(Delivery::new(to.path, readers, upstream));
        }
        reply
    }

    /// Returns the reply for a recipient to whom nothing can be encrypted; none: the message goes as
    /// it comes. It is said only when the mailbox server knows the recipient, so that nobody tries
    /// again to reach a mailbox that does not exist.
    fn without_certificate(&self, to: &Envelope) -> Option<Reply> {
        let text = "7.5 This mailbox has no certificate to encrypt for";
        let reply = match self.shared.settings.without_certificate {
            WithoutCertificate::Pass => return None,
            WithoutCertificate::Defer => Reply::new(451, format!("4.{text}")),
            WithoutCertificate::Reject => Reply::new(550, format!("5.{text}")),
        };
        let (recipient, code) = (&to.path, reply.code());
        tracing::info!(event = "lmtp.no_certificate", recipient, code);
        Some(reply)
    }

    /// Takes a message. Returns a reply instead of taking it, or none when all replies are said.
    async fn data(&mut self) -> Result<Option<Reply>, WireError> {
        let has_recipients = |one: &mut Transaction| !one.deliveries.is_empty();
        let Some(mut transaction) = self.transaction.take_if(has_recipients) else {
            return Ok(Some(Reply::new(503, "5.5.1 No recipient was accepted")));
        };
        let deliveries = &mut transaction.deliveries;
        join_all(deliveries.iter_mut().map(Delivery::open)).await;
        self.say(&Reply::new(354, "End the message with a dot on a line of its own")).await?;
        if let Err(error) = transfer(&mut self.wire, deliveries, self.shared.settings.cipher).await
        {
            tracing::info!(event = "lmtp.message_cut", %error);
            return Err(error);
        }
        // RFC 2033 §4.2: a reply for each accepted recipient, in their order.
        for (reply, outcome) in
            join_all(transaction.deliveries.into_iter().map(Delivery::finish)).await
        {
            if let Some(outcome) = outcome {
                self.shared.counters.add(outcome);
            }
            self.say(&reply).await?;
        }
        Ok(None)
    }

    fn unopened(&self, failure: Failure) -> Reply {
        match &failure {
            Failure::Refused(_) => {}
            error => {
                let upstream = &self.shared.settings.upstream;
                tracing::warn!(event = "lmtp.upstream_down", %upstream, %error);
            }
        }
        failure.reply()
    }
}

fn out_of_order() -> Reply {
    Reply::new(503, "5.5.1 Commands are out of order")
}

fn crowded() -> Reply {
    Reply::new(452, "4.3.1 Too many connections to the mailbox server, try again later")
}
