//! Admission of CA chains.

use conclave_api::{
    chain::Set,
    problem::{Code, Problem},
};
use conclave_pki::{
    certificate::Certificate,
    chain::{ChainError, check, read_chain},
};
use conclave_store::{
    command::Action,
    limits::CHAIN_CERTIFICATES_MAX,
    record::{Credential, Domain},
    time::UnixMillis,
};
use serde_bytes::ByteBuf;

use super::{Admitted, View, credential, domain_name, problem};

pub(crate) fn set_chain(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let chain = read_chain(asked.chain.as_bytes())
        .map_err(|error| problem::certificate("chain", &error))?;
    let credential = certified_by(view, domain, &chain)?;
    let leaf = leaf(credential);
    let (chain, warnings) =
        linked(leaf.as_ref(), chain, asked.sort, asked.allow_broken_chain, view.now)?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        let title = format!("a chain of {} certificates is too long", chain.len());
        return Err(Problem::new(Code::ChainTooLong, title)
            .detail(format!("{CHAIN_CERTIFICATES_MAX} are possible")));
    }
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

/// Checks the order and the links of a chain. With `sort` puts it in order. If a broken chain is
/// allowed, returns it unchanged with a warning.
pub(super) fn linked(
    leaf: Option<&Certificate>,
    chain: Vec<Certificate>,
    sort: bool,
    is_broken_allowed: bool,
    now: UnixMillis,
) -> Result<(Vec<Certificate>, Vec<String>), Problem> {
    let mut warnings: Vec<String> = chain
        .iter()
        .filter(|one| one.not_after() < now.0 / 1_000)
        .map(|one| format!("{} in the CA chain has expired", one.subject()))
        .collect();
    match check(leaf, &chain) {
        Ok(()) => Ok((chain, warnings)),
        Err(ChainError::Order { should }) if sort => {
            let sorted = should.iter().filter_map(|place| chain.get(*place).cloned()).collect();
            Ok((sorted, warnings))
        }
        Err(error) if is_broken_allowed => {
            warnings.push(format!("the CA chain is broken: {error}"));
            Ok((chain, warnings))
        }
        Err(error) => Err(problem::chain(&error)),
    }
}

pub(crate) fn remove_chain(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = credential(domain, view.family)?.key.family;
    Ok(Admitted::new(Action::RemoveChain(name.clone(), family), name).expecting(expectation))
}
