//! Connections as lines and pieces, each with its bound and deadline.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::timeout,
};

use crate::limits::{BLOCK_TIMEOUT, PIECE_BYTES};

/// Connection of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reason why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The peer closed it.
    #[error("the peer has gone")]
    Gone,
    /// The peer neither sent nor took anything for too long.
    #[error("the peer is too slow")]
    Slow,
    /// A line has no end within its bound.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    /// The peer does not speak LMTP.
    #[error("a reply is malformed")]
    Malformed,
    /// The connection fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Connection to a sender or to the mailbox server.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Wire {
        Wire { stream: BufReader::with_capacity(PIECE_BYTES, stream) }
    }

    /// Reads a line of at most `bytes_max` and returns it without its end. Only CRLF is an end
    /// (RFC 5321 §2.3.8).
    pub(crate) async fn line(
        &mut self,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<u8>, WireError> {
        let reading = async {
            let mut line = Vec::new();
            loop {
                let bytes = self.stream.fill_buf().await?;
                let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                let used = end.unwrap_or(bytes.len());
                line.extend_from_slice(bytes.get(..used).unwrap_or_default());
                self.stream.consume(used);
                match end {
                    _ if used == 0 => return Err(WireError::Gone),
                    _ if line.len() > bytes_max => return Err(WireError::TooLong(bytes_max)),
                    Some(_) if line.ends_with(b"\r\n") => break,
                    _ => {}
                }
            }
            line.truncate(line.len() - 2);
            Ok(line)
        };
        timeout(patience, reading).await.unwrap_or(Err(WireError::Slow))
    }

    /// Returns the next bytes, at most [`PIECE_BYTES`]. They stay until [`Wire::consume`].
    pub(crate) async fn piece(&mut self) -> Result<&[u8], WireError> {
        match timeout(BLOCK_TIMEOUT, self.stream.fill_buf()).await {
            Ok(Ok([])) => Err(WireError::Gone),
            Ok(bytes) => Ok(bytes?),
            Err(_) => Err(WireError::Slow),
        }
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.stream.consume(bytes);
    }

    /// Writes bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let stream = self.stream.get_mut();
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        timeout(BLOCK_TIMEOUT, writing).await.map_err(|_| WireError::Slow)?.map_err(WireError::Io)
    }
}
