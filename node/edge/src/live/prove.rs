//! Proofs: a handshake inside the process checks that this node shows what State requires.

use std::sync::{Arc, atomic::Ordering};

use conclave_store::{
    id::{DomainName, Fingerprint, ListenerName},
    record::{ListenerPolicy, PkiMode},
    scope::Scope,
    state::State,
};
use conclave_tls::{any_certificate, provider};
use rustls::{
    ClientConfig, ClientConnection, Error, ServerConnection,
    pki_types::{CertificateDer, ServerName},
};

use super::{
    Live, Refusal, Wanted,
    index::{Index, Served},
    limits::ROUNDS_MAX,
    ready,
};
use crate::tls::{self, CertifiedKeys, Door};

impl Live {
    /// Returns whether a proof needs a handshake. A handshake is too much work for the caller's
    /// thread.
    pub(super) fn needs_handshake(&self, scope: Scope, name: &DomainName) -> bool {
        let index = self.shared.index.load();
        index.domain(scope, name).is_some_and(|served| match served.domain.mode {
            PkiMode::Disabled => false,
            PkiMode::Test => !self.shared.test_proved.load(Ordering::Acquire),
            PkiMode::Enabled => {
                let proved = self.opened(&served).ok().and_then(|opened| opened.proved.load_full());
                let shown = digest(&expected(index.state(scope), &served));
                proved.is_none_or(|proved| *proved != shown)
            }
        })
    }

    /// Proves that the name leads to the domain, and that a handshake shows the chain in State or
    /// is refused if State requires that. The error says what is wrong. Keys and chains that were
    /// shown once are not shown again until one of them changes.
    pub(super) fn prove(&self, scope: Scope, name: &DomainName) -> Result<(), String> {
        let index = self.shared.index.load_full();
        let Some(served) = index.domain(scope, name) else { return Ok(()) };
        let wanted = Wanted { stream_to: Some(name.as_str()), ..Wanted::default() };
        let chosen = index.find(wanted, &self.shared.main_domain);
        // A shared domain takes precedence over a local one of the same name.
        let is_found =
            |(one, _): (Served, _)| Arc::ptr_eq(&one.domain, &served.domain) || one.scope < scope;
        if !chosen.is_some_and(is_found) {
            return Err("its name leads to another domain".to_owned());
        }
        let expected = match served.domain.mode {
            PkiMode::Disabled => Vec::new(),
            PkiMode::Test => chains(&self.shared.test.certified_keys()),
            PkiMode::Enabled => expected(index.state(scope), &served),
        };
        let keys = match (self.prepared(&index, &served), expected.is_empty()) {
            (Ok(prepared), false) => Arc::clone(&prepared.shown),
            (Err(Refusal::Disabled | Refusal::Incomplete), true) => return Ok(()),
            (Err(refusal), _) => return Err(format!("{refusal:?}")),
            (Ok(_), true) => return Err("it is served, but should be refused".to_owned()),
        };
        if chains(&keys) != expected {
            return Err("it would show other certificates".to_owned());
        }
        if served.domain.mode == PkiMode::Test {
            if !self.shared.test_proved.load(Ordering::Acquire) {
                show_each(&index, &keys, name)?;
                self.shared.test_proved.store(true, Ordering::Release);
            }
            return Ok(());
        }
        let opened = self.opened(&served).map_err(|refusal| format!("{refusal:?}"))?;
        let shown = digest(&expected);
        if opened.proved.load().as_deref() != Some(&shown) {
            show_each(&index, &keys, name)?;
            opened.proved.store(Some(Arc::new(shown)));
        }
        Ok(())
    }
}

/// Performs one handshake for each key.
fn show_each(index: &Index, keys: &CertifiedKeys, name: &DomainName) -> Result<(), String> {
    let door = ListenerName::parse("proof").map_err(|error| error.to_string())?;
    let door = Door { name: door, alpn: Vec::new(), policy: ListenerPolicy::default() };
    for key in keys.iter() {
        let one = CertifiedKeys::new(vec![Arc::clone(key)]);
        let server = tls::config(&index.policy, one, &door, None, None)
            .map_err(|error| error.to_string())?;
        let shown = handshake(server, name).map_err(|error| error.to_string())?;
        if shown != key.cert {
            return Err("a handshake shows another certificate".to_owned());
        }
    }
    Ok(())
}

fn expected(state: &State, served: &Served) -> Vec<Vec<CertificateDer<'static>>> {
    ready::shows(state, &served.domain).map(|(_, certificates)| certificates).collect()
}

fn digest(chains: &[Vec<CertificateDer<'static>>]) -> Fingerprint {
    let mut all = Vec::new();
    for der in chains.iter().flatten() {
        all.extend_from_slice(&Fingerprint::of(der).0);
    }
    Fingerprint::of(&all)
}

fn chains(keys: &CertifiedKeys) -> Vec<Vec<CertificateDer<'static>>> {
    keys.iter().map(|key| key.cert.clone()).collect()
}

fn handshake(
    server: Arc<rustls::ServerConfig>,
    name: &DomainName,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(provider()))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_string())
        .map_err(|_| Error::General("not a server name".to_owned()))?;
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..ROUNDS_MAX {
        if !client.is_handshaking() && !server.is_handshaking() {
            break;
        }
        let mut bytes = Vec::new();
        let io = |error: std::io::Error| Error::General(error.to_string());
        client.write_tls(&mut bytes).map_err(io)?;
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            // rustls reads at most one record per call.
            server.read_tls(&mut input).map_err(io)?;
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).map_err(io)?;
        }
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            client.read_tls(&mut input).map_err(io)?;
            client.process_new_packets()?;
        }
    }
    if client.is_handshaking() {
        return Err(Error::General("the handshake does not end".to_owned()));
    }
    Ok(client.peer_certificates().unwrap_or_default().to_vec())
}
