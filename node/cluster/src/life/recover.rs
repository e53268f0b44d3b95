//! Recovery of a cluster that has lost its quorum, offline on a survivor: its log and State become
//! those of a cluster with one voter.
//!
//! The order of the steps is safe against a crash between any two: the term, the staged State, the
//! note, the pointer to State, the log. `raft/DESIGN.md` has the argument.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use conclave_api::{
    cluster::{FormerMember, Recovery as Plan},
    problem::{Code, Problem},
};
use conclave_disk::DiskOptions;
use conclave_raft::{
    Entry, LogLock, LogOpenError, MachineFault, RecoverError, RecoverOptions, Survivor,
};
use conclave_store::{
    id::{ClusterId, LogIndex, NodeId},
    machine,
    state::State,
    wire,
};
use conclave_store_sled::Home;
use conclave_system::{clock, entropy};

use crate::{
    config::Config,
    fault::{causes, damaged, disk_full, internal, later_version, state_problem},
    membership::Membership,
    recovered::{Former, Recovered},
};

/// A stopped survivor, read and locked. Nothing is changed before [`Recovery::execute`].
pub struct Recovery {
    config: Config,
    survivor: Survivor,
    home: Home,
    /// State after all entries of the log.
    state: State,
    own: NodeId,
    plan: Plan,
}

impl Recovery {
    /// Reads log, marker and State of the node with this configuration.
    pub fn open(path: &Path) -> Result<Recovery, Problem> {
        let config = Config::read(path)?;
        check_owner(&config.data_dir)?;
        let membership = membership(&config)?;
        let raft = config.data_dir.join("raft");
        let lock = LogLock::take(&raft).map_err(|error| problem(&config, error))?;
        let dir = config.data_dir.join("state.v2");
        if !dir.exists() {
            return Err(problem(&config, RecoverError::NoLog { dir }));
        }
        let loaded = Home::open(&dir, DiskOptions::default())
            .map_err(|error| state_problem(&dir, &error))?;
        let own = NodeId(membership.node);
        let options = RecoverOptions {
            cluster: membership.cluster,
            incarnation: membership.incarnation,
            node: conclave_raft::NodeId(own.0),
            entropy: Arc::new(entropy::fill),
        };
        let survivor = Survivor::open(lock, options, loaded.checkpoint.as_deref())
            .map_err(|error| problem(&config, error))?;
        let mut state = loaded.state;
        survivor
            .replay(&mut |entry| apply(&mut state, entry))
            .map_err(|error| problem(&config, error))?;
        let plan = plan(&config, &membership, &survivor, &state)?;
        Ok(Recovery { config, survivor, home: loaded.home, state, own, plan })
    }

    /// Returns what [`Recovery::execute`] will do.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes this node the only voter of its cluster.
    pub fn execute(self) -> Result<Plan, Problem> {
        let Recovery { config, survivor, home, state, own, plan } = self;
        if !plan.changed {
            return Ok(plan);
        }
        let unknown = || internal("this node is not in State", own);
        let address = state.member(&own).ok_or_else(unknown)?.address.clone();
        let cluster = state.cluster().ok_or_else(unknown)?;
        let now = clock::now();
        let from = (plan.last_term, plan.last_index);
        let former = plan.former.iter().map(former_of).collect();
        let note = Recovered::new(now, from, cluster.generation, plan.voters, former);
        let state = machine::recovered(&state, own, LogIndex(plan.index), now)
            .map_err(|rejection| internal("State cannot be recovered", rejection))?;
        let install = |checkpoint: &[u8], index: u64| {
            let staged = home.stage(state, checkpoint, index).map_err(|error| fault(&error))?;
            // Before State changes: it says which members the changed State no longer has.
            note.write(&config.data_dir).map_err(|error| fault(&error))?;
            home.install(staged).map_err(|error| fault(&error))?;
            Ok(())
        };
        survivor.recover(&address, install).map_err(|error| problem(&config, error))?;
        Ok(plan)
    }
}

fn fault(error: &dyn std::error::Error) -> MachineFault {
    MachineFault(causes(error))
}

/// Applies the commands of an entry. One that cannot be read must not be skipped.
fn apply(state: &mut State, entry: &Entry) -> Result<(), MachineFault> {
    let Some(payload) = &entry.payload else { return Ok(()) };
    let index = LogIndex(entry.position.index);
    let commands = wire::decode_entry(payload)
        .map_err(|error| MachineFault(format!("entry {index} cannot be read: {error}")))?;
    for command in &commands {
        *state = machine::apply(state, index, command).state;
    }
    Ok(())
}

/// Refuses another user than the owner of the data: files that it makes would be closed to the
/// node.
fn check_owner(data_dir: &Path) -> Result<(), Problem> {
    let unusable = |error: std::io::Error| {
        Problem::new(Code::DataUnusable, format!("cannot read {}", data_dir.display()))
            .detail(error.to_string())
            .hint("--config names the configuration of the node: is it the right one?")
    };
    let owner = std::fs::metadata(data_dir).map_err(unusable)?.uid();
    let own = rustix::process::geteuid().as_raw();
    if owner == own {
        return Ok(());
    }
    let title = format!("{} belongs to user {owner}, not to user {own}", data_dir.display());
    Err(Problem::new(Code::NotAllowed, title)
        .why("files that another user makes there would be closed to the node")
        .hint("run it as the user of the node: sudo -u conclave conclave cluster recover"))
}

fn membership(config: &Config) -> Result<Membership, Problem> {
    let membership = Membership::read(&config.data_dir).map_err(|error| damaged(&error))?;
    membership.filter(|membership| !membership.founding).ok_or_else(|| {
        let title = format!("{} holds no cluster", config.data_dir.display());
        Problem::new(Code::NoCluster, title)
            .hint("--config names the configuration of the node: is it the right one?")
    })
}

fn plan(
    config: &Config,
    membership: &Membership,
    survivor: &Survivor,
    state: &State,
) -> Result<Plan, Problem> {
    let (report, own) = (survivor.report(), NodeId(membership.node));
    let name = |id: NodeId| state.member(&id).map(|member| member.name.to_string());
    let node = name(own).ok_or_else(|| {
        let name = &config.name;
        Problem::new(Code::NotFound, format!("{name} is no member of its cluster any longer"))
            .why("it was removed, so another member has the present State")
            .hint("recover the cluster on that member, wipe this one and let it join anew")
    })?;
    let ids = |of: &BTreeSet<conclave_raft::NodeId>| -> BTreeSet<NodeId> {
        of.iter().map(|id| NodeId(id.0)).collect()
    };
    let (voters, learners) = (ids(&report.voters), ids(&report.learners));
    let members: BTreeSet<NodeId> = state.members().map(|(id, _)| *id).collect();
    let mut others = &(&voters | &learners) | &members;
    others.remove(&own);
    let former = |id: &NodeId| FormerMember {
        name: name(*id).unwrap_or_else(|| format!("node {id}")),
        id: id.0,
        address: state.member(id).map(|member| member.address.clone()).unwrap_or_default(),
        is_voter: voters.contains(id),
    };
    let mut plan = Plan {
        cluster: membership.cluster_name.clone(),
        id: ClusterId(membership.cluster).to_string(),
        node,
        node_id: own.0,
        voters: u64::try_from(voters.len()).unwrap_or(u64::MAX),
        former: others.iter().map(former).collect(),
        last_term: report.last.term,
        last_index: report.last.index,
        committed_index: report.committed,
        uncommitted_entries: report.last.index.saturating_sub(report.committed),
        uncommitted_kept: true,
        term: report.position.term,
        index: report.position.index,
        level: state.level(),
        unfinished: report.is_begun,
        changed: report.is_begun || !others.is_empty() || !voters.contains(&own),
        dry_run: false,
    };
    if report.is_begun
        && let Some(note) = Recovered::read(&config.data_dir).map_err(|error| damaged(&error))?
    {
        // State has lost them already; the note names them.
        plan.former = note.former.iter().map(shown).collect();
        (plan.last_term, plan.last_index) = (note.from_term, note.from_index);
        plan.voters = note.voters;
    }
    Ok(plan)
}

fn former_of(shown: &FormerMember) -> Former {
    let FormerMember { name, id, address, is_voter } = shown.clone();
    Former { id, name, address, is_voter }
}

fn shown(former: &Former) -> FormerMember {
    let Former { id, name, address, is_voter } = former.clone();
    FormerMember { name, id, address, is_voter }
}

fn problem(config: &Config, error: RecoverError) -> Problem {
    let name = &config.name;
    match &error {
        RecoverError::InUse { .. } => Problem::new(Code::NodeRunning, format!("{name} is running"))
            .detail(error.to_string())
            .hint("stop it first: systemctl stop conclave"),
        RecoverError::NoLog { .. } => Problem::new(Code::NoCluster, error.to_string())
            .why("the node was never started with this version, or its log is gone")
            .hint("start the node once and stop it, then repeat the command"),
        RecoverError::Log(log @ LogOpenError::LaterVersion { .. }) => later_version(log),
        RecoverError::Log(log @ LogOpenError::DiskFull { .. }) => {
            disk_full("the disk of this node has too little room").detail(causes(log))
        }
        RecoverError::State(fault) => {
            Problem::new(Code::DataUnusable, "State cannot be recovered on this node")
                .detail(fault.to_string())
                .why("nothing is lost: log and State are as before, only the term may be higher")
                .hint("look at the disk of data_dir, then repeat the command")
        }
        error => damaged(error),
    }
}
