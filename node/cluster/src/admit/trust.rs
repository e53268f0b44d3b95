//! Admission of trusted certificates and revocation lists.

use conclave_api::{
    problem::{Code, Problem},
    trust::{Add, Remove},
};
use conclave_pki::crl::{Crl, read_trusted};
use conclave_store::{
    command::{Action, AddCrlPart, AddLongCrl, AddTrusted},
    id::{DomainName, Fingerprint},
    limits::{CRL_BYTES_MAX, CRL_PARTS_MAX},
    record::{self, LongCrl, RowKey, TrustSet},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use serde_bytes::ByteBuf;

use super::{Admitted, View, certificate::dropped_trust, domain_name, problem};

/// A set of trusted certificates, by its name in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustScope {
    /// The certificates built into the program.
    Builtin,
    /// The set of this node.
    Server,
    /// The set of the cluster.
    Cluster,
    /// The set of one domain.
    Domain(DomainName),
}

impl TrustScope {
    /// Reads the name of a set.
    pub fn parse(text: &str) -> Result<TrustScope, Problem> {
        match text {
            "builtin" => Ok(TrustScope::Builtin),
            "server" => Ok(TrustScope::Server),
            "cluster" => Ok(TrustScope::Cluster),
            other => match other.strip_prefix("domain:") {
                Some(name) => domain_name(name).map(TrustScope::Domain),
                None => Err(Problem::new(
                    Code::NotATrustSet,
                    format!("{other:?} is no set of trusted certificates"),
                )
                .hint("--scope builtin, server, cluster or domain:NAME")),
            },
        }
    }

    /// Returns the owner of the set in State; none: the set of the scope.
    fn owner(&self) -> Result<Option<DomainName>, Problem> {
        match self {
            TrustScope::Builtin => {
                Err(Problem::new(Code::NotATrustSet, "the built-in set cannot change")
                    .why("it comes with the program")
                    .hint("conclave trust add --scope cluster FILE"))
            }
            TrustScope::Server | TrustScope::Cluster => Ok(None),
            TrustScope::Domain(name) => Ok(Some(name.clone())),
        }
    }
}

/// Adds certificates and revocation lists to a set.
pub fn add_trusted(view: &View<'_>, scope: &TrustScope, asked: &Add) -> Result<Admitted, Problem> {
    let owner = scope.owner()?;
    let (found, crls) = read_trusted(asked.certificates.as_bytes())
        .map_err(|error| problem::certificate("certificates", &error))?;
    for one in &found {
        if !one.is_authority() && one.subject() != one.issuer() {
            let title = format!("{} is no authority", one.subject());
            return Err(Problem::new(Code::NotAnAuthority, title)
                .why("it may not issue certificates, and did not sign itself")
                .hint("give the certificate of its issuer"));
        }
    }
    let expired = found
        .iter()
        .filter(|one| one.not_after().saturating_mul(1_000) < view.now.0)
        .map(|one| format!("{} has expired and makes nothing valid", one.subject()));
    let old = crls.iter().filter_map(|crl| crl_warning(crl, view.now));
    let warnings = expired.chain(old).chain(dropped_trust(&found)).collect();
    if let Some(long) = crls.iter().find(|crl| crl.der().len() > CRL_BYTES_MAX) {
        if crls.len() + found.len() > 1 {
            let title = format!("the revocation list of {} is long", long.issuer());
            return Err(Problem::new(Code::LimitReached, title)
                .why(format!(
                    "a list of more than {} KiB is a change of its own",
                    CRL_BYTES_MAX >> 10
                ))
                .hint("give it in a file without others"));
        }
        return long_crl(view, owner, long).map(|admitted| admitted.warning(warnings));
    }
    let certificates = found.iter().map(|one| ByteBuf::from(one.der())).collect();
    let crls = crls
        .iter()
        .map(|crl| {
            let (issuer, this_update) = usable_crl(crl, view.now)?;
            Ok((issuer, record::Crl { der: ByteBuf::from(crl.der()), this_update }))
        })
        .collect::<Result<_, Problem>>()?;
    let add = Box::new(AddTrusted { certificates, crls });
    admitted(view, owner.clone(), Action::AddTrusted(owner, add))
        .map(|admitted| admitted.warning(warnings))
}

/// Admits a revocation list that does not fit into one command, in parts.
fn long_crl(view: &View<'_>, owner: Option<DomainName>, crl: &Crl) -> Result<Admitted, Problem> {
    let (issuer, this_update) = usable_crl(crl, view.now)?;
    let parts: Vec<&[u8]> = crl.der().chunks(CRL_BYTES_MAX).collect();
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    if count > CRL_PARTS_MAX {
        let title = format!("the revocation list of {} has {count} parts", crl.issuer());
        let max = CRL_PARTS_MAX.saturating_mul(60) / 1024;
        return Err(Problem::new(Code::LimitReached, title)
            .detail(format!("lists of up to {max} MiB are possible"))
            .hint("have the authority issue lists for parts of its certificates"));
    }
    let list = Fingerprint::of(crl.der());
    let part = |(number, der): (u32, &&[u8])| {
        let part = AddCrlPart { list, number, der: ByteBuf::from(*der) };
        Action::AddCrlPart(owner.clone(), Box::new(part))
    };
    let parts = (0..).zip(&parts).map(part).collect();
    let long = LongCrl { list, parts: count, this_update };
    let action = Action::AddLongCrl(owner.clone(), Box::new(AddLongCrl { issuer, crl: long }));
    admitted(view, owner, action).map(|admitted| Admitted { parts, ..admitted })
}

/// Returns the hash of a revocation list's issuer, and when it was issued. Refuses lists with which
/// no certificate of the issuer would be valid: deltas, and lists that are not valid yet.
fn usable_crl(crl: &Crl, now: UnixMillis) -> Result<(Fingerprint, UnixMillis), Problem> {
    let issuer = crl.issuer();
    if crl.is_delta() {
        return Err(Problem::new(
            Code::RevocationListUnusable,
            format!("the revocation list of {issuer} is a delta"),
        )
        .why("it only says what has changed since another list (RFC 5280 §5.2.4)")
        .hint("give the whole list"));
    }
    let this_update = UnixMillis(crl.this_update().saturating_mul(1_000));
    if this_update > now {
        let at = clock::rfc3339(this_update);
        let title = format!("the revocation list of {issuer} is not valid before {at}");
        return Err(Problem::new(Code::RevocationListUnusable, title)
            .detail(format!("this node's clock says {}", clock::rfc3339(now)))
            .hint("if the clock is wrong, set it"));
    }
    let name = crl.issuer_der().map_err(|error| problem::certificate("certificates", &error))?;
    Ok((Fingerprint::of(&name), this_update))
}

/// Warns about an expired list or a list without an expiry: with it no certificate of its issuer is
/// valid.
fn crl_warning(crl: &Crl, now: UnixMillis) -> Option<String> {
    let issuer = crl.issuer();
    match crl.next_update() {
        None => Some(format!(
            "the revocation list of {issuer} does not say when the next one comes: nothing of \
             its issuer is valid with it (RFC 5280 §5.1.2.5)"
        )),
        Some(next) if next.saturating_mul(1_000) < now.0 => Some(format!(
            "the revocation list of {issuer} has expired: nothing of its issuer is valid until \
             there is a newer one"
        )),
        Some(_) => None,
    }
}

/// Removes a certificate or a revocation list from a set.
pub fn remove_trusted(
    view: &View<'_>,
    scope: &TrustScope,
    asked: &Remove,
) -> Result<Admitted, Problem> {
    let owner = scope.owner()?;
    let set = match &owner {
        Some(name) => TrustSet::Domain(view.domain(name)?.0.id),
        None => TrustSet::System,
    };
    let fingerprints = asked
        .fingerprints
        .iter()
        .filter(|text| !view.is_if_exists || matching(view.state, &set, text).next().is_some())
        .map(|text| resolve(view.state, &set, text))
        .collect::<Result<Vec<_>, _>>()?;
    if fingerprints.is_empty() {
        return Ok(match owner {
            Some(name) => Admitted::same_domain(name),
            None => Admitted::nothing("trusted certificates", trust_rows(view.state, &set)),
        });
    }
    admitted(view, owner.clone(), Action::RemoveTrusted(owner, fingerprints))
}

/// Completes the admission. Adding and removing entries do not conflict with other changes, so the
/// command expects the domain's version only if the caller gave one.
fn admitted(
    view: &View<'_>,
    owner: Option<DomainName>,
    action: Action,
) -> Result<Admitted, Problem> {
    let Some(name) = owner else { return Ok(Admitted::new(action, "trusted certificates")) };
    let (_, expectation) = view.domain(&name)?;
    let admitted = Admitted::new(action, name);
    Ok(if view.if_version.is_some() { admitted.expecting(expectation) } else { admitted })
}

/// Returns the rows of a set of trusted certificates.
pub(crate) fn trust_rows(state: &State, set: &TrustSet) -> Vec<RowKey> {
    let certificates = state.trusted(set).map(|(one, _)| RowKey::Trusted((set.clone(), one)));
    certificates.chain(state.crl_keys(set)).collect()
}

/// Returns the certificates and revocation lists of the set whose fingerprints begin with `text`.
fn matching<'s>(
    state: &'s State,
    set: &TrustSet,
    text: &str,
) -> impl Iterator<Item = Fingerprint> + use<'s> {
    let wanted = text.replace(':', "").to_ascii_lowercase();
    let lists = state.crl_keys(set).filter_map(|key| match key {
        RowKey::Crl((_, issuer)) | RowKey::LongCrl((_, issuer)) => Some(issuer),
        _ => None,
    });
    let all = state.trusted(set).map(|(fingerprint, _)| fingerprint).chain(lists);
    all.filter(move |fingerprint| fingerprint.to_string().starts_with(&wanted))
}

/// Finds the only certificate or revocation list of the set whose fingerprint begins with `text`.
fn resolve(state: &State, set: &TrustSet, text: &str) -> Result<Fingerprint, Problem> {
    let digits = text.replace(':', "").len();
    let mut found = matching(state, set, text);
    match (found.next(), found.next()) {
        (Some(one), None) if digits >= 4 => Ok(one),
        (Some(_), _) => Err(Problem::new(Code::Malformed, format!("{text:?} is not clear"))
            .hint("give more digits of the fingerprint")),
        _ => Err(Problem::new(
            Code::TrustedCertificateUnknown,
            format!("no certificate {text:?} stands in this set itself"),
        )
        .why("inherited certificates are removed where they stand")
        .hint("conclave trust list")),
    }
}
