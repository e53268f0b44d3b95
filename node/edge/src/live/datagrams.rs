//! DTLS contexts of domains, made when first needed.

use std::sync::Arc;

use conclave_keys::Purpose;
use conclave_store::record::PkiMode;

use super::{
    Live, Wanted,
    index::{Index, Served},
    ready::{self, Choice, Prepared, Refusal},
};
use crate::tls::{
    ClientPolicy, Door,
    datagrams::{self, Shown},
};

/// All inputs of a DTLS handshake.
pub(crate) struct ReadyDatagrams {
    pub(crate) context: Arc<conclave_dtls::Context>,
    /// Rules for client certificates, if the domain asks for them.
    pub(crate) client: Option<Arc<ClientPolicy>>,
    /// Whether sessions can resume.
    pub(crate) resumes: bool,
}

impl Live {
    /// Chooses a domain and its DTLS context for clients of `door`.
    pub(crate) fn choose_datagrams(
        &self,
        wanted: Wanted<'_>,
        door: &Arc<Door>,
    ) -> Choice<ReadyDatagrams> {
        self.choose_with(wanted, |index, served, prepared| {
            let client = prepared.client_at(door)?;
            let make = || self.context(index, served, prepared, door, client.as_ref());
            Ok(ReadyDatagrams {
                context: prepared.contexts.find_or_make(door, make)?,
                client: client.clone(),
                resumes: prepared.sessions.as_ref().is_some_and(|one| one.ttl_s() > 0),
            })
        })
    }

    /// Makes a context. OpenSSL needs the private keys itself, so each key is opened once more for
    /// it.
    fn context(
        &self,
        index: &Index,
        served: &Served,
        prepared: &Prepared,
        door: &Door,
        client: Option<&Arc<ClientPolicy>>,
    ) -> Result<Arc<conclave_dtls::Context>, Refusal> {
        let Served { scope, domain } = served;
        let shown = match domain.mode {
            PkiMode::Disabled => return Err(Refusal::Disabled),
            PkiMode::Test => vec![self.shared.test.shown()],
            PkiMode::Enabled => ready::shows(index.state(*scope), domain)
                .filter(|(credential, _)| datagrams::can_show(&credential.key.algorithm))
                .map(|(credential, chain)| {
                    let purpose = Purpose::DomainKey(domain.id);
                    let key = self.shared.keyring.open(*scope, purpose, &credential.key.sealed);
                    let key = key.map_err(|error| Refusal::KeyUnavailable(error.to_string()))?;
                    Ok(Shown { chain, key })
                })
                .collect::<Result<Vec<_>, Refusal>>()?,
        };
        let sessions = prepared.sessions.as_ref();
        let made = datagrams::context(&index.policy, &shown, door, sessions, client);
        made.map(Arc::new).map_err(Refusal::Settings)
    }
}
