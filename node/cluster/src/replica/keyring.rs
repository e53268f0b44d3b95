//! Upkeep of the keyring by the leader: proofs, secrets sealed anew under the current generation,
//! and the end of old generations.

use std::time::Duration;

use conclave_keys::{Claim, GenerationKey, Purpose, purposes_of_account};
use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command, Reseal, Resealed},
    id::Generation,
    limits::COMMAND_BYTES_MAX,
    outcome::Outcome,
    record::{Proof, ProofOf, Record, RowKey, Sealed},
    scope::Scope,
    state::State,
    wire,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::{Replica, Wait, session_keys};

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest time to order one command.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the secrets in one command: room for keys of rows and everything else.
const BATCH_BYTES_MAX: usize = COMMAND_BYTES_MAX / 2;
/// Rows in one command.
const BATCH_ROWS_MAX: usize = 128;
/// Proofs in one command.
const BATCH_PROOFS_MAX: usize = 512;

impl Replica {
    /// While this node leads and holds the keyring, brings all secrets and proofs to the current
    /// generation, and then removes the earlier ones. Runs until dropped.
    pub(crate) async fn keep_keyring(self) {
        let mut is_told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let is_leader = self.shared.raft.status().role == Role::Leader;
            let current = self.shared.keyring.current();
            let (true, true, Some(current)) = (is_leader, self.has_proofs(), current) else {
                continue;
            };
            let state = self.point().state.clone();
            if state.cluster().map(|cluster| cluster.generation) != Some(current) {
                continue;
            }
            let action = match self.next_upkeep(&state, current) {
                Ok(Some(action)) => action,
                Ok(None) => continue,
                Err(error) => {
                    if is_told != Some(current) {
                        is_told = Some(current);
                        tracing::error!(event = "keyring.not_resealed", %error);
                    }
                    continue;
                }
            };
            self.upkeep(action, current).await;
        }
    }

    /// Orders upkeep until nothing is left or something fails.
    async fn upkeep(&self, first: Action, current: Generation) {
        let mut next = Some(first);
        while let Some(action) = next.take() {
            let is_end = matches!(action, Action::DropGenerations(_));
            let command = Command::by_node(self.shared.id, entropy::array(), clock::now(), action);
            let Ok(bytes) = wire::encode_command(&command) else { return };
            let deadline = Instant::now() + ORDER_TIMEOUT;
            let Ok(executed) = self.execute_here(bytes, Wait::Committed, deadline).await else {
                return;
            };
            if let Outcome::Rejected(rejection) = &executed.outcome {
                tracing::debug!(event = "keyring.not_kept", %rejection);
                return;
            }
            if is_end {
                tracing::info!(event = "keyring.only_generation", generation = %current);
                return;
            }
            self.wait_applied(executed.index.0, ORDER_TIMEOUT).await;
            next = self.next_upkeep(&self.point().state.clone(), current).ok().flatten();
        }
    }

    /// Returns what is to be ordered next; none if all is well.
    fn next_upkeep(
        &self,
        state: &State,
        current: Generation,
    ) -> Result<Option<Action>, conclave_keys::SealError> {
        let proofs = self.proofs_due(state, current)?;
        if !proofs.is_empty() {
            let reseal = Reseal { secrets: Vec::new(), proofs };
            return Ok(Some(Action::Reseal(Box::new(reseal))));
        }
        let (before, _) = state.rows_before_generation(current);
        if before > 0 {
            let secrets = self.secrets_due(state, current)?;
            if secrets.is_empty() {
                return Ok(None);
            }
            let reseal = Reseal { secrets, proofs: Vec::new() };
            return Ok(Some(Action::Reseal(Box::new(reseal))));
        }
        if !session_keys::are_turned(state, current) {
            return Ok(None);
        }
        let has_earlier = state.generations().any(|(generation, _)| *generation < current);
        Ok(has_earlier.then_some(Action::DropGenerations(current)))
    }

    /// Returns the proofs that are missing, or under an earlier generation.
    fn proofs_due(
        &self,
        state: &State,
        current: Generation,
    ) -> Result<Vec<(ProofOf, Proof)>, conclave_keys::SealError> {
        let keyring = &self.shared.keyring;
        let mut due = Vec::new();
        // A row that came without a proof, though it needed one, never gets one.
        let is_due = |of: ProofOf, row: RowKey, claim: &Claim<'_>| match state.proof(of) {
            Some(proof) if proof.generation == current => false,
            Some(proof) => keyring.verifies(&proof, claim),
            None => state.is_older_than_proofs(&row),
        };
        for (id, member) in state.members() {
            let claim = Claim::member(member);
            if is_due(ProofOf::Member(*id), RowKey::Member(*id), &claim) {
                due.push((ProofOf::Member(*id), keyring.prove(&claim)?));
            }
        }
        for (id, token) in state.access_tokens() {
            let claim = Claim::access_token(*id, token, state.grant(id));
            if is_due(ProofOf::AccessToken(*id), RowKey::AccessToken(*id), &claim) {
                due.push((ProofOf::AccessToken(*id), keyring.prove(&claim)?));
            }
        }
        for (name, user) in state.users() {
            let (of, claim) = (ProofOf::User(user.id), Claim::user(name, user));
            if is_due(of, RowKey::User(name.clone()), &claim) {
                due.push((of, keyring.prove(&claim)?));
            }
        }
        let cut = Claim::audit_cut(&state.audit_cut());
        if is_due(ProofOf::AuditCut, RowKey::AuditCut, &cut) {
            due.push((ProofOf::AuditCut, keyring.prove(&cut)?));
        }
        let mut before: Option<(Generation, std::sync::Arc<GenerationKey>)> = None;
        for (generation, key) in keyring.generations() {
            let of = ProofOf::Generation(generation);
            if let (Some((earlier, prover)), None, Some(cluster)) =
                (&before, state.proof(of), state.cluster())
            {
                // This node has opened it, so it is one that came before proofs.
                let claim = Claim::Generation(generation, key.commitment());
                due.push((of, prover.prove(cluster.id, *earlier, &claim)));
            }
            before = Some((generation, key));
        }
        due.truncate(BATCH_PROOFS_MAX);
        Ok(due)
    }

    /// Seals the secrets of some rows anew.
    fn secrets_due(
        &self,
        state: &State,
        current: Generation,
    ) -> Result<Vec<Resealed>, conclave_keys::SealError> {
        let (mut due, mut bytes) = (Vec::new(), 0);
        for (key, row) in state.rows() {
            if row.record.oldest_generation().is_none_or(|oldest| oldest >= current) {
                continue;
            }
            let Some(purposes) = purposes(key, &row.record) else { continue };
            let sealed = row.record.sealed();
            let resealed = sealed.iter().zip(purposes);
            let resealed = resealed.map(|(one, purpose)| self.resealed(one, purpose, current));
            let secrets: Vec<Sealed> = match resealed.collect() {
                Ok(secrets) => secrets,
                // A damaged secret keeps its generation, and must not keep the others from moving.
                Err(conclave_keys::SealError::Refused) => continue,
                Err(error) => return Err(error),
            };
            bytes += secrets.iter().map(|one| one.ciphertext.len() + 64).sum::<usize>();
            due.push(Resealed { key: key.clone(), changed_at: row.changed_at, secrets });
            if bytes >= BATCH_BYTES_MAX || due.len() >= BATCH_ROWS_MAX {
                break;
            }
        }
        Ok(due)
    }

    fn resealed(
        &self,
        sealed: &Sealed,
        purpose: Purpose,
        current: Generation,
    ) -> Result<Sealed, conclave_keys::SealError> {
        if sealed.generation >= current {
            return Ok(sealed.clone());
        }
        let secret = self.shared.keyring.open(Scope::Shared, purpose, sealed)?;
        self.shared.keyring.seal(Scope::Shared, purpose, secret.expose())
    }
}

/// Returns what the secrets of a row are for, in the order of [`Record::sealed`].
fn purposes(key: &RowKey, record: &Record) -> Option<Vec<Purpose>> {
    Some(match (key, record) {
        (RowKey::Cluster, _) => vec![Purpose::Authority],
        (RowKey::JoinToken(id), _) => vec![Purpose::JoinToken(*id)],
        (RowKey::PendingKey((id, _)), _) => vec![Purpose::PendingKey(*id)],
        (RowKey::SmimeIssuer(id), _) => vec![Purpose::SmimeIssuer(*id)],
        (RowKey::AccountSettings(id), _) => vec![Purpose::RecoveryKey(*id)],
        (RowKey::Account(_), Record::Account(account)) => purposes_of_account(account),
        (RowKey::AccountKey((id, _)), _) => vec![Purpose::AccountKey(*id)],
        (RowKey::User(_), Record::User(user)) => {
            user.code.iter().map(|_| Purpose::UserCode(user.id)).collect()
        }
        (RowKey::Domain(_), Record::Domain(domain)) => {
            vec![Purpose::DomainKey(domain.id); domain.credentials.len()]
        }
        (RowKey::Canary(_), Record::Canary(canary)) => {
            vec![Purpose::DomainKey(canary.domain.id); canary.domain.credentials.len()]
        }
        (RowKey::DomainVersion((id, _)), record) => {
            vec![Purpose::DomainKey(*id); record.sealed().len()]
        }
        _ => return None,
    })
}
