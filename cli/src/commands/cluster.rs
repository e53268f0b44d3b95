//! Commands for founding and joining a cluster, and for its leadership.

use std::{io::IsTerminal, path::Path};

use conclave_api::{
    cluster::{Init, Join, LeaderTransfer, Membership, TransferLeader},
    problem::{Code, Problem},
};
use conclave_client::{Change, Failure};

use super::{Asking, Done, prompt, read_token};
use crate::{
    args::{Cluster, Global},
    output, progress,
};

pub(super) async fn run(asking: &Asking, command: Cluster) -> Done {
    if let Cluster::TransferLeader { node, dry_run } = command {
        return transfer_leader(asking, node, dry_run).await;
    }
    let (client, global) = (asking.client()?.for_one_node()?, &asking.global);
    match command {
        Cluster::TransferLeader { .. } => {}
        Cluster::Init { name, missing } => {
            let change = Change { is_if_missing: missing.if_missing, ..Change::default() };
            let made = client.init(&Init { name }, &change).await?;
            if !is_told(global, &made) {
                let (cluster, id, node) = (&made.cluster, &made.id, &made.node);
                output::success(
                    global,
                    &format!("Made cluster {cluster:?} (id {id}) with one voter, {node}."),
                );
                about_keys(global, &made);
                output::advice(
                    global,
                    "Next: conclave join-token create    add nodes (three voters survive the loss of one)",
                );
            }
        }
        // Needs no running node, so it never comes here.
        Cluster::Recover { .. } => {}
        Cluster::Join { member, learner, zone, replace, token_file, missing } => {
            let token = token(asking, token_file.as_deref())?;
            let change = Change { is_if_missing: missing.if_missing, ..Change::default() };
            let join = Join { address: member, token, learner, zone, replaces: replace };
            let made = client.join(&join, &change).await?;
            if !is_told(global, &made) {
                let (cluster, node, voters) = (&made.cluster, &made.node, made.voters);
                let role = if made.learner { "learner" } else { "voter" };
                let text =
                    format!("{node} is a {role} of cluster {cluster:?} now ({voters} voters).");
                output::success(global, &text);
                about_keys(global, &made);
                if voters < 3 {
                    output::advice(global, "!  no node may fail yet; add a third");
                }
            }
        }
    }
    Ok(0)
}

/// Unlike the other commands it may ask any node.
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
