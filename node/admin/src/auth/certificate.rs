//! Logins by client certificate: one issued by an authority of the cluster's set, for a name that a
//! user has.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_cluster::{
    node::Node,
    operate::Caller,
    rights::{Access, is_from_here},
};
use conclave_pki::{
    certificate::Certificate,
    crl::{Crl, may_speak_of},
    verify::{Path, Purpose, Request, Rules, verify},
};
use conclave_store::{
    id::Fingerprint,
    record::{CertificateLogin, Principal, RowKey, TrustSet},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use rustls::pki_types::CertificateDer;

use super::user_of;

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

    /// Returns the user who logs in with the certificate, by this State. A certificate for several
    /// users is for none of them: nobody could tell which one is meant.
    pub(super) fn holder(&self, node: &Node, state: &State) -> Result<Option<Caller>, Problem> {
        let names = self.leaf.client_names();
        let is_named = |login: &&CertificateLogin| names.contains(&login.name);
        let mut found = state.users().filter_map(|(_, user)| {
            let mut logins = user.certificates.iter().filter(is_named);
            let (login, path) =
                logins.find_map(|login| Some((login, self.path(login.issuer, state)?)))?;
            // A user that no holder of the keyring has made is none.
            let (name, user) = user_of(node, state, user.id)?;
            Some((name, user, login, path))
        });
        let (Some((name, user, login, path)), None) = (found.next(), found.next()) else {
            return Ok(None);
        };
        if !is_from_here(&user.grant, self.remote) {
            let title = "this user may not log in from the network of the request";
            return Err(Problem::new(Code::NotAllowed, title));
        }
        let set = TrustSet::System;
        let rows = [RowKey::User(name.clone()), RowKey::Trusted((set.clone(), login.issuer))];
        // A list that revokes the certificate may come, or another one in its place.
        let found = state.crls(&set).filter(|(_, one)| path.speaks_of(&one.der));
        let own = path.0.iter().filter_map(|one| one.issuer_der());
        let issuers = found.map(|(issuer, _)| issuer).chain(own.map(|der| Fingerprint::of(&der)));
        let issuers: BTreeSet<Fingerprint> = issuers.collect();
        let lists = issuers.into_iter().flat_map(|issuer| {
            [RowKey::Crl((set.clone(), issuer)), RowKey::LongCrl((set.clone(), issuer))]
        });
        let certificate = Fingerprint::of(self.leaf.der());
        let ends =
            path.0.iter().map(|one| one.not_after()).min().map(|end| end.saturating_mul(1_000));
        Ok(Some(Caller {
            principal: Principal::UserByCertificate { name: name.clone(), certificate },
            access: Access::of(&user.grant),
            remote: self.remote,
            expects: rows.into_iter().chain(lists).map(|row| state.expectation(row)).collect(),
            ends: ends.map(UnixMillis),
        }))
    }

    /// Returns the valid path to this authority of the cluster's set, if there is one and none of
    /// the set's lists revokes a certificate of it.
    fn path(&self, issuer: Fingerprint, state: &State) -> Option<ShownPath<'_>> {
        let set = TrustSet::System;
        let anchor = state.trusted(&set).find(|(id, _)| *id == issuer);
        let anchor = Certificate::from_der(&anchor?.1.der).ok()?;
        // First without lists: strangers must not have them read.
        self.verified(&anchor, &[])?;
        let all = ShownPath(std::iter::once(&self.leaf).chain(&self.intermediates).collect());
        let lists = state.crls(&set).filter(|(_, one)| all.speaks_of(&one.der));
        // One that cannot be read could be the one that revokes the certificate.
        let lists: Option<Vec<Crl>> = lists.map(|(_, one)| Crl::from_der(&one.der).ok()).collect();
        let path = self.verified(&anchor, &lists?)?;
        let used = path.intermediates.iter().filter_map(|place| self.intermediates.get(*place));
        Some(ShownPath(std::iter::once(&self.leaf).chain(used).collect()))
    }

    fn verified(&self, anchor: &Certificate, crls: &[Crl]) -> Option<Path> {
        let judged = verify(&Request {
            certificate: &self.leaf,
            intermediates: &self.intermediates,
            anchors: std::slice::from_ref(anchor),
            crls,
            is_list_required: false,
            purpose: Purpose::Client,
            name: None,
            at: clock::now().0 / 1_000,
            rules: Rules::Path,
            depth: None,
        });
        // A stranger can ask often: the line of the refusal itself is bounded.
        judged
            .inspect_err(|refused| {
                tracing::debug!(event = "login.certificate_refused", why = %refused);
            })
            .ok()
    }
}

/// The certificates of a path without its anchor.
struct ShownPath<'a>(Vec<&'a Certificate>);

impl ShownPath<'_> {
    /// Returns whether a list, DER, may be about one of them.
    fn speaks_of(&self, list: &[u8]) -> bool {
        self.0.iter().any(|one| may_speak_of(list, one))
    }
}
