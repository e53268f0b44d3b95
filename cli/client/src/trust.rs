//! Trust over HTTPS: the node's certificate must be issued by the cluster's authority, whose
//! fingerprint is in the access token, for the name or address that is asked. Owners of accounts ask
//! a domain, whose certificate must be one that the system trusts.

use std::sync::Arc;

use conclave_api::problem::{Code, Problem};
use conclave_tls::{ServerVerifier, issued_to, ring_provider};
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};

use crate::address::Identity;

/// What nodes speak.
static LATEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// Returns TLS settings with trust in the authority of this fingerprint and no other; without one in
/// those of the system, or of the file in `SSL_CERT_FILE`. The node must
/// have the name `node_name`, or else the host of the address. The client shows `identity`.
pub(crate) fn config(
    authority: Option<[u8; 32]>,
    node_name: Option<ServerName<'static>>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Error> {
    let issued = match authority {
        Some(authority) => issued_to(ring_provider(), authority),
        None => of_system()?,
    };
    let builder = ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(if authority.is_some() { &LATEST } else { rustls::ALL_VERSIONS })?
        .dangerous()
        .with_custom_certificate_verifier(match node_name {
            None => issued,
            Some(name) => for_name(issued, name),
        });
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key())
        }
    }
}

/// Trusts the authorities that the system trusts.
fn of_system() -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), ring_provider());
    let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
    Ok(verifier)
}

/// Compares with another name than the one that is asked for.
fn for_name(
    issued: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
) -> Arc<dyn ServerCertVerifier> {
    ServerVerifier::new(ring_provider(), move |end_entity, intermediates, _, now: UnixTime| {
        issued.verify_server_cert(end_entity, intermediates, &name, &[], now).map(drop)
    })
}

/// Returns why a node's certificate was refused; `None` if something else failed.
pub(crate) fn refusal(error: &reqwest::Error, address: &str, is_of_owner: bool) -> Option<Problem> {
    let Error::InvalidCertificate(why) = tls_error(error)? else { return None };
    let problem = |title: String| Problem::new(Code::NodeUntrusted, title);
    Some(match why {
        CertificateError::NotValidForNameContext { presented, .. } if is_of_owner => {
            problem(format!("{address} shows a certificate for other names"))
                .why(format!("its certificate is for {}", bare(presented)))
                .hint("ask it by one of these names    or: --node-name NAME")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } if is_of_owner => {
            problem(format!("the certificate of {address} has expired"))
                .hint("tell those who run your mail; or check the clock of this machine")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            problem(format!("{address} is not the node that is meant"))
                .why(format!("its certificate is for {}", bare(presented)))
                .hint("--node-name NAME if the node is reached by another name than its own; [admin] names in its configuration adds one    a sealed node: ask it at its socket")
        }
        CertificateError::UnknownIssuer if is_of_owner => {
            problem(format!("this machine does not trust the certificate of {address}"))
                .hint("SSL_CERT_FILE=ca.pem conclave …    with the authority of its domain")
        }
        CertificateError::UnknownIssuer => {
            problem(format!("{address} belongs to another cluster than the access token"))
                .hint("check the address; or make a new token on a member: conclave token create NAME --role ROLE")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            problem(format!("the certificate of {address} has expired"))
                .why("a node renews it by itself, unless it is sealed")
                .hint("check the clocks of this machine and of the node")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            problem(format!("the certificate of {address} is not valid yet"))
                .hint("check the clocks of this machine and of the node")
        }
        other => problem(format!("the certificate of {address} cannot be used"))
            .detail(Error::InvalidCertificate(other.clone()).to_string()),
    })
}

/// Returns names without the kind that is said with each, as in `DnsName("node-1")`.
fn bare(presented: &[String]) -> String {
    let inside = |name: &String| {
        let from = name.find('(').map_or(name.as_str(), |at| name.get(at + 1..).unwrap_or(name));
        from.trim_end_matches(')').trim_matches('"').to_owned()
    };
    presented.iter().map(inside).collect::<Vec<_>>().join(", ")
}

/// Finds the TLS error behind a failed request.
fn tls_error(error: &reqwest::Error) -> Option<&Error> {
    let mut found: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(tls) = found.downcast_ref::<Error>() {
            return Some(tls);
        }
        // Its source is that of the error inside, not the error itself.
        let inside = found.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        found = match inside {
            Some(inside) => inside,
            None => found.source()?,
        };
    }
}
