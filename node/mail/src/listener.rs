//! Listener for senders: accepts, drains and ends. It has a thread of its own, so that encrypting
//! delays nothing else on the node.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    Certificates, Counters, Place, Settings,
    limits::{ACCEPT_PAUSE, CONNECTIONS_MAX},
    place::Listener,
    session::Session,
    shared::{Phase, Shared},
    wire::Wire,
};

/// Running proxy.
pub struct Mail {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    place: Place,
    handle: Handle,
    accepting: Option<JoinHandle<JoinSet<()>>>,
    sessions: JoinSet<()>,
    /// The thread ends when this is dropped.
    _running: oneshot::Sender<()>,
}

impl Mail {
    /// Opens the listener. `host` is the name in greetings. Fails if the place cannot be opened.
    pub fn open(
        host: &str,
        settings: Settings,
        certificates: Arc<dyn Certificates>,
        counters: Arc<Counters>,
    ) -> io::Result<Mail> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (listener, place) = {
            let _inside = handle.enter();
            let listener = settings.listen.listen()?;
            let place = listener.place(&settings.listen);
            (listener, place)
        };
        let (running, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("mail".to_owned()).spawn(move || {
            // The sender is only ever dropped.
            let _ = runtime.block_on(stopped);
        })?;
        let shared = Arc::new(Shared::new(host, settings, counters, certificates));
        let phase = watch::Sender::new(Phase::Serving);
        let accepting = handle.spawn(accept(listener, Arc::clone(&shared), phase.subscribe()));
        let (accepting, sessions) = (Some(accepting), JoinSet::new());
        Ok(Mail { shared, phase, place, handle, accepting, sessions, _running: running })
    }

    /// Returns where it listens; a port 0 has become a real one.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Follows whether the node drains: while it does, no further transactions are taken. Senders
    /// get 421, and try again later.
    pub fn follow(&self, mut drains: watch::Receiver<bool>) {
        let phase = self.phase.clone();
        self.handle.spawn(async move {
            loop {
                let is_draining = *drains.borrow_and_update();
                let next = if is_draining { Phase::Draining } else { Phase::Serving };
                phase.send_if_modified(|present| {
                    let is_other = *present != Phase::Closed && *present != next;
                    if is_other {
                        *present = next;
                    }
                    is_other
                });
                if drains.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Closes the listener and forgets the source of certificates. Transactions go on, without
    /// further recipients.
    pub async fn close(&mut self) {
        self.phase.send_replace(Phase::Closed);
        self.shared.forget_certificates();
        if let Some(accepting) = self.accepting.take()
            && let Ok(sessions) = accepting.await
        {
            self.sessions = sessions;
        }
    }

    /// Closes the proxy and waits for transactions to end. Cuts those that are left after
    /// `patience`: their messages are neither stored nor acknowledged. Returns their number.
    pub async fn finish(mut self, patience: Duration) -> usize {
        self.close().await;
        let ending = async { while self.sessions.join_next().await.is_some() {} };
        let _ = timeout(patience, ending).await;
        let cut = self.sessions.len();
        self.sessions.shutdown().await;
        cut
    }
}

/// Accepts until the proxy closes, and returns the connections.
async fn accept(
    listener: Listener,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
) -> JoinSet<()> {
    let (mut sessions, mut closing) = (JoinSet::new(), phase.clone());
    loop {
        tokio::select! {
            () = Phase::wait(&mut closing, |phase| phase == Phase::Closed) => return sessions,
            _ = sessions.join_next(), if !sessions.is_empty() => {}
            accepted = listener.accept(), if sessions.len() < CONNECTIONS_MAX => match accepted {
                Ok(stream) => {
                    let session = Session::new(Wire::new(stream), Arc::clone(&shared), phase.clone());
                    sessions.spawn(session.run());
                }
                Err(error) => {
                    tracing::warn!(event = "lmtp.accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}
