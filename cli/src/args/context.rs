//! Words about contexts: clusters with names, kept on this machine.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Context {
    /// Lists the contexts; the one in use has a star
    #[command(after_help = "Examples:\n  conclave context list\n  conclave context list -o name")]
    List,
    /// Makes a context the one in use, for commands without --context and --address
    #[command(after_help = "Examples:\n  conclave context use prod\n  conclave context use test")]
    Use {
        /// Name of the context
        name: String,
    },
    /// Adds a context, or replaces it: where a cluster is, and how to show who you are
    #[command(
        after_help = "Examples:\n  conclave context add prod --nodes https://10.0.0.1:7443,https://10.0.0.2:7443 --token deploy.token\n  conclave context add test --nodes https://10.0.0.1:7443 --authority 5e90…\n  conclave -c test login alice --save\n  conclave context add prod --nodes https://10.0.0.1:7443 --authority 5e90… --identity alice.pem"
    )]
    Add {
        /// Name: letters, digits, - and _
        name: String,
        /// Addresses of nodes: unix:PATH or https://HOST:PORT, several with commas
        #[arg(long, value_name = "ADDRESSES")]
        nodes: String,
        /// SHA-256 of the cluster's authority; a token has it already
        #[arg(long, value_name = "SHA-256")]
        authority: Option<String>,
        /// File with an access token
        #[arg(long, value_name = "FILE")]
        token: Option<PathBuf>,
        /// File with your certificate, its chain and its key, if you log in with one
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Removes a context, with the session that it keeps
    #[command(
        after_help = "Examples:\n  conclave context remove test\n  conclave context remove prod"
    )]
    Remove {
        /// Name of the context
        name: String,
    },
}
