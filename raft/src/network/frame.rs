//! Frames on a stream: a length of four bytes and a message.

use std::io;

use quinn::{RecvStream, SendStream};

use crate::{
    limits::FRAME_BYTES_MAX,
    wire::{self, Message},
};

/// Sends a message.
pub(crate) async fn send<T: Message>(stream: &mut SendStream, message: &T) -> io::Result<()> {
    let bytes = wire::encode(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&bytes);
    stream.write_all(&frame).await.map_err(io::Error::other)
}

/// Receives a message; `None` at the end of the stream.
pub(crate) async fn receive<T: Message>(stream: &mut RecvStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(io::Error::other(error)),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > FRAME_BYTES_MAX + 64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(io::Error::other)?;
    Ok(Some(wire::decode(&bytes)?))
}

/// Receives the one message that must come.
pub(crate) async fn receive_one<T: Message>(stream: &mut RecvStream) -> io::Result<T> {
    receive(stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
