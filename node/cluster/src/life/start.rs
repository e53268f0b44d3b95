//! Starts a member from the membership on disk: State, Raft and the background tasks.

use std::{sync::Arc, time::Duration};

use conclave_api::problem::Problem;
use conclave_pki::certificate::Certificate;
use conclave_raft::{
    BoxFuture, Calls, Identity, Joiner, Options, OwnAddress, Peers, Raft, Retention,
};
use conclave_store::{id::NodeId, record::LEVEL_MAX, scope::Scope};
use conclave_system::clock;

use super::{Admission, address::NodeAddress, audit_copy, canary, put_out, renew::Renewal};
use crate::{
    authority::{earlier_der, node_number},
    fault::{damaged, internal, start_problem, state_problem},
    member::{Member, MemberTasks},
    membership::Membership,
    node::Node,
    recovered::Recovered,
    replica::{Applier, Published, Replica, Reports},
};

/// Number of entries between two snapshots. An entry may contain 64 commands.
const SNAPSHOT_EVERY: u64 = 2_500;
/// Entries kept behind the snapshot, even if every member has them.
const KEEP_ENTRIES: u64 = 500;

/// Longest wait for the first certificate of the admin API.
const CERTIFIED_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts a member and publishes it to callers.
pub async fn start(node: &Node, membership: &Membership) -> Result<Replica, Problem> {
    let member = open(node, membership).await?;
    let replica = member.replica.clone();
    node.publish(member);
    Ok(replica)
}

/// Waits until the admin API of a new member has its certificate, so that the next command may come
/// over HTTPS. A sealed node gets none.
pub(super) async fn certified(node: &Node) {
    if node.keyring().sealed_reason().is_none() {
        node.wait_admin_tls(CERTIFIED_TIMEOUT).await;
    }
}

/// Starts Raft and State of a member without publishing it to callers.
pub(super) async fn open(node: &Node, membership: &Membership) -> Result<Member, Problem> {
    // This must come before any other write of this version: version 0.1.0 must refuse to start on
    // the new formats.
    Membership::upgrade(node.data_dir()).map_err(|error| damaged(&error))?;
    let id = NodeId(membership.node);
    let published = Arc::new(Published::default());
    let (old, dir) = (node.data_dir().join("state"), node.data_dir().join("state.v2"));
    let shown = dir.clone();
    let open_published = Arc::clone(&published);
    let (keyring, live) = (Arc::clone(node.keyring()), node.live().clone());
    live.serve_canaries_of(id);
    let applier = tokio::task::spawn_blocking(move || {
        Applier::open(&old, &dir, id, open_published, keyring, live)
    });
    let applier = applier
        .await
        .map_err(|error| internal("cannot open the state", error))?
        .map_err(|error| state_problem(&shown, &error))?;
    let home = applier.home();
    let options = Options {
        dir: node.data_dir().join("raft"),
        bind: node.config().cluster_bind,
        identity: Identity {
            id: conclave_raft::NodeId(id.0),
            cluster: membership.cluster,
            certificate_der: membership.certificate_der.clone(),
            private_key_der: node.keys().identity_pkcs8().to_vec(),
            authority_der: membership.authority_der.clone(),
            earlier_der: earlier_der(&published.load().state),
        },
        own_address: own_address(node, membership, &published),
        incarnation: membership.incarnation,
        entropy: Arc::new(conclave_system::entropy::fill),
        election_timeout: node.config().election_timeout,
        snapshot_every: SNAPSHOT_EVERY,
        keep_log: Retention { entries: KEEP_ENTRIES, bytes_behind: node.config().keep_log_bytes },
    };
    let peers =
        Arc::new(KnownPeers { membership: membership.clone(), published: Arc::clone(&published) });
    let calls = Arc::new(Answers::default());
    let raft = Raft::start(options, Box::new(applier), peers, calls.clone())
        .await
        .map_err(|error| start_problem(&error))?;
    node.live().follow_settled(raft.settled());
    let reports = Reports::new(
        id,
        node.live().clone(),
        node.edge().clone(),
        Arc::clone(node.keyring()),
        node.started(),
    );
    let replica = Replica::new(
        raft,
        published,
        node.live().clone(),
        Arc::clone(node.keyring()),
        reports,
        node.config().election_timeout,
    );
    calls.set(Admission::new(replica.clone(), Arc::clone(node.keyring())));
    // A note that cannot be read keeps no node from its work.
    let recovered = Recovered::read(node.data_dir()).unwrap_or_else(|error| {
        tracing::warn!(event = "recovered.note_unusable", %error);
        None
    });
    let mut tasks = tasks(node, &replica, recovered.clone());
    let mut renewal = Renewal::new(node.clone(), replica.clone(), membership.clone());
    // The first answer of the admin API must be by its own certificate.
    renewal.look();
    tasks.0.push(tokio::spawn(renewal.run()).abort_handle());
    Ok(Member { replica, home, membership: membership.clone(), recovered, tasks })
}

/// Starts the background tasks of a member.
fn tasks(node: &Node, replica: &Replica, recovered: Option<Recovered>) -> MemberTasks {
    let mut tasks = vec![
        tokio::spawn(replica.clone().follow_reports()).abort_handle(),
        tokio::spawn(replica.clone().follow_status()).abort_handle(),
        tokio::spawn(replica.clone().reconcile_members()).abort_handle(),
        tokio::spawn(replica.clone().rotate_session_keys()).abort_handle(),
        tokio::spawn(raise_local(node.clone(), replica.clone())).abort_handle(),
        tokio::spawn(replica.clone().keep_keyring()).abort_handle(),
        tokio::spawn(replica.clone().keep_audit()).abort_handle(),
        tokio::spawn(audit_copy::follow(node.clone(), replica.clone())).abort_handle(),
        tokio::spawn(replica.clone().note_audit(Arc::clone(node.audit()))).abort_handle(),
        tokio::spawn(replica.clone().step_aside()).abort_handle(),
        tokio::spawn(canary::watch(node.clone(), replica.clone())).abort_handle(),
        tokio::spawn(replica.clone().claim_main_domain(node.config().main_domain.clone()))
            .abort_handle(),
        tokio::spawn(watch_raft(node.clone(), replica.clone())).abort_handle(),
    ];
    let address = node.advertised().ok().and_then(|text| NodeAddress::parse(&text).ok());
    if let Some(address) = address {
        tasks.push(tokio::spawn(replica.clone().tell_address(address)).abort_handle());
    }
    if !node.config().is_finalized_by_hand {
        tasks.push(tokio::spawn(replica.clone().raise_level()).abort_handle());
    }
    if let Some(recovered) = recovered {
        let turning = put_out::turn_keyring(node.clone(), replica.clone(), recovered);
        tasks.push(tokio::spawn(turning).abort_handle());
    }
    MemberTasks(tasks)
}

/// Raises the level of the local scope together with the cluster's.
async fn raise_local(node: Node, replica: Replica) {
    let mut reports = node.live().reports(Scope::Shared);
    loop {
        let level = replica.point().state.level();
        let raising = node.clone();
        let raised =
            tokio::task::spawn_blocking(move || raising.local().raise_level(clock::now(), level));
        match raised.await {
            Ok(Ok(())) if level >= LEVEL_MAX => return,
            Ok(Ok(())) => {}
            // The local scope goes on under its earlier rules; the next change tries again.
            Ok(Err(error)) => tracing::warn!(event = "local.level_not_raised", %error),
            Err(_) => return,
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
}

/// Returns the address of this node as State has it, and as its configuration says now.
fn own_address(node: &Node, membership: &Membership, published: &Published) -> Option<OwnAddress> {
    let point = published.load();
    let own = point.state.members().find(|(id, _)| id.0 == membership.node);
    let known = own.map(|(_, member)| member.address.clone())?;
    let now = node.advertised().ok()?;
    if known != now {
        let text = "the configuration has another address than the cluster knows";
        tracing::warn!(event = "cluster.address_changed", known, now, "{text}");
    }
    Some(OwnAddress { known, now })
}

async fn watch_raft(node: Node, replica: Replica) {
    node.fail(replica.raft().stopped().await);
}

/// The identity keys of members, from State or from the introduction at the join.
struct KnownPeers {
    membership: Membership,
    published: Arc<Published>,
}

impl Peers for KnownPeers {
    fn identify(&self, public_key_der: &[u8]) -> Option<conclave_raft::NodeId> {
        self.membership.identify(&self.published.load().state, public_key_der)
    }

    fn was_removed(&self, certificate_der: &[u8]) -> bool {
        let point = self.published.load();
        let state = &point.state;
        let Some(cluster) = state.cluster() else { return false };
        let names = Certificate::from_der(certificate_der).map(|certificate| certificate.names());
        let Some(number) = names.iter().flatten().find_map(|name| node_number(name)) else {
            return false;
        };
        number <= cluster.node_last && state.members().all(|(id, _)| *id != number)
    }
}

/// The handler of calls from other nodes. Its answers are empty until the replica exists.
#[derive(Default)]
struct Answers(std::sync::OnceLock<Admission>);

impl Answers {
    fn set(&self, admission: Admission) {
        // It is set only once, right after the start.
        let _ = self.0.set(admission);
    }
}

impl Calls for Answers {
    fn call(
        &self,
        from: conclave_raft::NodeId,
        exporter: [u8; 32],
        request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>> {
        let admission = self.0.get().cloned();
        Box::pin(async move {
            match admission {
                Some(admission) => {
                    admission.replica.answer(NodeId(from.0), exporter, request).await
                }
                None => Vec::new(),
            }
        })
    }

    fn join(&self, joiner: Joiner, request: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let admission = self.0.get().cloned();
        Box::pin(async move {
            match admission {
                Some(admission) => admission.answer(&joiner, &request).await,
                None => Vec::new(),
            }
        })
    }
}
