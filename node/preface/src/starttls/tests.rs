//! Conversations as data: the bytes of each side and the next step. Each runs in whole pieces and
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
    /// The client has been sent this since the last check.
    ToClient(&'a [u8]),
    /// The upstream has been sent this since the last check.
    ToUpstream(&'a [u8]),
    /// More bytes of the client are needed.
    AwaitsClient,
    /// More bytes of the upstream are needed.
    AwaitsUpstream,
    /// More bytes of either side are needed.
    AwaitsAny,
    /// TLS starts.
    StartTls,
    /// Forwarding starts, with these bytes of the client and of the upstream left over.
    Pass(&'a [u8], &'a [u8]),
    /// The connection closes.
    Over,
}

use Turn::{
    AwaitsAny, AwaitsClient, AwaitsUpstream, Client, Over, Pass, StartTls, ToClient, ToUpstream,
    Upstream,
};

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Runs a conversation, adding at most `piece` bytes per step.
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
            AwaitsAny => assert_eq!(step, Step::ReadAny, "{what}"),
            StartTls => {
                assert_eq!(step, Step::StartTls, "{what}");
                // The same conversation continues under TLS, with a new upstream.
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

/// Runs conversations with clients where TLS is required.
fn required(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_client(protocol, manners(true)).unwrap().as_mut(), turns, piece);
    }
}

/// Runs conversations with clients where TLS is optional.
fn optional(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_client(protocol, manners(false)).unwrap().as_mut(), turns, piece);
    }
}

/// Runs conversations with clients only in whole pieces, where one read brings everything.
fn at_once(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for requires_tls in [true, false] {
        let conversation = with_client(protocol, manners(requires_tls));
        hold(conversation.unwrap().as_mut(), turns, usize::MAX);
    }
}

/// Runs conversations with remote servers.
fn outgoing(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    for piece in [usize::MAX, 1] {
        hold(with_server(protocol, "mx.example").unwrap().as_mut(), turns, piece);
    }
}

/// Runs a conversation with a remote server only in whole pieces.
fn outgoing_at_once(protocol: ListenerProtocol, turns: &[Turn<'_>]) {
    hold(with_server(protocol, "mx.example").unwrap().as_mut(), turns, usize::MAX);
}
