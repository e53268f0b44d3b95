//! Logins by client certificate: one issued by an authority of the cluster's set, for a name that a
//! user has.

use std::{net::IpAddr, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_pki::{
    certificate::Certificate,
    crl::Crl,
    verify::{Purpose, Request, Rules, verify},
};
use conclave_store::{
    id::Fingerprint,
    record::{CertificateLogin, Principal, RowKey, TrustSet},
    state::State,
};
use conclave_system::clock;
use rustls::pki_types::CertificateDer;

use super::user_of;
use crate::{
    node::Node,
    operate::Caller,
    rights::{Access, is_from_here},
};

/// Longest chain that is looked at.
const CHAIN_MAX: usize = 8;

/// The certificates that a client has shown in its handshake, its own first. It has the key of that
/// one; nothing else is known about them.
#[derive(Debug, Clone)]
pub(crate) struct PeerChain(pub(crate) Arc<[CertificateDer<'static>]>);

/// A certificate as a client shows it.
pub(super) struct ShownCertificate {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
    remote: Option<IpAddr>,
}

impl ShownCertificate {
    /// Reads what a client has shown; `None` if it cannot be read.
    pub(super) fn read(chain: &PeerChain, remote: Option<IpAddr>) -> Option<ShownCertificate> {
        let mut all = chain.0.iter().take(CHAIN_MAX).map(|der| Certificate::from_der(der));
        let leaf = all.next()?.ok()?;
        Some(ShownCertificate { leaf, intermediates: all.flatten().collect(), remote })
    }

    /// Returns the user who logs in with the certificate, by this State.
    pub(super) fn holder(&self, node: &Node, state: &State) -> Result<Option<Caller>, Problem> {
        let names = self.leaf.client_names();
        let is_named = |login: &&CertificateLogin| names.contains(&login.name);
        for (_, user) in state.users() {
            let Some(login) = user
                .certificates
                .iter()
                .filter(is_named)
                .find(|login| self.is_by(login.issuer, state))
            else {
                continue;
            };
            // A user that no holder of the keyring has made is none.
            let Some((name, user)) = user_of(node, state, user.id) else { continue };
            if !is_from_here(&user.grant, self.remote) {
                let title = "this user may not log in from the network of the request";
                return Err(Problem::new(Code::NotAllowed, title));
            }
            let rows =
                [RowKey::User(name.clone()), RowKey::Trusted((TrustSet::System, login.issuer))];
            let certificate = Fingerprint::of(self.leaf.der());
            return Ok(Some(Caller {
                principal: Principal::UserByCertificate { name: name.clone(), certificate },
                access: Access::of(&user.grant),
                remote: self.remote,
                expects: rows.map(|row| state.expectation(row)).to_vec(),
            }));
        }
        Ok(None)
    }

    /// Returns whether a valid path leads to this authority of the cluster's set, and none of the
    /// set's lists revokes the certificate.
    fn is_by(&self, issuer: Fingerprint, state: &State) -> bool {
        let set = TrustSet::System;
        let anchor = state.trusted(&set).find(|(id, _)| *id == issuer);
        let anchor = anchor.and_then(|(_, one)| Certificate::from_der(&one.der).ok());
        let Some(anchor) = anchor else { return false };
        let crls: Vec<Crl> =
            state.crls(&set).filter_map(|(_, one)| Crl::from_der(&one.der).ok()).collect();
        let request = Request {
            certificate: &self.leaf,
            intermediates: &self.intermediates,
            anchors: std::slice::from_ref(&anchor),
            crls: &crls,
            is_list_required: false,
            purpose: Purpose::Client,
            name: None,
            at: clock::now().0 / 1_000,
            rules: Rules::Path,
            depth: None,
        };
        match verify(&request) {
            Ok(_) => true,
            Err(refused) => {
                let why = refused.to_string();
                tracing::info!(event = "login.certificate_refused", why);
                false
            }
        }
    }
}
