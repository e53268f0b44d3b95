//! I/O for STARTTLS conversations.

use std::{io, time::Duration};

use conclave_preface::{
    limits::SAID_BYTES_MAX,
    starttls::{Conversation, Reason, Side, Sides, Step, Who},
};
use tokio::time::timeout;

use super::{
    forward::{End, Taken, give, take},
    limits::GREETING_TIMEOUT,
};

/// Outcome of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Talked {
    /// TLS starts now.
    StartTls,
    /// Forwarding starts now. Everything read so far has been passed on.
    Pass,
    /// The connection is over, and the client has been told.
    Over(Reason),
}

/// Runs a conversation until TLS starts, forwarding starts, or the connection is over. Connects to
/// the upstream when it is first needed. Each wait for the client takes at most `client_timeout`,
/// each wait for the upstream at most [`GREETING_TIMEOUT`].
pub(crate) async fn converse<C: End, U: End, F: Future<Output = io::Result<U>>>(
    conversation: &mut dyn Conversation,
    sides: &mut Sides,
    client: &mut C,
    upstream: &mut Option<U>,
    connect: impl Fn() -> F,
    client_timeout: Duration,
) -> io::Result<Talked> {
    loop {
        let step = conversation.step(sides);
        let needs_upstream = matches!(step, Step::Read(Who::Upstream) | Step::ReadAny | Step::Pass)
            || !sides.upstream.tell.is_empty();
        if upstream.is_none() && needs_upstream {
            match connect().await {
                Ok(connected) => *upstream = Some(connected),
                Err(error) => {
                    let words = conversation.farewell("the server is not available");
                    return over(client, &words, error).await;
                }
            }
        }
        tell(client, &mut sides.client).await?;
        if let Some(upstream) = upstream.as_mut() {
            tell(upstream, &mut sides.upstream).await?;
        }
        let (heard, whose) = match (step, upstream.as_mut()) {
            (Step::StartTls, _) => return Ok(Talked::StartTls),
            (Step::Close(reason), _) => {
                end(client).await?;
                return Ok(Talked::Over(reason));
            }
            (Step::Pass, Some(upstream)) => {
                give(client, &std::mem::take(&mut sides.upstream.said)).await?;
                give(upstream, &std::mem::take(&mut sides.client.said)).await?;
                return Ok(Talked::Pass);
            }
            (Step::Read(Who::Client), _) => {
                (timeout(client_timeout, hear(client, &mut sides.client)).await, Who::Client)
            }
            (Step::Read(Who::Upstream), Some(upstream)) => {
                let hearing = hear(upstream, &mut sides.upstream);
                (timeout(GREETING_TIMEOUT, hearing).await, Who::Upstream)
            }
            (Step::ReadAny, Some(upstream)) => {
                let by_client = timeout(client_timeout, hear(client, &mut sides.client));
                let by_upstream = hear(upstream, &mut sides.upstream);
                tokio::select! {
                    heard = by_upstream => (Ok(heard), Who::Upstream),
                    heard = by_client => (heard, Who::Client),
                }
            }
            (Step::Read(Who::Upstream) | Step::ReadAny | Step::Pass, None) => {
                return Err(io::ErrorKind::NotConnected.into());
            }
        };
        let (words, error) = match heard {
            Ok(Ok(())) => continue,
            Ok(Err(error)) if whose == Who::Client => return Err(error),
            Ok(Err(error)) => ("the server has ended the connection", error),
            Err(_) => ("too slow", io::ErrorKind::TimedOut.into()),
        };
        return over(client, &conversation.farewell(words), error).await;
    }
}

/// Sends the farewell and closes. Errors are ignored, because the client may be gone.
async fn over(client: &mut impl End, words: &[u8], error: io::Error) -> io::Result<Talked> {
    let _ = give(client, words).await;
    let _ = end(client).await;
    Err(error)
}

/// Ends the direction towards a client.
pub(crate) async fn end(client: &mut impl End) -> io::Result<()> {
    std::future::poll_fn(|cx| client.poll_end(cx)).await
}

async fn tell(to: &mut impl End, side: &mut Side) -> io::Result<()> {
    if side.tell.is_empty() { Ok(()) } else { give(to, &std::mem::take(&mut side.tell)).await }
}

async fn hear(from: &mut impl End, side: &mut Side) -> io::Result<()> {
    if side.said.len() >= SAID_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too much for one command"));
    }
    match take(from, &mut side.said).await? {
        Taken::Bytes => Ok(()),
        Taken::End => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
