//! Commands for founding and joining a cluster.

use std::io::IsTerminal;

use conclave_api::{
    cluster::{Init, Join},
    problem::{Code, Problem},
};
use conclave_client::{Change, Failure};

use super::{Asking, Done, read_file};
use crate::{args::Cluster, output, progress};

pub(super) async fn run(asking: &Asking, command: Cluster) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Cluster::Init { name } => {
            let made = client.init(&Init { name }, &Change::default()).await?;
            if !output::json(global, &made) {
                let (cluster, id, node) = (&made.cluster, &made.id, &made.node);
                output::line(&format!(
                    "Made cluster {cluster:?} (id {id}) with one voter, {node}."
                ));
                output::advice(
                    global,
                    "Next: conclave join-token create    add nodes (three voters survive the loss of one)",
                );
            }
        }
        Cluster::Join { member } => {
            let token = token(asking)?;
            let made = client.join(&Join { address: member, token }, &Change::default()).await?;
            if !output::json(global, &made) {
                let (cluster, node, voters) = (&made.cluster, &made.node, made.voters);
                output::line(&format!(
                    "{node} is a voter of cluster {cluster:?} now ({voters} voters)."
                ));
                if voters < 3 {
                    output::advice(global, "!  no node may fail yet; add a third");
                }
            }
        }
    }
    Ok(0)
}

/// Reads the join token from a file, or from the terminal without echo.
fn token(asking: &Asking) -> Result<String, Failure> {
    if let Some(file) = &asking.global.token_file {
        return Ok(read_file(file)?.trim().to_owned());
    }
    let missing = || {
        Box::new(
            Problem::new(Code::JoinTokenInvalid, "no join token is given")
                .hint("--token-file FILE; on any member: conclave join-token create"),
        )
    };
    if asking.global.no_input || !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    progress::end();
    rpassword::prompt_password("Token: ").map_err(|_| missing())
}
