//! Broken rules of path validation.

/// Kind of a broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The certificate is outside its validity.
    Dates,
    /// The certificate is not for this name.
    Name,
    /// No path leads to a trusted certificate.
    NoPath,
    /// A rule of RFC 5280.
    Rule,
    /// A signature is wrong, or its algorithm or key is not accepted.
    Signature,
    /// The certificate is revoked.
    Revoked,
    /// A revocation list cannot be used.
    Crl,
    /// The work budget is exhausted; an honest chain never needs as much.
    TooMuch,
}

impl Reason {
    /// Returns the stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Dates => "C005",
            Reason::Name => "C006",
            Reason::NoPath => "H005",
            Reason::Rule => "H006",
            Reason::Signature => "H007",
            Reason::Revoked => "C009",
            Reason::Crl => "H008",
            Reason::TooMuch => "H009",
        }
    }
}

/// A broken rule, before the certificate at fault is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    pub(crate) source: &'static str,
}

impl Broken {
    pub(crate) fn new(reason: Reason, source: &'static str, detail: impl Into<String>) -> Broken {
        Broken { reason, detail: detail.into(), source }
    }

    pub(crate) fn rule(source: &'static str, detail: impl Into<String>) -> Broken {
        Broken::new(Reason::Rule, source, detail)
    }
}
