//! Route for what the nodes do.

use axum::Json;
use conclave_api::{
    change::List,
    load::{Bucket, Counters, Failures, NodeLoad},
};
use conclave_cluster::{replica::LoadV1, view};
use conclave_store::id::NodeId;

use super::Answer;
use crate::asked::Asked;

/// Answers the counters of every member that answers. Needs no quorum.
pub(super) async fn list(asked: Asked) -> Answer<List<NodeLoad>> {
    let replica = asked.operator.node.replica()?;
    let (outlook, mut loads) = tokio::join!(replica.outlook(), replica.loads());
    let (point, raft) = (replica.point(), replica.raft().status());
    let members = view::members(replica.id(), &point.state, &raft, &outlook);
    let shown = members.into_iter().map(|node| NodeLoad {
        counters: loads.remove(&NodeId(node.id)).map(counters),
        name: node.name,
        role: node.role,
        state: node.state,
        lag_entries: node.lag_entries,
    });
    Ok(Json(List::new(shown.collect())))
}

fn counters(load: LoadV1) -> Counters {
    let failures = load.failures.into_iter().map(|(reason, count)| Failures { reason, count });
    let bucket = |(bound, count): (u64, u64)| Bucket {
        up_to_us: (bound < u64::MAX).then_some(bound),
        count,
    };
    let [bytes_up, bytes_down] = load.bytes;
    let ([tls, tls_resumed], [dtls, dtls_resumed]) = (load.tls, load.dtls);
    Counters {
        up_ms: load.up_ms,
        connections: load.connections,
        tls_handshakes: tls + tls_resumed,
        dtls_handshakes: dtls + dtls_resumed,
        resumed: tls_resumed + dtls_resumed,
        failures: failures.collect(),
        durations: load.durations.into_iter().map(bucket).collect(),
        bytes_up,
        bytes_down,
        cpu_ms: load.cpu_ms,
        resident_bytes: load.resident_bytes,
    }
}
