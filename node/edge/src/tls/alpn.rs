//! Default ALPN protocol ids per listener protocol. They make the handshake fail for a client that
//! means another protocol (ALPACA: a server of one protocol must not answer for another).

use conclave_store::record::ListenerProtocol;

/// Returns the default protocols of a listener. Empty if no id is registered, or if the upstream's
/// protocol is unknown.
pub(super) fn of(protocol: ListenerProtocol) -> &'static [&'static [u8]] {
    match protocol {
        ListenerProtocol::Imap => &[b"imap"],
        ListenerProtocol::Pop3 => &[b"pop3"],
        ListenerProtocol::Sieve => &[b"managesieve"],
        ListenerProtocol::Ftp => &[b"ftp"],
        ListenerProtocol::XmppClient => &[b"xmpp-client"],
        ListenerProtocol::XmppServer => &[b"xmpp-server"],
        ListenerProtocol::Postgres => &[b"postgresql"],
        // Not registered, but mail servers use this id and no other protocol does.
        ListenerProtocol::Smtp => &[b"smtp"],
        ListenerProtocol::Ldap => &[b"ldap"],
        ListenerProtocol::Tls | ListenerProtocol::OutgoingTls | ListenerProtocol::Dtls => &[],
    }
}
