//! The signals that end a node.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT. Received from its creation on, also between two lives of a node.
pub(super) struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    pub(super) fn new() -> StopSignals {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        match signals {
            (Ok(terminate), Ok(interrupt)) => StopSignals(Some((terminate, interrupt))),
            _ => StopSignals(None),
        }
    }

    /// Waits for a signal, and returns its name.
    pub(super) async fn wait(&mut self) -> &'static str {
        let Some((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}
