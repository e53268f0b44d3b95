//! Delivery of a message to one recipient.

use std::io::Write;

use conclave_pki::certificate::Certificate;
use conclave_smime::{
    cms::Cipher,
    message::{Encrypting, Encryption, MessageError},
};
use conclave_system::entropy;

use crate::{
    Outcome,
    data::Stuffing,
    reply::Reply,
    upstream::{Failure, Upstream},
    wire::WireError,
};

/// Delivery of a message to one recipient, by a connection of its own: no recipient learns of the
/// others, and one delivery that fails leaves the others alone.
pub(crate) struct Delivery {
    /// Address of the recipient, for the log.
    recipient: String,
    /// Certificates to encrypt to; empty: the message goes as it came.
    readers: Vec<Certificate>,
    body: Body,
    /// What the mailbox server has not been sent yet.
    outgoing: Vec<u8>,
}

enum Body {
    /// No part of the message was seen yet.
    Waiting(Upstream),
    /// The message as it came, or encrypted.
    Sending(Upstream, Stuffing, Option<Box<Encrypting<Vec<u8>>>>),
    /// It failed; the connection is cut.
    Failed(Reply),
}

impl Delivery {
    pub(crate) fn new(
        recipient: String,
        readers: Vec<Certificate>,
        upstream: Upstream,
    ) -> Delivery {
        Delivery { recipient, readers, body: Body::Waiting(upstream), outgoing: Vec::new() }
    }

    /// Announces the message.
    pub(crate) async fn open(&mut self) {
        if let Body::Waiting(upstream) = &mut self.body
            && let Err(failure) = upstream.data().await
        {
            self.fail(failure);
        }
    }

    /// Takes the start of the message: its header at least. `is_encrypted`: it is encrypted already.
    pub(crate) fn start(&mut self, mut head: &[u8], is_encrypted: bool, cipher: Cipher) {
        let upstream = match std::mem::replace(&mut self.body, lost()) {
            Body::Waiting(upstream) => upstream,
            failed => return self.body = failed,
        };
        let mut encrypting = None;
        if !is_encrypted && !self.readers.is_empty() {
            let encryption = Encryption { cipher, ..Encryption::to(&self.readers) };
            match Encrypting::begin(&mut head, Vec::new(), &encryption, &mut entropy::fill) {
                Ok(begun) => encrypting = Some(Box::new(begun)),
                Err(error) => return self.not_encrypted(&error),
            }
        }
        self.body = Body::Sending(upstream, Stuffing::new(), encrypting);
        self.take(head);
    }

    /// Takes a further piece of the message.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        let Body::Sending(_, stuffing, encrypting) = &mut self.body else { return };
        let Some(encrypting) = encrypting else {
            return stuffing.write(piece, &mut self.outgoing);
        };
        match encrypting.write_all(piece) {
            Ok(()) => {
                let made = std::mem::take(encrypting.get_mut());
                stuffing.write(&made, &mut self.outgoing);
            }
            Err(error) => self.not_encrypted(&MessageError::Write(error)),
        }
    }

    /// Sends what was taken.
    pub(crate) async fn send(&mut self) {
        let outgoing = std::mem::take(&mut self.outgoing);
        if let Body::Sending(upstream, ..) = &mut self.body
            && let Err(error) = upstream.send(&outgoing).await
        {
            self.fail(error.into());
        }
    }

    /// Refuses the message, whatever became of this delivery so far, and cuts the connection.
    pub(crate) fn refuse(&mut self, reply: Reply) {
        self.body = Body::Failed(reply);
    }

    /// Sends the end of the message. Returns the reply for the recipient, and what it means.
    pub(crate) async fn finish(mut self) -> (Reply, Option<Outcome>) {
        let reply = match std::mem::replace(&mut self.body, lost()) {
            Body::Sending(upstream, stuffing, encrypting) => {
                let outcome = match encrypting {
                    Some(_) => Outcome::Encrypted,
                    None => Outcome::Passed,
                };
                match self.end(upstream, stuffing, encrypting).await {
                    Ok(reply) if reply.is_positive() => {
                        let (recipient, outcome_word) = (&self.recipient, outcome.word());
                        tracing::debug!(event = "lmtp.stored", recipient, outcome = outcome_word);
                        return (reply, Some(outcome));
                    }
                    Ok(reply) => {
                        let (recipient, code) = (&self.recipient, reply.code());
                        tracing::info!(event = "lmtp.not_stored", recipient, code);
                        reply
                    }
                    Err(reply) => reply,
                }
            }
            Body::Failed(reply) => reply,
            Body::Waiting(_) => broken(),
        };
        let outcome = reply.refusal();
        (reply, outcome)
    }

    async fn end(
        &mut self,
        mut upstream: Upstream,
        mut stuffing: Stuffing,
        encrypting: Option<Box<Encrypting<Vec<u8>>>>,
    ) -> Result<Reply, Reply> {
        if let Some(encrypting) = encrypting {
            let made = encrypting.finish().map_err(|error| self.encryption_failed(&error))?;
            stuffing.write(&made, &mut self.outgoing);
        }
        stuffing.end(&mut self.outgoing);
        let sent = upstream.send(&self.outgoing).await;
        let stored = match sent {
            Ok(()) => upstream.stored().await,
            Err(error) => Err(error),
        };
        let reply = stored.map_err(|error: WireError| self.connection_failed(error.into()))?;
        upstream.quit().await;
        Ok(reply.about_recipient())
    }

    fn fail(&mut self, failure: Failure) {
        let reply = self.connection_failed(failure);
        self.body = Body::Failed(reply);
    }

    fn connection_failed(&self, failure: Failure) -> Reply {
        tracing::warn!(event = "lmtp.upstream_failed", recipient = self.recipient, error = %failure);
        failure.reply()
    }

    fn not_encrypted(&mut self, error: &MessageError) {
        let reply = self.encryption_failed(error);
        self.body = Body::Failed(reply);
    }

    /// Returns the reply for a message that cannot be encrypted: a damaged header stays damaged, and
    /// everything else may be another time.
    fn encryption_failed(&self, error: &MessageError) -> Reply {
        tracing::warn!(event = "lmtp.not_encrypted", recipient = self.recipient, %error);
        match error {
            MessageError::Header(why) => {
                Reply::new(554, format!("5.6.0 The message cannot be encrypted: {why}"))
            }
            _ => Reply::new(451, "4.7.5 The message could not be encrypted"),
        }
    }
}

fn broken() -> Reply {
    Reply::new(451, "4.3.0 The message was not handed over")
}

fn lost() -> Body {
    Body::Failed(broken())
}
