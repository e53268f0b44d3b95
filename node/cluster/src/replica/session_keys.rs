//! Rotation of session keys: the leader publishes a new key, and activates it when every live
//! member can open with it.

use std::time::Duration;

use conclave_keys::{Purpose, SealError, Secret};
use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command},
    id::{Generation, LogIndex, SessionKeyId},
    outcome::Outcome,
    record::{RowKey, SessionKey, SessionKeyUse, TlsSettings},
    scope::Scope,
    state::State,
    time::UnixMillis,
    wire,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::{ExecuteError, Replica, Wait};

/// How often the leader checks. A check without a due step writes nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause after a failed step.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// Longest time to order a command.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait until members report a published key.
const SERVED_TIMEOUT_MS_MAX: u64 = 30_000;
/// Rotation period of cookie keys, though cookies are valid for minutes only.
const COOKIE_ROTATION_MS: u64 = 60 * 60 * 1_000;
/// Lifetime of a cookie.
const COOKIE_TTL_MS: u64 = 5 * 60 * 1_000;
/// Allowance for clock differences and for elections, before nodes stop sealing.
const SLACK_MS: u64 = 60_000;

/// Returns the rotation period of a use, in milliseconds.
pub fn session_key_rotation_ms(settings: &TlsSettings, of: SessionKeyUse) -> u64 {
    match of {
        SessionKeyUse::Ticket => u64::from(settings.ticket_rotation_s) * 1_000,
        SessionKeyUse::Cookie => COOKIE_ROTATION_MS,
    }
}

/// The next step for the keys of one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Publish,
    /// Activate this key as soon as its publication, at this index, is served.
    Activate(SessionKeyId, LogIndex),
}

/// Decides the next step from State alone, so that a new leader continues where the previous one
/// stopped.
fn step(state: &State, of: SessionKeyUse, now: UnixMillis) -> Step {
    let settings = state.tls_settings();
    let Some(cluster) = state.cluster() else { return Step::Nothing };
    if of == SessionKeyUse::Ticket && settings.session_ttl_s == 0 {
        return Step::Nothing;
    }
    let rotation = session_key_rotation_ms(&settings, of);
    // A removed node knows the keys under older generations of the keyring, so such a key needs a
    // successor.
    let is_good = |key: &SessionKey| key.sealed.generation == cluster.generation;
    let active = state.active_session_key(of);
    // A time far ahead comes from a wrong clock, and the key would stay fresh for too long. At
    // level 0 a successor would get a time still further ahead, so replacing the key would not
    // help.
    let is_believed = |since: UnixMillis| state.level() == 0 || since <= now.plus(SLACK_MS);
    let is_fresh = active.is_some_and(|(_, key)| {
        let is_young = |since: UnixMillis| is_believed(since) && now < since.plus(rotation);
        is_good(key) && key.active.is_some_and(is_young)
    });
    if is_fresh {
        return Step::Nothing;
    }
    let next = state
        .session_keys(of)
        .filter(|(_, key)| key.active.is_none() && is_good(key) && now < key.made.plus(rotation))
        .max_by_key(|(_, key)| key.made);
    match next {
        None => Step::Publish,
        Some((id, _)) => {
            let row = state.row(&RowKey::SessionKey((of, id)));
            Step::Activate(id, row.map(|row| row.changed_at).unwrap_or_default())
        }
    }
}

/// Returns whether no node seals any more with a key of an earlier generation of the keyring, so
/// that these keys can be removed together with their generation.
pub(super) fn are_turned(state: &State, current: Generation) -> bool {
    let settings = state.tls_settings();
    let is_used = |of| of != SessionKeyUse::Ticket || settings.session_ttl_s > 0;
    SessionKeyUse::ALL.into_iter().filter(|of| is_used(*of)).all(|of| {
        state.active_session_key(of).is_none_or(|(_, key)| key.sealed.generation >= current)
    })
}

/// Returns the times until which a key that is made now seals and opens. It seals for two rotations
/// and the slack: a cluster without a leader continues to resume sessions for that time, and a node
/// that is cut off stops after it.
fn lifetime(
    settings: &TlsSettings,
    of: SessionKeyUse,
    now: UnixMillis,
) -> (UnixMillis, UnixMillis) {
    let ttl = match of {
        SessionKeyUse::Ticket => u64::from(settings.session_ttl_s) * 1_000,
        SessionKeyUse::Cookie => COOKIE_TTL_MS,
    };
    let not_after = now.plus(2 * session_key_rotation_ms(settings, of) + SLACK_MS);
    (not_after, not_after.plus(ttl))
}

/// Errors of a step.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("no unsealed member can seal it")]
    Sealed,
    #[error(transparent)]
    NotSealed(#[from] SealError),
    #[error(transparent)]
    NotOrdered(#[from] ExecuteError),
    #[error("the clock of this node differs from those of most others")]
    ClockOff,
    #[error("refused: {0}")]
    Refused(String),
}

impl Replica {
    /// While this node leads, keeps a fresh key of each use in State. Runs until dropped.
    pub(crate) async fn rotate_session_keys(self) {
        let mut leading_since: Option<Instant> = None;
        // Warn once, not every two seconds: a sealed cluster stays sealed for a while.
        let mut is_failing = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.shared.raft.status().role != Role::Leader {
                leading_since = None;
                continue;
            }
            let since = *leading_since.get_or_insert_with(Instant::now);
            for of in SessionKeyUse::ALL {
                match self.take_step(of, since).await {
                    Ok(()) => is_failing = false,
                    Err(error) if is_failing => {
                        tracing::debug!(event = "session_key.not_rotated", ?of, %error);
                        tokio::time::sleep(FAILED_PAUSE).await;
                    }
                    Err(error) => {
                        tracing::warn!(event = "session_key.not_rotated", ?of, %error);
                        is_failing = true;
                    }
                }
            }
        }
    }

    async fn take_step(&self, of: SessionKeyUse, since: Instant) -> Result<(), StepError> {
        let (point, now) = (self.point(), clock::now());
        let action = match step(&point.state, of, now) {
            Step::Nothing => return Ok(()),
            // A key with a wrong time would be used for too long or not at all.
            Step::Publish if self.shared.reports.is_clock_off(SLACK_MS) => {
                return Err(StepError::ClockOff);
            }
            Step::Publish => self.publish(&point.state, of, now).await?,
            Step::Activate(id, index) => {
                let made = point.state.session_keys(of).find(|(found, _)| *found == id);
                let made = made.map(|(_, key)| key.made).unwrap_or_default();
                let settings = point.state.tls_settings();
                let patience =
                    SERVED_TIMEOUT_MS_MAX.min(session_key_rotation_ms(&settings, of) / 2);
                // Do not wait longer for a silent or slow member. It makes full handshakes until it
                // has the key.
                if !self.is_served_by_live(index, since) && now < made.plus(patience) {
                    return Ok(());
                }
                Action::ActivateSessionKey(of, id)
            }
        };
        self.order(&point.state, now, action).await
    }

    async fn publish(
        &self,
        state: &State,
        of: SessionKeyUse,
        now: UnixMillis,
    ) -> Result<Action, StepError> {
        let id = SessionKeyId(entropy::array());
        let purpose = Purpose::SessionKey(of, id);
        let secret = Secret::new(entropy::array::<32>().to_vec());
        let sealed = match self.shared.keyring.seal(Scope::Shared, purpose, secret.expose()) {
            Err(SealError::Sealed) => {
                self.seal_elsewhere(purpose, &secret).await.ok_or(StepError::Sealed)?
            }
            sealed => sealed?,
        };
        let (not_after, expires) = lifetime(&state.tls_settings(), of, now);
        let key = SessionKey { sealed, made: now, active: None, not_after, expires };
        Ok(Action::PublishSessionKey(of, id, key))
    }

    /// Orders an action. It is rejected if the TLS settings from which it was derived have changed.
    async fn order(
        &self,
        state: &State,
        time: UnixMillis,
        action: Action,
    ) -> Result<(), StepError> {
        let expects = vec![state.expectation(RowKey::TlsSettings)];
        let command = Command::by_node(self.shared.id, entropy::array(), time, action);
        let command = Command { expects, ..command };
        let bytes = wire::encode_command(&command)
            .map_err(|error| StepError::Refused(error.to_string()))?;
        let deadline = Instant::now() + ORDER_TIMEOUT;
        let executed = match self.execute_here(bytes, Wait::Committed, deadline).await {
            Err(ExecuteError::NotLeader(_)) => return Ok(()),
            executed => executed?,
        };
        // The next check must see the result.
        self.wait_applied(executed.index.0, ORDER_TIMEOUT).await;
        match executed.outcome {
            Outcome::Done(_) => Ok(()),
            Outcome::Rejected(conclave_store::outcome::Rejection::Stale(_)) => Ok(()),
            Outcome::Rejected(rejection) => Err(StepError::Refused(rejection.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::{
        command::FoundCluster,
        id::{ClusterId, ClusterName, Generation, NodeId, NodeName},
        machine,
        record::{Cluster, KeyringGeneration, Member, MemberRole, Sealed},
    };

    use super::*;

    const OF: SessionKeyUse = SessionKeyUse::Ticket;
    const HOUR: u64 = 60 * 60 * 1_000;

    fn sealed(generation: u64) -> Sealed {
        Sealed { generation: Generation(generation), nonce: [0; 12], ciphertext: Vec::new() }
    }

    struct Scene(State, u64);

    impl Scene {
        fn founded() -> Scene {
            let mut scene = Scene(State::default(), 0);
            let cluster = Cluster {
                id: ClusterId([1; 16]),
                name: ClusterName::parse("test").unwrap(),
                authority_der: Vec::new(),
                authority_key: sealed(1),
                generation: Generation(1),
                node_last: NodeId(1),
                founded: UnixMillis(0),
            };
            let member = Member {
                id: NodeId(1),
                name: NodeName::parse("n1").unwrap(),
                role: MemberRole::Voter,
                identity_der: vec![1],
                sealing_key: [0; 32],
                address: String::new(),
                joined: UnixMillis(0),
            };
            let wraps = [(NodeId(1), serde_bytes::ByteBuf::new())].into_iter().collect();
            let keyring = KeyringGeneration { wraps, made: UnixMillis(0) };
            let found = FoundCluster { cluster, member, keyring };
            scene.act(0, Action::FoundCluster(Box::new(found)));
            scene
        }

        fn act(&mut self, time: u64, action: Action) {
            self.1 += 1;
            let random = [u8::try_from(self.1).unwrap(); 10];
            let command = Command::by_node(NodeId(1), random, UnixMillis(time), action);
            let applied = machine::apply(&self.0, LogIndex(self.1), &command);
            assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
            self.0 = applied.state;
        }

        fn publish(&mut self, id: u8, made: u64, generation: u64) {
            let now = UnixMillis(made);
            let (not_after, expires) = lifetime(&self.0.tls_settings(), OF, now);
            let sealed = sealed(generation);
            let key = SessionKey { sealed, made: now, active: None, not_after, expires };
            self.act(made, Action::PublishSessionKey(OF, SessionKeyId([id; 8]), key));
        }

        fn step(&self, now: u64) -> Step {
            step(&self.0, OF, UnixMillis(now))
        }
    }

    #[test]
    fn a_key_is_published_then_used_and_then_left_alone_until_its_time() {
        let mut scene = Scene::founded();
        assert_eq!(scene.step(10), Step::Publish);
        scene.publish(1, 10, 1);
        let id = SessionKeyId([1; 8]);
        assert_eq!(scene.step(11), Step::Activate(id, LogIndex(2)));
        scene.act(20, Action::ActivateSessionKey(OF, id));
        assert_eq!(scene.step(20 + HOUR - 1), Step::Nothing);
        assert_eq!(scene.step(20 + HOUR), Step::Publish);
        scene.publish(2, 20 + HOUR, 1);
        let next = Step::Activate(SessionKeyId([2; 8]), LogIndex(4));
        assert_eq!(scene.step(21 + HOUR), next, "by whoever leads then");
        assert_eq!(scene.step(20 + 2 * HOUR), Step::Publish, "what nobody used is old by now");
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_stop_the_rotation() {
        let mut scene = Scene::founded();
        scene.act(1, Action::SetLevel(1));
        let ahead = 10 * 365 * 24 * HOUR;
        scene.publish(1, ahead, 1);
        scene.act(ahead, Action::ActivateSessionKey(OF, SessionKeyId([1; 8])));
        assert!(matches!(scene.step(20), Step::Publish), "its time is not believed");
        scene.publish(2, 20, 1);
        scene.act(30, Action::ActivateSessionKey(OF, SessionKeyId([2; 8])));
        assert_eq!(scene.step(40), Step::Nothing);
        assert_eq!(scene.step(30 + HOUR), Step::Publish);
    }

    #[test]
    fn a_key_seals_until_its_successor_is_used_and_opens_as_long_as_its_tickets_live() {
        let settings = TlsSettings::default();
        let (not_after, expires) = lifetime(&settings, OF, UnixMillis(0));
        assert!(not_after.0 > HOUR + HOUR / 2, "the longest wait for the successor is in it");
        assert_eq!(expires.0 - not_after.0, u64::from(settings.session_ttl_s) * 1_000);
    }

    #[test]
    fn sessions_that_never_resume_need_no_key() {
        let mut scene = Scene::founded();
        let none = TlsSettings { session_ttl_s: 0, ..TlsSettings::default() };
        scene.act(1, Action::SetTlsSettings(Box::new(none)));
        assert_eq!(scene.step(2), Step::Nothing);
        assert_eq!(step(&scene.0, SessionKeyUse::Cookie, UnixMillis(2)), Step::Publish);
        assert_eq!(step(&State::default(), OF, UnixMillis(2)), Step::Nothing, "no cluster yet");
    }

    #[test]
    fn a_new_generation_of_the_keyring_brings_a_new_key_at_once() {
        let mut scene = Scene::founded();
        scene.publish(1, 10, 1);
        scene.act(20, Action::ActivateSessionKey(OF, SessionKeyId([1; 8])));
        scene.publish(2, 30, 1);
        let wraps = [(NodeId(1), serde_bytes::ByteBuf::new())].into_iter().collect();
        let rotate = conclave_store::command::RotateKeyring {
            generation: Generation(2),
            keyring: KeyringGeneration { wraps, made: UnixMillis(40) },
            authority_key: sealed(2),
        };
        scene.act(40, Action::RotateKeyring(Box::new(rotate)));
        assert_eq!(scene.step(41), Step::Publish, "neither the old one nor its successor will do");
        scene.publish(3, 41, 2);
        assert!(matches!(scene.step(42), Step::Activate(id, _) if id == SessionKeyId([3; 8])));
    }
}
