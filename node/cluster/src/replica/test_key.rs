//! Test of a domain's keys on every member.

use conclave_store::{
    id::{DomainName, NodeId},
    scope::Scope,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// Duration of the test in microseconds, or the reason why a key cannot be used.
pub(crate) type Tested = Result<u64, String>;

impl Replica {
    /// Tests a shared domain's keys on every member.
    pub async fn test_key(&self, domain: &DomainName) -> Vec<(NodeId, Tested)> {
        let mut asking = JoinSet::new();
        for id in self.point().state.members().map(|(id, _)| *id) {
            let (replica, domain) = (self.clone(), domain.to_string());
            asking.spawn(async move { (id, replica.test_key_at(id, domain).await) });
        }
        let mut tested = asking.join_all().await;
        tested.sort_by_key(|(id, _)| *id);
        tested
    }

    async fn test_key_at(&self, id: NodeId, domain: String) -> Tested {
        if id == self.shared.id {
            return self.test_key_here(&domain).await;
        }
        // Opening and testing an RSA key takes some 10 ms. An absent member never answers.
        let patience = self.shared.election_timeout * 10;
        let request = encode(&RequestV1::TestKey { domain });
        match self.shared.raft.call(conclave_raft::NodeId(id.0), request, patience).await {
            Ok(answer) => match decode(&answer) {
                Some(AnswerV1::Tested(tested)) => tested,
                _ => Err("it does not know this question: another version?".to_owned()),
            },
            Err(error) => Err(format!("it does not answer: {error}")),
        }
    }

    pub(super) async fn test_key_here(&self, domain: &str) -> Tested {
        let unknown = || format!("no domain {domain} here");
        let name = DomainName::parse(domain).map_err(|error| error.to_string())?;
        let domain = self.point().state.domain(&name).cloned().ok_or_else(unknown)?;
        let keyring = self.shared.keyring.clone();
        let started = Instant::now();
        let tested =
            tokio::task::spawn_blocking(move || keyring.test_keys(Scope::Shared, &domain)).await;
        tested.map_err(|error| error.to_string())??;
        Ok(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
