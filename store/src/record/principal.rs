//! Principals: the authors of changes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, TokenId};

/// Author of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// A process with access to a node's admin socket.
    Socket {
        /// Its user id on that node.
        uid: u32,
    },
    /// The holder of an access token.
    Token {
        /// The token.
        id: TokenId,
        /// The token's name when it was used.
        name: String,
    },
    /// A node, acting on its own.
    Node(NodeId),
    /// A joining node, identified by its join token.
    Joiner(TokenId),
    /// A process with access to the admin socket of a sealed node, which cannot prove more than its
    /// identity (level 3).
    SealedSocket {
        /// Its user id on that node.
        uid: u32,
        /// The sealed node.
        node: NodeId,
    },
}

impl fmt::Display for Principal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Socket { uid } => write!(out, "uid {uid}"),
            Principal::Token { name, .. } => write!(out, "token {name}"),
            Principal::Node(id) => write!(out, "node {id}"),
            Principal::Joiner(id) => write!(out, "join token {id}"),
            Principal::SealedSocket { uid, node } => write!(out, "uid {uid} at sealed node {node}"),
        }
    }
}
