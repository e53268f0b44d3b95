//! Commands for founding and joining a cluster, and for its leadership.

use std::{io::IsTerminal, path::Path};

use conclave_api::{
    cluster::{Init, Join, LeaderTransfer, Membership, TransferLeader, Upgrade, UpgradeNode},
    problem::{Code, Problem},
};
use conclave_client::{Change, Failure};

use super::{Asking, Done, change, confirm_words, prompt, read_token};
use crate::{
    args::{Changing, Cluster, Form, Global, IfMissing},
    output::{self, Columns},
    progress,
};

pub(super) async fn run(asking: &Asking, command: Cluster) -> Done {
    // These may ask any node.
    match command {
        Cluster::TransferLeader { node, dry_run } => transfer_leader(asking, node, dry_run).await,
        Cluster::Upgrade { finalize, changing } => upgrade(asking, finalize, &changing).await,
        Cluster::RotateAuthority { finish, changing } => {
            rotate_authority(asking, finish, &changing).await
        }
        // Needs no running node, so it never comes here.
        Cluster::Recover { .. } => Ok(0),
        Cluster::Init { name, missing } => init(asking, name, &missing).await,
        Cluster::Join { member, learner, zone, replace, token_file, missing } => {
            let token = token(asking, token_file.as_deref())?;
            let join = Join { address: member, token, learner, zone, replaces: replace };
            enter(asking, &join, &missing).await
        }
    }
}

async fn init(asking: &Asking, name: String, missing: &IfMissing) -> Done {
    let (client, global) = (asking.client()?.for_one_node()?, &asking.global);
    let change = Change { is_if_missing: missing.if_missing, ..Change::default() };
    let made = client.init(&Init { name }, &change).await?;
    if !is_told(global, &made) {
        let (cluster, id, node) = (&made.cluster, &made.id, &made.node);
        let text = format!("Made cluster {cluster:?} (id {id}) with one voter, {node}.");
        output::success(global, &text);
        about_keys(global, &made);
        output::advice(
            global,
            "Next: conclave join-token create    add nodes (three voters survive the loss of one)",
        );
    }
    Ok(0)
}

async fn enter(asking: &Asking, join: &Join, missing: &IfMissing) -> Done {
    let (client, global) = (asking.client()?.for_one_node()?, &asking.global);
    let change = Change { is_if_missing: missing.if_missing, ..Change::default() };
    let made = client.join(join, &change).await?;
    if !is_told(global, &made) {
        let (cluster, node, voters) = (&made.cluster, &made.node, made.voters);
        let role = if made.learner { "learner" } else { "voter" };
        let text = format!("{node} is a {role} of cluster {cluster:?} now ({voters} voters).");
        output::success(global, &text);
        about_keys(global, &made);
        if voters < 3 {
            output::advice(global, "!  no node may fail yet; add a third");
        }
    }
    Ok(0)
}

async fn rotate_authority(asking: &Asking, is_end: bool, changing: &Changing) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    if is_end {
        let words =
            "Access tokens made before the rotation find no node over HTTPS any more afterwards.";
        confirm_words(global, changing.is_sure(), words, "finish")?;
        let done = client.forget_authority(&change(changing)).await?;
        output::change(global, "the earlier authority is trusted no longer", &done);
        return Ok(0);
    }
    let done = client.rotate_authority(&change(changing)).await?;
    output::change(global, "the cluster has a new authority; the one before stays trusted", &done);
    output::advice(
        global,
        "Next: replace access tokens (conclave token create NAME --role ROLE), then: conclave cluster rotate-authority --finish",
    );
    Ok(0)
}

async fn transfer_leader(asking: &Asking, to: Option<String>, is_dry_run: bool) -> Done {
    let change = Change { is_dry_run, ..Change::default() };
    let done = asking.client()?.transfer_leader(&TransferLeader { to }, &change).await?;
    if !output::object(&asking.global, &done.to, &done) {
        let LeaderTransfer { from, to, took_ms, .. } = &done;
        output::success(
            &asking.global,
            &match (is_dry_run, from == to) {
                (_, true) => format!("{to} leads already: unchanged"),
                (true, false) => format!("{to} would lead instead of {from}"),
                (false, false) => format!("{to} leads now instead of {from} ({took_ms} ms)"),
            },
        );
    }
    Ok(0)
}

async fn upgrade(asking: &Asking, is_final: bool, changing: &Changing) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    if is_final {
        let words = "No node can go back to an earlier version afterwards.";
        confirm_words(global, changing.is_sure(), words, "finalize")?;
        let done = client.finalize(&change(changing)).await?;
        output::change(global, &format!("the cluster is at {}", done.object), &done);
        return Ok(0);
    }
    let upgrade = client.upgrade().await?;
    if global.output == Form::Name {
        output::list(global, &UPGRADE, &upgrade.nodes, row);
    } else if !output::json(global, &upgrade) {
        let (level, since) = (upgrade.level, &upgrade.since);
        output::line(&format!(
            "Level {level}: every node runs {since} or later, and can run no earlier version\n"
        ));
        output::list(global, &UPGRADE, &upgrade.nodes, row);
        output::advice(global, &next_step(&upgrade));
    }
    Ok(0)
}

const UPGRADE: Columns<'_, UpgradeNode> = Columns {
    kind: "UpgradeNode",
    head: &["NODE", "VERSION", "KNOWS"],
    wide: &[],
    name: |one| one.name.clone(),
};

fn row(node: &UpgradeNode, _: bool) -> Vec<String> {
    let version = node.version.clone().unwrap_or_else(|| "does not answer".to_owned());
    let level = node.level.map_or_else(|| "-".to_owned(), |level| format!("level {level}"));
    vec![node.name.clone(), version, level]
}

/// Returns what is to be done next for an upgrade.
fn next_step(upgrade: &Upgrade) -> String {
    let silent: Vec<&str> = names(upgrade, |node| node.level.is_none());
    let highest = upgrade.nodes.iter().filter_map(|node| node.level).max().unwrap_or(0);
    let old: Vec<&str> = names(upgrade, |node| node.level.is_some_and(|level| level < highest));
    match (silent.as_slice(), old.as_slice(), upgrade.possible > upgrade.level) {
        ([], [], false) => "Finished: no node knows a higher level".to_owned(),
        ([], [], true) if upgrade.automatic => "The leader finalizes it by itself".to_owned(),
        ([], [], true) => {
            "Every node is upgraded. No way back afterwards: conclave cluster upgrade --finalize"
                .to_owned()
        }
        ([], old, _) => format!("Still to be upgraded: {}", old.join(" ")),
        (silent, ..) => format!("Not known, because they do not answer: {}", silent.join(" ")),
    }
}

fn names(upgrade: &Upgrade, is_wanted: impl Fn(&UpgradeNode) -> bool) -> Vec<&str> {
    let wanted = upgrade.nodes.iter().filter(|node| is_wanted(node));
    wanted.map(|node| node.name.as_str()).collect()
}

/// Writes a membership in the requested form, or that it is an old one. Returns whether it did.
fn is_told(global: &Global, made: &Membership) -> bool {
    if output::object_of(global, "Membership", &made.cluster, made) {
        return true;
    }
    if !made.changed {
        let (node, cluster) = (&made.node, &made.cluster);
        output::success(global, &format!("{node} is a member of cluster {cluster:?}: unchanged"));
    }
    !made.changed
}

/// Says where the unlock key is, and that it must be kept: without it the node can use no private
/// key, and nobody can make it anew.
pub(super) fn about_keys(global: &Global, made: &Membership) {
    if let Some(path) = &made.unlock_key {
        let text = format!(
            "Unlock key of {}: {path}    keep a copy apart from the data; without it this node can use no private key",
            made.node
        );
        output::advice(global, &text);
    }
    made.warnings.iter().for_each(|text| output::advice(global, &format!("!  {text}")));
}

/// Reads the join token from a file, from standard input, or from the terminal without echo.
fn token(asking: &Asking, file: Option<&Path>) -> Result<String, Failure> {
    let missing = || {
        Box::new(
            Problem::new(Code::JoinTokenInvalid, "no join token is given")
                .hint("--token-file FILE; on any member: conclave join-token create"),
        )
    };
    let standard_input = Path::new("-");
    let text = match file {
        Some(file) => read_token(&asking.global, file)?,
        None if !std::io::stdin().is_terminal() => read_token(&asking.global, standard_input)?,
        None if asking.global.no_input => return Err(missing()),
        None => {
            progress::end();
            prompt::secret("Token: ").map_err(|_| missing())?
        }
    };
    match text.trim() {
        "" => Err(missing()),
        token => Ok(token.to_owned()),
    }
}
