//! Principals: the authors of changes.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::id::{EmailAddress, Fingerprint, NodeId, TokenId, UserName};

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
    /// A user who has logged in (level 4).
    User {
        /// The user's name.
        name: UserName,
        /// The token that the login made.
        session: TokenId,
    },
    /// A client that has shown no valid token (level 4). It never changes anything.
    Stranger,
    /// A user who has shown a client certificate (level 4).
    UserByCertificate {
        /// The user's name.
        name: UserName,
        /// SHA-256 of the certificate.
        certificate: Fingerprint,
    },
    /// The owner of an account (level 5).
    Owner(EmailAddress),
}

/// Place from which a change was asked for (level 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node that was asked.
    pub node: NodeId,
    /// Address of the client; `None`: it used the admin socket.
    pub remote: Option<IpAddr>,
}

impl Origin {
    /// Returns the place at the node: an address, or `socket`.
    pub fn place(&self) -> String {
        self.remote.map_or_else(|| "socket".to_owned(), |remote| remote.to_string())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Socket { uid } => write!(out, "uid {uid}"),
            Principal::Token { name, .. } => write!(out, "token {name}"),
            Principal::Node(id) => write!(out, "node {id}"),
            Principal::Joiner(id) => write!(out, "join token {id}"),
            Principal::SealedSocket { uid, node } => write!(out, "uid {uid} at sealed node {node}"),
            Principal::User { name, .. } => write!(out, "user {name}"),
            Principal::UserByCertificate { name, certificate } => {
                let mut short = certificate.to_string();
                short.truncate(16);
                write!(out, "user {name} by certificate {short}")
            }
            Principal::Owner(address) => write!(out, "owner of {address}"),
            Principal::Stranger => write!(out, "not logged in"),
        }
    }
}
