//! Certificate signing requests, made with the domain's key. They are not stored.

use conclave_api::{certificate::SelfSign, csr::Csr, problem::Problem};
use conclave_pki::csr;

use super::{
    View, certificate::subject, credential, domain_name, key::opened_key, pending_key, problem,
};

/// Makes a request for the domain's key, or for the one that waits beside it.
pub fn create_csr(
    view: &View<'_>,
    name: &str,
    asked: &SelfSign,
    is_pending: bool,
) -> Result<Csr, Problem> {
    let name = domain_name(name)?;
    let (domain, _) = view.domain(&name)?;
    let key = match is_pending {
        true => pending_key::opened(view, domain, pending_key::only(view, domain)?)?,
        false => opened_key(view, domain, &credential(domain, view.family)?.key)?,
    };
    let (attributes, names) = subject(domain, asked)?;
    let pem = csr::request(&key, &attributes, &names).map_err(|error| problem::issue(&error))?;
    let algorithm = key.algorithm().to_string();
    Ok(Csr { common_name: attributes.common_name, names, algorithm, pem })
}
