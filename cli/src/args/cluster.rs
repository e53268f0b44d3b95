//! Words for nodes, the cluster and its tokens.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;

use super::{Changing, IfExists, IfMissing, duration};

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Prints a file to start from, with every setting and its default
    #[command(
        after_help = "Examples:\n  conclave config init > conclave.toml\n  conclave config init | sudo tee /etc/conclave/conclave.toml"
    )]
    Init,
    /// Checks a file without starting a node
    #[command(
        after_help = "Examples:\n  conclave config check conclave.toml\n  conclave config check /etc/conclave/conclave.toml && systemctl restart conclave"
    )]
    Check {
        /// Configuration file
        file: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum Server {
    /// Runs a node until it is told to stop
    #[command(
        after_help = "Examples:\n  conclave server run\n  conclave server run --config conclave.toml\n  conclave server run --config conclave.toml --take-over --deadline 1h"
    )]
    Run {
        /// Configuration file of this node
        #[arg(long, default_value = "/etc/conclave/conclave.toml", value_name = "FILE")]
        config: PathBuf,
        /// Take the sockets of the running node, which then ends; no client is refused meanwhile
        #[arg(long)]
        take_over: bool,
        /// With --take-over: time after which the connections of the earlier process are closed
        #[arg(long, value_parser = duration, default_value = "10m", value_name = "TIME")]
        deadline: Duration,
    },
}

#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Founds a cluster with this node as its first member
    #[command(
        after_help = "Examples:\n  conclave cluster init --name prod\n  conclave cluster init --name prod --address unix:/run/conclave/admin.sock"
    )]
    Init {
        /// Name of the cluster
        #[arg(long)]
        name: String,
        #[command(flatten)]
        missing: IfMissing,
    },
    /// Makes this node a member of another node's cluster
    #[command(
        after_help = "Examples:\n  conclave cluster join 10.0.0.1:7444\n  conclave cluster join 10.0.0.1:7444 --token-file join.token\n  ssh node-1 conclave -q join-token create | conclave cluster join 10.0.0.1:7444\n  conclave cluster join 10.0.0.1:7444 --replace node-3"
    )]
    Join {
        /// HOST:PORT at which a member answers other nodes: conclave join-token create prints it
        #[arg(value_name = "HOST:PORT")]
        member: String,
        /// Get everything and serve, but do not vote
        #[arg(long)]
        learner: bool,
        /// Failure zone of this node, as a data centre or a rack
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        zone: String,
        /// Take the place of this member, which is gone for ever and opens nothing new from now on
        #[arg(long, value_name = "NODE")]
        replace: Option<String>,
        /// File that holds the join token, - for standard input; without it the token is asked
        /// for, or read from standard input if that is no terminal
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        missing: IfMissing,
    },
    /// Lets another voter lead: the named one, or the best one
    #[command(
        after_help = "Examples:\n  conclave cluster transfer-leader\n  conclave cluster transfer-leader node-2\n  conclave cluster transfer-leader node-2 --dry-run\nA node that stops or is drained hands over by itself."
    )]
    TransferLeader {
        /// Name of the voter [default: the one with the longest log]
        node: Option<String>,
        /// Only show who would lead
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows how far a rolling upgrade is, or ends it
    #[command(
        after_help = "Examples:\n  conclave cluster upgrade\n  conclave cluster upgrade --finalize\nUntil an upgrade is finalized each node can go back to the earlier version."
    )]
    Upgrade {
        /// Use the new rules from now on; no node can go back to an earlier version afterwards
        #[arg(long)]
        finalize: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Replaces the authority that certifies the nodes; the one before stays trusted until --finish
    #[command(
        after_help = "Examples:\n  conclave cluster rotate-authority\n  conclave cluster rotate-authority --finish\nIn between replace the access tokens made before: they find no node over HTTPS after --finish."
    )]
    RotateAuthority {
        /// End the trust in the authority before the present one
        #[arg(long)]
        finish: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes this stopped node the only voter, after the quorum is lost for ever
    #[command(
        after_help = "Examples:\n  conclave cluster recover --dry-run\n  conclave cluster recover --config /etc/conclave/conclave.toml\nFirst run it with --dry-run on every survivor: conclave explain recover."
    )]
    Recover {
        /// Configuration file of this node
        #[arg(long, default_value = "/etc/conclave/conclave.toml", value_name = "FILE")]
        config: PathBuf,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum JoinToken {
    /// Makes a token with which one node can join, once
    #[command(
        after_help = "Examples:\n  conclave join-token create\n  conclave join-token create --expires-in 10m"
    )]
    Create {
        /// Time until it expires, as 10m, 1h or 7d
        #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
        expires_in: Duration,
    },
    /// Lists join tokens, without their secrets
    #[command(
        after_help = "Examples:\n  conclave join-token list\n  conclave join-token list -o json"
    )]
    List,
    /// Ends a join token
    #[command(
        after_help = "Examples:\n  conclave join-token revoke 0123456789abcdef\n  conclave join-token revoke 0123456789abcdef --yes"
    )]
    Revoke {
        /// Id of the token: conclave join-token list shows it
        id: String,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Node {
    /// Lists members, their roles, and how far each one is behind
    #[command(after_help = "Examples:\n  conclave node list\n  conclave node list -o wide")]
    List,
    /// Lets a node take no new connections, and waits until the existing ones have ended
    #[command(
        after_help = "Examples:\n  conclave node drain node-3 --deadline 10m\n  conclave node drain node-3 --no-wait\nA restarted node serves again."
    )]
    Drain {
        /// Name of the node
        name: String,
        /// Time after which the remaining connections are closed
        #[arg(long, value_parser = duration, default_value = "10m", value_name = "TIME")]
        deadline: Duration,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
    },
    /// Makes a learner a voter
    #[command(
        after_help = "Examples:\n  conclave node promote node-4\n  conclave node promote node-4 --dry-run\nIt votes as soon as it has caught up."
    )]
    Promote {
        /// Name of the node
        name: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes a voter a learner, which gets everything and does not vote
    #[command(
        after_help = "Examples:\n  conclave node demote node-4\n  conclave node demote node-4 --dry-run"
    )]
    Demote {
        /// Name of the node
        name: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Changes the zone of a node
    #[command(
        after_help = "Examples:\n  conclave node set node-4 --zone rack-7\n  conclave node set node-4 --zone \"\""
    )]
    Set {
        /// Name of the node
        name: String,
        /// Failure zone, as a data centre or a rack; empty: none
        #[arg(long, value_name = "NAME")]
        zone: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes a node for ever: it opens nothing that is sealed afterwards
    #[command(
        after_help = "Examples:\n  conclave node remove node-3\n  conclave domain list --exposed-to node-3\nThe second command lists the keys that it may have kept. Its disk is not touched."
    )]
    Remove {
        /// Name of the node
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Lets a drained node serve again
    #[command(
        after_help = "Examples:\n  conclave node resume node-3\n  conclave node resume node-3 -o json"
    )]
    Resume {
        /// Name of the node
        name: String,
    },
}
