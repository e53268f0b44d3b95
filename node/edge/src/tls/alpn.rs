//! Application protocols by their registered ids, so that a client that means another protocol
//! is turned away in the handshake (ALPACA: a server of one protocol must not answer for another).

use conclave_store::record::ListenerProtocol;

/// What a listener agrees on unless it says otherwise; empty where no id is registered or the
/// protocol behind is not known.
pub(super) fn of(protocol: ListenerProtocol) -> &'static [&'static [u8]] {
    match protocol {
        ListenerProtocol::Imap => &[b"imap"],
        ListenerProtocol::Pop3 => &[b"pop3"],
        ListenerProtocol::Sieve => &[b"managesieve"],
        ListenerProtocol::Ftp => &[b"ftp"],
        ListenerProtocol::XmppClient => &[b"xmpp-client"],
        ListenerProtocol::XmppServer => &[b"xmpp-server"],
        ListenerProtocol::Postgres => &[b"postgresql"],
        // Not registered, but the one word that mail servers use and no other protocol does.
        ListenerProtocol::Smtp => &[b"smtp"],
        ListenerProtocol::Ldap => &[b"ldap"],
        ListenerProtocol::Tls | ListenerProtocol::OutgoingTls | ListenerProtocol::Dtls => &[],
    }
}
