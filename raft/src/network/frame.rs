//! Framing of messages on a stream: a length of four bytes, big-endian, then the message.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::transport::{Receiver, Sender};
use crate::{
    limits::FRAME_BYTES_MAX,
    wire::{self, Message},
};

/// Upper bound of a frame's bytes besides what it carries.
const HEAD_BYTES: usize = 64;

/// Sends a message.
pub(crate) async fn send<T: Message>(stream: &mut Sender, message: &T) -> io::Result<()> {
    let bytes = wire::encode(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&bytes);
    stream.write_all(&frame).await
}

/// Ends the sending direction: the peer reads the end of the stream.
pub(crate) async fn finish(stream: &mut Sender) {
    // An error means that the stream has already ended, which is just as good.
    let _ = stream.shutdown().await;
}

/// Receives a message; `None` at the end of the stream.
pub(crate) async fn receive<T: Message>(stream: &mut Receiver) -> io::Result<Option<T>> {
    receive_at_most(stream, FRAME_BYTES_MAX).await
}

/// Receives one message of a peer that has proved nothing yet. Its length is checked before memory
/// is set aside for it.
pub(crate) async fn receive_short<T: Message>(
    stream: &mut Receiver,
    bytes_max: usize,
) -> io::Result<T> {
    receive_at_most(stream, bytes_max).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn receive_at_most<T: Message>(
    stream: &mut Receiver,
    bytes_max: usize,
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let read = stream.read(&mut length).await?;
    if read == 0 {
        return Ok(None);
    }
    if let Some(rest) = length.get_mut(read..) {
        stream.read_exact(rest).await?;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > bytes_max.saturating_add(HEAD_BYTES) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(wire::decode(&bytes)?))
}

/// Receives one message. The end of the stream is an error.
pub(crate) async fn receive_one<T: Message>(stream: &mut Receiver) -> io::Result<T> {
    receive(stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
