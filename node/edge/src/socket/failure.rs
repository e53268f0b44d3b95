//! Counters of failed connections by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Full;
use crate::{live::Refusal, tls::WrongReason};
use rustls::{Error, PeerIncompatible, PeerMisbehaved};

/// Why a connection was refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No domain has the name, and there is no Main Domain.
    UnknownName,
    /// PKI services of the domain are disabled.
    Disabled,
    /// The domain has no key or no certificate.
    Incomplete,
    /// The listener requires client certificates, and the domain asks for none.
    AsksForNone,
    /// The domain's key does not open on this node.
    KeyUnavailable,
    /// The TLS settings leave nothing to speak.
    Settings,
    /// The first bytes are not TLS.
    NotTls,
    /// No common version.
    Version,
    /// No common cipher suite, group or signature scheme.
    NothingInCommon,
    /// No common application protocol.
    ApplicationProtocol,
    /// A required client certificate was not presented.
    ClientCertificateMissing,
    /// The client ended the handshake by an alert.
    ClientAlert,
    /// The handshake took too long.
    Timeout,
    /// The PROXY header is missing or malformed.
    ProxyHeader,
    /// No place is free on the node.
    TooMany,
    /// No place is free for the address.
    TooManyFromAddress,
    /// A later connection took the place.
    Displaced,
    /// No upstream could be reached.
    Upstream,
    /// Plaintext followed the start of TLS.
    StartTlsInjected,
    /// The conversation before TLS was refused.
    StartTlsRefused,
    /// The conversation before TLS broke off.
    StartTlsFailed,
    /// Outgoing TLS failed.
    Outgoing,
    /// The connection was closed.
    Closed,
    /// Anything else.
    Other,
    /// A client certificate is not acceptable.
    ClientCertificate(WrongReason),
}

impl Failure {
    /// Failures besides those of client certificates, in the order of their counters.
    const OTHERS: [Failure; 24] = [
        Failure::UnknownName,
        Failure::Disabled,
        Failure::Incomplete,
        Failure::AsksForNone,
        Failure::KeyUnavailable,
        Failure::Settings,
        Failure::NotTls,
        Failure::Version,
        Failure::NothingInCommon,
        Failure::ApplicationProtocol,
        Failure::ClientCertificateMissing,
        Failure::ClientAlert,
        Failure::Timeout,
        Failure::ProxyHeader,
        Failure::TooMany,
        Failure::TooManyFromAddress,
        Failure::Displaced,
        Failure::Upstream,
        Failure::StartTlsInjected,
        Failure::StartTlsRefused,
        Failure::StartTlsFailed,
        Failure::Outgoing,
        Failure::Closed,
        Failure::Other,
    ];

    /// Returns one word for logs and counters.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Failure::UnknownName => "unknown_name",
            Failure::Disabled => "disabled",
            Failure::Incomplete => "incomplete",
            Failure::AsksForNone => "asks_for_no_client_certificate",
            Failure::KeyUnavailable => "key_unavailable",
            Failure::Settings => "settings",
            Failure::NotTls => "not_tls",
            Failure::Version => "version",
            Failure::NothingInCommon => "nothing_in_common",
            Failure::ApplicationProtocol => "application_protocol",
            Failure::ClientCertificateMissing => "client_certificate_missing",
            Failure::ClientAlert => "client_alert",
            Failure::Timeout => "timeout",
            Failure::ProxyHeader => "proxy_header",
            Failure::TooMany => "too_many",
            Failure::TooManyFromAddress => "too_many_from_address",
            Failure::Displaced => "displaced",
            Failure::Upstream => "upstream",
            Failure::StartTlsInjected => "starttls_injected",
            Failure::StartTlsRefused => "starttls_refused",
            Failure::StartTlsFailed => "starttls_failed",
            Failure::Outgoing => "outgoing",
            Failure::Closed => "closed",
            Failure::Other => "other",
            Failure::ClientCertificate(wrong) => wrong.word(),
        }
    }

    /// Returns why rustls, or the connection below it, ended a handshake.
    pub(crate) fn of(error: &std::io::Error) -> Failure {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Failure::Closed;
        };
        match error {
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Failure::Version,
            Error::PeerIncompatible(_) => Failure::NothingInCommon,
            Error::NoApplicationProtocol => Failure::ApplicationProtocol,
            Error::NoCertificatesPresented => Failure::ClientCertificateMissing,
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                Failure::ApplicationProtocol
            }
            Error::AlertReceived(_) => Failure::ClientAlert,
            _ => Failure::Other,
        }
    }

    /// Returns the failure of a word that the DTLS engine passed through.
    pub(crate) fn of_word(word: &str) -> Failure {
        Failure::all().find(|failure| failure.word() == word).unwrap_or(Failure::Other)
    }

    /// Returns the words of all failures, in the order of their counters.
    pub(crate) fn words() -> impl Iterator<Item = &'static str> {
        Failure::all().map(Failure::word)
    }

    fn all() -> impl Iterator<Item = Failure> {
        let certificates = WrongReason::ALL.into_iter().map(Failure::ClientCertificate);
        Failure::OTHERS.into_iter().chain(certificates)
    }
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Failure {
        match refusal {
            Refusal::Unknown => Failure::UnknownName,
            Refusal::Disabled => Failure::Disabled,
            Refusal::Incomplete => Failure::Incomplete,
            Refusal::AsksForNone => Failure::AsksForNone,
            Refusal::KeyUnavailable(_) => Failure::KeyUnavailable,
            Refusal::Settings(_) => Failure::Settings,
        }
    }
}

impl From<Full> for Failure {
    fn from(full: Full) -> Failure {
        match full {
            Full::Node => Failure::TooMany,
            Full::Address => Failure::TooManyFromAddress,
        }
    }
}

/// Failure counters since the start.
#[derive(Default)]
pub(crate) struct Failures {
    counts: [AtomicU64; Failure::OTHERS.len() + WrongReason::ALL.len()],
}

impl Failures {
    pub(crate) fn count(&self, failure: impl Into<Failure>) {
        let failure = failure.into();
        let mut counts = Failure::all().zip(&self.counts);
        if let Some((_, count)) = counts.find(|(one, _)| *one == failure) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the word of each failure with its count.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Failure::words().zip(counts)
    }
}

/// Returns why a DTLS handshake failed: the reason for the counter and an explanation.
pub(super) fn datagram_reason(reason: &conclave_dtls::Reason) -> (Failure, String) {
    use conclave_dtls::Reason;
    let failure = match reason {
        Reason::ClientCertificate(refused) => Failure::of_word(refused.reason),
        Reason::Silence => Failure::Timeout,
        Reason::Peer | Reason::Node => Failure::Closed,
        Reason::Protocol(words) => protocol_failure(words),
        _ => Failure::Other,
    };
    (failure, reason.to_string())
}

/// Maps OpenSSL's error text to a reason. The text is stable, because OpenSSL is built with the
/// node.
fn protocol_failure(words: &str) -> Failure {
    const KNOWN: [(&str, Failure); 6] = [
        ("peer did not return a certificate", Failure::ClientCertificateMissing),
        ("no shared cipher", Failure::NothingInCommon),
        ("no suitable", Failure::NothingInCommon),
        ("unsupported protocol", Failure::Version),
        ("no application protocol", Failure::ApplicationProtocol),
        ("alert", Failure::ClientAlert),
    ];
    let found = KNOWN.iter().find(|(part, _)| words.contains(part));
    found.map_or(Failure::Other, |(_, failure)| *failure)
}
