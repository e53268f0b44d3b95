//! Addresses of nodes for other nodes.

use std::net::SocketAddr;

use super::limits::ADDRESS_BYTES_MAX;

/// An address of a node for other nodes: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAddress(String);

/// Error of an address that no node can be reached at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// The address is too long.
    #[error("an address of {0} bytes is longer than {ADDRESS_BYTES_MAX}")]
    TooLong(usize),
    /// The address has another form.
    #[error("{0:?} is not HOST:PORT")]
    Form(String),
    /// The address is no node's.
    #[error("{0} is no address at which a node can be reached")]
    Unspecified(SocketAddr),
}

impl NodeAddress {
    /// Parses an address.
    pub(crate) fn parse(text: &str) -> Result<NodeAddress, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let is_usable = !address.ip().is_unspecified() && address.port() != 0;
            return match is_usable {
                true => Ok(NodeAddress(text.to_owned())),
                false => Err(AddressError::Unspecified(address)),
            };
        }
        let form = || AddressError::Form(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
        let is_host = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        if is_host && is_port { Ok(NodeAddress(text.to_owned())) } else { Err(form()) }
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_are_an_address() {
        let long = format!("{}.example:7444", "a".repeat(250));
        for (text, is_one) in [
            ("192.0.2.1:7444", true),
            ("[2001:db8::1]:7444", true),
            ("node-1.example:7444", true),
            ("node_1:7444", true),
            ("node-1.example", false),
            ("node-1.example:0", false),
            ("node-1.example:70000", false),
            (":7444", false),
            ("0.0.0.0:7444", false),
            ("[::]:7444", false),
            ("192.0.2.1:0", false),
            ("2001:db8::1:7444", false),
            ("a b:7444", false),
            ("a\n:7444", false),
            (&long, false),
        ] {
            assert_eq!(NodeAddress::parse(text).is_ok(), is_one, "{text}");
        }
    }
}
