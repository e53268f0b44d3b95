//! What connections say in the clear, before TLS: functions of bytes, without sockets.
//!
//! The edge uses them inside; here they stand for commands that speak as a node does, and for
//! fuzzing.
//!
//! ```
//! use conclave_node::clear::{ListenerProtocol, Sides, Step, Who, with_server};
//!
//! let mut conversation = with_server(ListenerProtocol::Smtp, "client.example").unwrap();
//! let mut sides = Sides::default();
//! assert_eq!(conversation.step(&mut sides), Step::Read(Who::Upstream));
//! sides.upstream.said.extend_from_slice(b"220 mail.example ESMTP\r\n");
//! assert_eq!(conversation.step(&mut sides), Step::Read(Who::Upstream));
//! assert_eq!(sides.upstream.tell, b"EHLO client.example\r\n");
//! ```

pub use conclave_store::record::ListenerProtocol;

pub use crate::edge::{
    limits::{PROXY_HEADER_BYTES_MAX, SAID_BYTES_MAX},
    proxy_protocol::{Ends, Header, HeaderError, parse as parse_proxy_header},
    starttls::{Conversation, Manners, Reason, Side, Sides, Step, Who, with_client, with_server},
};
