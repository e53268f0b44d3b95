//! Conversations as data: who says what, and what follows. Each is held in whole pieces and
//! byte by byte.

mod client;
mod hostile;
mod server;

use conclave_store::record::ListenerProtocol;

use super::{Conversation, Manners, Sides, Step, Who, with_client, with_server};

/// A turn of a conversation.
#[derive(Debug, Clone, Copy)]
enum Turn<'a> {
    /// The client says this.
    Client(&'a [u8]),
    /// The upstream says this.
    Upstream(&'a [u8]),
    /// The client has been told this since the last look.
    ToClient(&'a [u8]),
    /// The upstream has been told this since the last look.
    ToUpstream(&'a [u8]),
    /// More is awaited of the client.
    AwaitsClient,
    /// More is awaited of the upstream.
    AwaitsUpstream,
    /// TLS starts.
    StartTls,
    /// Bytes are passed on from here, with this left of the client and of the upstream.
    Pass(&'a [u8], &'a [u8]),
    /// It is over.
    Over,
}

use Turn::{
    AwaitsClient, AwaitsUpstream, Client, Over, Pass, StartTls, ToClient, ToUpstream, Upstream,
};

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Holds a conversation, saying at most `piece` bytes at once.
fn hold(conversation: &mut dyn Conversation, turns: &[Turn<'_>], piece: usize) {
    let mut sides = Sides::default();
    let mut step = conversation.step(&mut sides);
    for (at, turn) in turns.iter().enumerate() {
        let what = format!("turn {at} {turn:?}, pieces of {piece}");
        match turn {
            Client(bytes) => {
                for part in bytes.chunks(piece) {
                    sides.client.said.extend_from_slice(part);
                    step = conversation.step(&mut sides);
                }
            }
            Upstream(bytes) => {
                for part in bytes.chunks(piece) {
                    sides.upstream.said.extend_from_slice(part);
                    step = conversation.step(&mut sides);
                }
            }
            ToClient(expected) => {
                assert_eq!(
                    shown(&std::mem::take(&mut sides.client.tell)),
                    shown(expected),
                    "{what}"
                );
            }
            ToUpstream(expected) => {
                let told = std::mem::take(&mut sides.upstream.tell);
                assert_eq!(shown(&told), shown(expected), "{what}");
            }
            AwaitsClient => assert_eq!(step, Step::Read(Who::Client), "{what}"),
            AwaitsUpstream => assert_eq!(step, Step::Read(Who::Upstream), "{what}"),
            StartTls => {
                assert_eq!(step, Step::StartTls, "{what}");
                // The same conversation goes on under TLS, with a new upstream.
                sides.upstream.said.clear();
                step = conversation.step(&mut sides);
            }
            Pass(client, upstream) => {
                assert_eq!(step, Step::Pass, "{what}");
                assert_eq!(shown(&sides.client.said), shown(client), "{what}");
                assert_eq!(shown(&sides.upstream.said), shown(upstream), "{what}");
            }
            Over => assert!(matches!(step, Step::Close(_)), "{what}: {step:?}"),
        }
    }
    assert_eq!(shown(&sides.client.tell), "", "told the client, but not expected");
    assert_eq!(shown(&sides.upstream.tell), "", "told the upstream, but not expected");
}

fn manners(requires_tls: bool) -> Manners {
    Manners { host: "mx.example".to_owned(), requires_tls, stream_id: [7; 16] }
}

/// With a client where nothing but TLS is allowed.
fn required(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_client(protocol, manners(true)).unwrap().as_mut(), turns, piece);
    }
}

/// With a client that may go on without TLS.
fn optional(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_client(protocol, manners(false)).unwrap().as_mut(), turns, piece);
    }
}

/// With a client, in whole pieces: what comes in one read.
fn at_once(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for requires_tls in [true, false] {
        let conversation = with_client(protocol, manners(requires_tls));
        hold(conversation.unwrap().as_mut(), turns, usize::MAX);
    }
}

/// With a remote server.
fn outgoing(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_server(protocol, "mx.example").unwrap().as_mut(), turns, piece);
    }
}

/// With a remote server, in whole pieces.
fn outgoing_at_once(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    hold(with_server(protocol, "mx.example").unwrap().as_mut(), turns, usize::MAX);
}
