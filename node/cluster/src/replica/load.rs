//! What the members do: their counters, asked from any member.

use std::collections::BTreeMap;

use conclave_edge::socket::{Handshakes, ListenerTotals};
use conclave_store::id::NodeId;
use conclave_system::usage::usage;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// What a member has counted since its start, all listeners together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadV1 {
    /// Connections open now.
    pub connections: u64,
    /// Completed handshakes of TLS: full ones, resumptions.
    pub tls: [u64; 2],
    /// Completed handshakes of DTLS: full ones, resumptions.
    pub dtls: [u64; 2],
    /// Failed connections for each reason that there was.
    pub failures: Vec<(String, u64)>,
    /// Durations of handshakes: upper bounds in microseconds, and the handshakes of each bucket
    /// alone. The last bound is the largest number.
    pub durations: Vec<(u64, u64)>,
    /// Plaintext bytes from clients, and to them.
    pub bytes: [u64; 2],
    /// Time on all processors, in milliseconds.
    pub cpu_ms: u64,
    /// Memory of the process, in bytes.
    pub resident_bytes: u64,
    /// Time since the node runs as a member, in milliseconds.
    pub up_ms: u64,
}

impl LoadV1 {
    fn add(&mut self, listener: &ListenerTotals) {
        self.connections += listener.open;
        for Handshakes { is_resumed, count, .. } in &listener.handshakes {
            let counts = if listener.is_datagram { &mut self.dtls } else { &mut self.tls };
            if let Some(place) = counts.get_mut(usize::from(*is_resumed)) {
                *place += count;
            }
        }
        for (word, count) in listener.failures.iter().filter(|(_, count)| *count > 0) {
            match self.failures.iter_mut().find(|(known, _)| known == word) {
                Some((_, known)) => *known += count,
                None => self.failures.push(((*word).to_owned(), *count)),
            }
        }
        for (bound_s, count) in listener.durations.iter().flat_map(|one| &one.buckets) {
            let bound_us = micros(*bound_s);
            match self.durations.iter_mut().find(|(known, _)| *known == bound_us) {
                Some((_, known)) => *known += count,
                None => self.durations.push((bound_us, *count)),
            }
        }
        let [up, down] = &mut self.bytes;
        *up += listener.bytes_up;
        *down += listener.bytes_down;
    }
}

/// Turns the bound of a bucket into microseconds.
fn micros(seconds: f64) -> u64 {
    let time = std::time::Duration::try_from_secs_f64(seconds);
    // The last bucket has no bound.
    time.map_or(u64::MAX, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

impl Replica {
    /// Asks every member. One that does not answer, or is of a version that does not know the
    /// question, is left out.
    pub async fn loads(&self) -> BTreeMap<NodeId, LoadV1> {
        let mut asking = JoinSet::new();
        for id in self.point().state.members().map(|(id, _)| *id) {
            let replica = self.clone();
            asking.spawn(async move { Some((id, replica.load_of(id).await?)) });
        }
        asking.join_all().await.into_iter().flatten().collect()
    }

    async fn load_of(&self, id: NodeId) -> Option<LoadV1> {
        if id == self.shared.id {
            return Some(self.load_here());
        }
        let (peer, request) = (conclave_raft::NodeId(id.0), encode(&RequestV1::Load));
        let patience = self.shared.election_timeout * 2;
        match decode(&self.shared.raft.call(peer, request, patience).await.ok()?)? {
            AnswerV1::Load(load) => Some(load),
            _ => None,
        }
    }

    pub(super) fn load_here(&self) -> LoadV1 {
        let used = usage();
        let mut load = LoadV1 {
            cpu_ms: u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX),
            resident_bytes: used.resident_bytes,
            // Not by the time of day, which may be set anew between two answers.
            up_ms: u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..LoadV1::default()
        };
        self.shared.reports.edge().totals().iter().for_each(|listener| load.add(listener));
        load
    }
}
