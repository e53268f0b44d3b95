//! Connections that did not come to their end as they should, counted by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tls::WrongReason;
use rustls::{Error, PeerIncompatible, PeerMisbehaved};

/// Reasons beside those of [`WrongReason`]; the last takes what has no word.
const WORDS: [&str; 23] = [
    "unknown_name",
    "disabled",
    "incomplete",
    "key_unavailable",
    "settings",
    "not_tls",
    "version",
    "nothing_in_common",
    "application_protocol",
    "client_certificate_missing",
    "client_alert",
    "timeout",
    "proxy_header",
    "too_many",
    "too_many_from_address",
    "displaced",
    "upstream",
    "starttls_injected",
    "starttls_refused",
    "starttls_failed",
    "outgoing",
    "closed",
    "other",
];

/// Counters of failures since the start.
#[derive(Default)]
pub(crate) struct Failures {
    counts: [AtomicU64; WORDS.len() + WrongReason::ALL.len()],
}

impl Failures {
    pub(crate) fn count(&self, reason: &str) {
        let other = WORDS.len() - 1;
        let place = words().position(|word| word == reason).unwrap_or(other);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason with its count.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        words().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

fn words() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().chain(WrongReason::ALL.into_iter().map(WrongReason::word))
}

/// The reason for which a handshake of DTLS failed, as a word and in words.
pub(super) fn datagram_reason(reason: &conclave_dtls::Reason) -> (&'static str, String) {
    use conclave_dtls::Reason;
    let word = match reason {
        Reason::ClientCertificate(refused) => refused.reason,
        Reason::Silence => "timeout",
        Reason::Peer | Reason::Node => "closed",
        Reason::Protocol(words) => protocol_word(words),
        _ => "other",
    };
    (word, reason.to_string())
}

/// By the words of the engine, which is built with the node.
fn protocol_word(words: &str) -> &'static str {
    const KNOWN: [(&str, &str); 6] = [
        ("peer did not return a certificate", "client_certificate_missing"),
        ("no shared cipher", "nothing_in_common"),
        ("no suitable", "nothing_in_common"),
        ("unsupported protocol", "version"),
        ("no application protocol", "application_protocol"),
        ("alert", "client_alert"),
    ];
    let found = KNOWN.iter().find(|(part, _)| words.contains(part));
    found.map_or("other", |(_, word)| word)
}

/// The reason for which rustls, or the connection below it, ended a handshake.
pub(super) fn reason(error: &std::io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return "closed";
    };
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "version",
        Error::PeerIncompatible(_) => "nothing_in_common",
        Error::NoApplicationProtocol => "application_protocol",
        Error::NoCertificatesPresented => "client_certificate_missing",
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            "application_protocol"
        }
        Error::AlertReceived(_) => "client_alert",
        _ => "other",
    }
}
