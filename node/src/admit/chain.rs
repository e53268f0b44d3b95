//! CA chains.

use conclave_api::{
    chain::Set,
    problem::{Code, Problem},
};
use conclave_pki::chain::read_chain;
use conclave_store::{command::Action, limits::CHAIN_CERTIFICATES_MAX};
use serde_bytes::ByteBuf;

use super::{Admitted, View, domain_name, problem};

pub(crate) fn set_chain(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (_, expectation) = view.domain(&name)?;
    let chain = read_chain(asked.chain.as_bytes())
        .map_err(|error| problem::certificate("chain", &asked.chain, &error))?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        let title = format!("a chain of {} certificates is too long", chain.len());
        return Err(Problem::new(Code::H004, title)
            .detail(format!("{CHAIN_CERTIFICATES_MAX} are possible")));
    }
    let chain = chain.iter().map(|certificate| ByteBuf::from(certificate.der())).collect();
    Ok(Admitted::new(Action::SetChain(name.clone(), chain), name).expecting(expectation))
}

pub(crate) fn remove_chain(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (_, expectation) = view.domain(&name)?;
    Ok(Admitted::new(Action::RemoveChain(name.clone()), name).expecting(expectation))
}
