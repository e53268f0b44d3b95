//! The new process, as the running node sees it.

use std::{io, os::unix::net::UnixStream, time::Duration};

use conclave_cluster::node::TakeOverRequest;
use conclave_edge::socket::Edge;

use super::line::{self, DATAGRAMS, RELEASED, SERVING, STOP};
use crate::boot::limits::STEP_TIMEOUT;

/// The process that serves next.
pub(crate) struct Successor {
    stream: UnixStream,
    deadline: Duration,
}

impl Successor {
    /// Sends the listening sockets to the new process, and waits until it wants this node to stop.
    /// Until then nothing has changed.
    pub(crate) async fn meet(asked: TakeOverRequest, edge: &Edge) -> io::Result<Successor> {
        let TakeOverRequest { stream, deadline } = asked;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STEP_TIMEOUT))?;
        let sockets = edge.passed_sockets()?;
        let meeting = tokio::task::spawn_blocking(move || {
            line::send_sockets(&stream, &sockets)?;
            line::expect(&stream, STOP, Some(STEP_TIMEOUT))?;
            Ok(Successor { stream, deadline })
        });
        meeting.await.map_err(io::Error::other)?
    }

    /// Returns the time for the connections of this process to end.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Tells it that data directory and ports are free, and waits until it serves. An error means
    /// that it will not. Reading old data takes long, so there is no time limit; if the process
    /// ends, its socket does.
    pub(crate) async fn wait_serving(&self) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        let waiting = tokio::task::spawn_blocking(move || {
            line::say(&stream, RELEASED)?;
            line::expect(&stream, SERVING, None)
        });
        waiting.await.map_err(io::Error::other)?
    }

    /// Tells it that this process no longer reads datagrams.
    pub(crate) fn give_datagrams(&self) -> io::Result<()> {
        line::say(&self.stream, DATAGRAMS)
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Ends a wait in another thread, too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
