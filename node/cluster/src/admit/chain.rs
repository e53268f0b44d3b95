//! Admission of CA chains.

use conclave_api::{
    chain::Set,
    problem::{Code, Problem},
};
use conclave_pki::{
    certificate::Certificate,
    chain::{ChainError, check, read_chain},
    judge::{Finding, Severity, judge_chain},
};
use conclave_store::{
    command::Action,
    limits::CHAIN_CERTIFICATES_MAX,
    record::{Credential, Domain},
};
use serde_bytes::ByteBuf;

use super::{Admitted, View, credential, domain_name, problem};
use crate::trusted;

/// Options for the check of a chain.
#[derive(Clone, Copy)]
pub(super) struct Linking {
    /// Put the chain in order, and leave out what has no place in it.
    pub(super) sort: bool,
    /// Take a chain that clients will refuse.
    pub(super) allow_broken: bool,
}

/// Sets the chain of a domain by itself.
pub fn set_chain(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let mut chain = read_chain(asked.chain.as_bytes())
        .map_err(|error| problem::certificate("chain", &error))?;
    let credential = certified_by(view, domain, &chain)?;
    let leaf = leaf(credential);
    let mut warnings = Vec::new();
    // A file for a web server has the domain's certificate first. It is no part of the chain.
    let given = chain.len();
    chain.retain(|one| one.public_key_der() != credential.key.public_key_der);
    if chain.len() < given {
        warnings.push(format!("the certificate of {name} in the file is not part of the chain"));
    }
    let linking = Linking { sort: asked.sort, allow_broken: asked.allow_broken_chain };
    let (chain, found) = linked(view, domain, leaf.as_ref(), chain, linking)?;
    warnings.extend(found);
    let chain = chain.iter().map(|certificate| ByteBuf::from(certificate.der())).collect();
    let action = Action::SetChain(name.clone(), credential.key.family, chain);
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

fn leaf(credential: &Credential) -> Option<Certificate> {
    Certificate::from_der(&credential.certificate.as_ref()?.der).ok()
}

/// Returns the credential of a chain: the one of the selected family, otherwise the one whose
/// certificate was issued by a certificate of the chain.
fn certified_by<'d>(
    view: &View<'_>,
    domain: &'d Domain,
    chain: &[Certificate],
) -> Result<&'d Credential, Problem> {
    let certified = |credential: &&Credential| {
        let leaf = leaf(credential);
        leaf.is_some_and(|leaf| chain.iter().any(|one| leaf.is_issued_by(one)))
    };
    let mut found = domain.credentials.iter().filter(certified);
    match (view.family, found.next(), found.next()) {
        (None, Some(only), None) => Ok(only),
        _ => credential(domain, view.family),
    }
}

/// Checks a chain as clients will. With `sort` puts it in order first. Returns the chain and
/// warnings; a fault is a warning if a broken chain is allowed.
pub(super) fn linked(
    view: &View<'_>,
    domain: &Domain,
    leaf: Option<&Certificate>,
    chain: Vec<Certificate>,
    linking: Linking,
) -> Result<(Vec<Certificate>, Vec<String>), Problem> {
    let now = view.now.0 / 1_000;
    let (chain, mut warnings) = match linking.sort {
        true => in_order(leaf, chain, now),
        false => (chain, Vec::new()),
    };
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        let title = format!("a chain of {} certificates is too long", chain.len());
        return Err(Problem::new(Code::ChainTooLong, title)
            .detail(format!("{CHAIN_CERTIFICATES_MAX} are possible")));
    }
    let findings = match leaf {
        Some(leaf) => {
            trusted::judge(view.scope, view.state, domain, leaf, &chain, view.now).0.findings
        }
        None => judge_chain(&chain, now),
    };
    for finding in findings {
        match finding.severity() {
            // A path may break a rule by which only some clients judge, so such a chain is taken.
            Severity::Error if !matches!(finding, Finding::Rule { .. }) => {
                if !linking.allow_broken {
                    return Err(problem::finding(&finding));
                }
                warnings.push(format!("the CA chain is broken: {finding}"));
            }
            _ if matches!(finding, Finding::PrivateRoot { .. }) => {}
            _ => {
                let hint = finding.hint().map(|hint| format!(": {hint}"));
                warnings.push(format!("{finding}{}", hint.unwrap_or_default()));
            }
        }
    }
    Ok((chain, warnings))
}

/// Puts a chain in order, as it is at `at` (seconds since 1970). Returns it with warnings about
/// what is left out.
pub fn in_order(
    leaf: Option<&Certificate>,
    chain: Vec<Certificate>,
    at: u64,
) -> (Vec<Certificate>, Vec<String>) {
    match check(leaf, &chain, at) {
        Err(error) => sorted(chain, &error),
        Ok(()) => (chain, Vec::new()),
    }
}

/// Puts a chain in order. Leaves out what has no place in it, with a warning.
fn sorted(chain: Vec<Certificate>, error: &ChainError) -> (Vec<Certificate>, Vec<String>) {
    let (should, strays) = match error {
        ChainError::Order { should } => (should, None),
        ChainError::LinkMissing { should, strays, .. } | ChainError::Stray { should, strays } => {
            (should, Some(strays))
        }
        _ => return (chain, Vec::new()),
    };
    let warnings = strays
        .map(|strays| format!("left out: {}, which issued none of the others", strays.join(", ")));
    let sorted = should.iter().filter_map(|place| chain.get(*place).cloned()).collect();
    (sorted, warnings.into_iter().collect())
}

/// Removes the chain of a domain.
pub fn remove_chain(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = credential(domain, view.family)?.key.family;
    Ok(Admitted::new(Action::RemoveChain(name.clone(), family), name).expecting(expectation))
}
