//! Renewal of this node's certificates, and of the one that its admin API shows.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use conclave_api::problem::Problem;
use conclave_pki::{
    certificate::Certificate,
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_raft::Certificates;
use conclave_store::state::State;
use conclave_system::{clock, entropy};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;

use crate::{
    authority::{ADMIN_DAYS, Authority, NODE_DAYS, earlier_der, node_host_name},
    fault::internal,
    membership::Membership,
    node::{AdminTls, Node},
    replica::Replica,
};

/// How often the certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same until the admin API has a first one.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the addresses of this host are looked at.
const NAMES_EVERY: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 60 * 60;

/// The certificates of a running member.
pub(super) struct Renewal {
    node: Node,
    replica: Replica,
    membership: Membership,
    /// What the network shows.
    shown: Option<Certificates>,
    /// What the admin API shows, and which earlier authorities it goes with.
    admin: Option<(Certificate, Vec<Vec<u8>>)>,
    names: (Instant, Vec<String>),
    is_failing: bool,
}

impl Renewal {
    pub(super) fn new(node: Node, replica: Replica, membership: Membership) -> Renewal {
        let names = (Instant::now(), names(&node, &replica));
        let (shown, admin, is_failing) = (None, None, false);
        Renewal { node, replica, membership, shown, admin, names, is_failing }
    }

    /// Renews what is due. Runs until dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.look();
            let is_open = self.node.keyring().sealed_reason().is_none();
            let is_first = self.admin.is_none() && is_open;
            tokio::time::sleep(if is_first { FIRST_LOOK_EVERY } else { LOOK_EVERY }).await;
        }
    }

    /// Renews what is due. A sealed node cannot, and goes on with what it has.
    pub(super) fn look(&mut self) {
        let state = self.replica.point().state.clone();
        if state.cluster().is_none() {
            return;
        }
        if self.names.0.elapsed() >= NAMES_EVERY {
            self.names = (Instant::now(), names(&self.node, &self.replica));
        }
        let renewed = self.renew(&state).and_then(|()| self.show(&state));
        match renewed {
            Ok(()) => self.is_failing = false,
            Err(problem) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(event = "certificate.not_renewed", %problem);
            }
            Err(_) => {}
        }
    }

    fn renew(&mut self, state: &State) -> Result<(), Problem> {
        let authority_der = state.cluster().map(|cluster| cluster.authority_der.clone());
        let is_by_present = authority_der.as_ref() == Some(&self.membership.authority_der);
        let own = Certificate::from_der(&self.membership.certificate_der).ok();
        let is_node_due = !is_by_present || own.is_none_or(|own| is_due(&own, NODE_DAYS));
        let earlier = earlier_der(state);
        let is_admin_due = !self.admin.as_ref().is_some_and(|(admin, before)| {
            let has_all = self.names.1.iter().all(|name| admin.covers(name));
            is_by_present && has_all && *before == earlier && !is_due(admin, ADMIN_DAYS)
        });
        let keyring = self.node.keyring();
        // A member that has just joined gets its first generation with State.
        let has_current = keyring.current() == state.cluster().map(|cluster| cluster.generation);
        if keyring.sealed_reason().is_some() || !has_current || !(is_node_due || is_admin_due) {
            return Ok(());
        }
        let authority = Authority::open(self.node.keyring(), state)?;
        if is_node_due {
            self.certify_node(&authority)?;
        }
        if is_admin_due {
            self.certify_admin(&authority, earlier)?;
        }
        Ok(())
    }

    fn certify_node(&mut self, authority: &Authority) -> Result<(), Problem> {
        let certificate = authority
            .certify_node(self.replica.id(), self.node.keys().identity_public())
            .map_err(|error| internal("a certificate for this node", error))?;
        let (own, issuer) = (certificate.der(), authority.certificate.der());
        self.membership.certificate_der = own.to_vec();
        self.membership.authority_der = issuer.to_vec();
        // If they cannot be kept, the next start makes others. What this task remembers besides is
        // from its start, when the founding may have been unfinished.
        if let Err(error) = Membership::note_certificates(self.node.data_dir(), own, issuer) {
            tracing::warn!(event = "certificate.not_kept", %error);
        }
        let not_after = certificate.not_after();
        tracing::info!(event = "certificate.renewed", not_after);
        Ok(())
    }

    fn certify_admin(
        &mut self,
        authority: &Authority,
        earlier: Vec<Vec<u8>>,
    ) -> Result<(), Problem> {
        let failed = "a certificate for the admin API";
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill)
            .map_err(|error| internal(failed, error))?;
        let certificate = authority
            .certify_server(key.public_key_der(), &self.names.1)
            .map_err(|error| internal(failed, error))?;
        let own = [certificate.der().to_vec(), authority.certificate.der().to_vec()];
        let chain = own.into_iter().chain(earlier.clone()).map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec()));
        let tls = AdminTls::new(chain, key).map_err(|error| internal(failed, error))?;
        self.node.set_admin_tls(tls);
        self.admin = Some((certificate, earlier));
        Ok(())
    }

    /// Shows other members what this node has now.
    fn show(&mut self, state: &State) -> Result<(), Problem> {
        let present = Certificates {
            certificate_der: self.membership.certificate_der.clone(),
            authority_der: self.membership.authority_der.clone(),
            earlier_der: earlier_der(state),
        };
        if self.shown.as_ref() == Some(&present) {
            return Ok(());
        }
        let renewed = self.replica.raft().renew(present.clone());
        renewed.map_err(|error| internal("cannot show the certificate of this node", error))?;
        self.shown = Some(present);
        Ok(())
    }
}

/// Returns whether a certificate has less than a third of its life left, or was made for a longer
/// one, as earlier versions did.
fn is_due(certificate: &Certificate, days: u64) -> bool {
    let left = certificate.not_after().saturating_sub(clock::now().0 / 1000);
    left < days * DAY / 3 || left > (days + 1) * DAY
}

/// Returns the names and addresses by which clients may reach the admin API of this node.
fn names(node: &Node, replica: &Replica) -> Vec<String> {
    let config = node.config();
    let mut found = vec![config.name.to_string(), node_host_name(replica.id())];
    found.extend(config.admin_names.iter().cloned());
    let advertised = node.advertised().ok();
    let host = advertised.as_deref().and_then(|text| text.rsplit_once(':')).map(|(host, _)| host);
    found.extend(host.map(|host| host.trim_matches(['[', ']']).to_owned()));
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    match config.admin_bind.map(|bind| bind.ip()) {
        Some(ip) if ip.is_unspecified() => {
            let all = if_addrs::get_if_addrs().unwrap_or_default();
            addresses.extend(all.iter().map(if_addrs::Interface::ip));
        }
        Some(ip) => addresses.extend([ip]),
        None => {}
    }
    if addresses.iter().any(IpAddr::is_loopback) {
        found.push("localhost".to_owned());
    }
    found.extend(addresses.into_iter().map(|address| address.to_string()));
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        found.push(host.trim().to_owned());
    }
    let mut seen = BTreeSet::new();
    found.retain(|name| conclave_pki::issue::is_name(name) && seen.insert(name.to_lowercase()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::validity;
    use conclave_pki::issue;

    #[test]
    fn a_certificate_is_due_in_its_last_third_and_if_it_is_for_years() {
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill).unwrap();
        let left = |days: u64| issue::authority(&key, "any", [1; 16], validity(days)).unwrap();
        for (days, expected) in [(90, false), (31, false), (29, true), (0, true), (7_320, true)] {
            assert_eq!(is_due(&left(days), NODE_DAYS), expected, "{days} days left");
        }
    }
}
