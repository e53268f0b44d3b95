//! Protocols before TLS: STARTTLS conversations and PROXY headers.
//!
//! Pure functions and state machines over bytes: no sockets, no clock, no randomness. The edge does
//! the I/O. The command line and the fuzz targets use the same code without a node.
//!
//! ```
//! use conclave_preface::starttls::{ListenerProtocol, Sides, Step, Who, with_server};
//!
//! let mut conversation = with_server(ListenerProtocol::Smtp, "client.example").unwrap();
//! let mut sides = Sides::default();
//! assert_eq!(conversation.step(&mut sides), Step::Read(Who::Upstream));
//! sides.upstream.said.extend_from_slice(b"220 mail.example ESMTP\r\n");
//! assert_eq!(conversation.step(&mut sides), Step::Read(Who::Upstream));
//! assert_eq!(sides.upstream.tell, b"EHLO client.example\r\n");
//! ```

pub mod limits;
pub mod proxy_protocol;
pub mod starttls;
