//! Rules of path validation that are broken.

/// What kind of rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Not within its dates.
    Dates,
    /// Not for this name.
    Name,
    /// Nothing leads to a trusted certificate.
    NoPath,
    /// A rule of RFC 5280.
    Rule,
    /// A signature is wrong, or made in a way that is not accepted.
    Signature,
    /// Revoked.
    Revoked,
    /// A revocation list cannot be used.
    Crl,
    /// Too much work: no honest chain needs so much.
    TooMuch,
}

impl Reason {
    /// Stable code.
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

/// A broken rule, before it is known whose.
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
