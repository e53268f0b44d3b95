//! Words for the keyring, and for the unlocking of a node.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Changing;

#[derive(Subcommand)]
pub(crate) enum Keyring {
    /// Shows the generations of the keyring, which nodes can open it, and how this node unlocks
    #[command(
        after_help = "Examples:\n  conclave keyring status\n  conclave keyring status -o json"
    )]
    Status,
    /// Makes a new generation; whatever is stored from now on is sealed under it
    #[command(
        after_help = "Examples:\n  conclave keyring rotate\n  conclave keyring rotate --reason 'yearly rotation'"
    )]
    Rotate {
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes this node forget all private keys: new TLS connections are refused, open ones stay
    #[command(
        after_help = "Examples:\n  conclave keyring seal\n  conclave keyring seal --address https://node-3:7443 --token-file F"
    )]
    Seal,
    /// Opens the keyring on this node; sets the passphrase of a new node
    #[command(
        after_help = "Examples:\n  conclave keyring unseal\n  conclave keyring unseal --passphrase-file FILE\n  conclave keyring unseal --share-file FILE\nA node that opens with shares takes one at a time. The passphrase or share is asked for if no file is given."
    )]
    Unseal {
        /// File whose first line is the passphrase; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "share_file")]
        passphrase_file: Option<PathBuf>,
        /// File with one share; - is standard input
        #[arg(long, value_name = "FILE")]
        share_file: Option<PathBuf>,
    },
    /// Changes how this node unlocks; it must be unsealed
    #[command(
        after_help = "Examples:\n  conclave keyring rekey --unseal-shares 3/5 --shares-out FILE\n  conclave keyring rekey --passphrase-file FILE\n  conclave keyring rekey --passphrase\n  conclave keyring rekey --file"
    )]
    Rekey(Rekeying),
}

#[derive(Args)]
#[command(group(ArgGroup::new("new_key").required(true).args(["unseal_shares", "passphrase", "passphrase_file", "file"])))]
pub(crate) struct Rekeying {
    /// Split a new key into shares: 3/5 makes five, of which any three unseal the node
    #[arg(long, value_name = "K/N", value_parser = shares)]
    pub(crate) unseal_shares: Option<(u8, u8)>,
    /// Write the shares to this new file instead of showing them
    #[arg(long, value_name = "FILE", requires = "unseal_shares")]
    pub(crate) shares_out: Option<PathBuf>,
    /// Ask for a passphrase that unseals the node from now on
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// File whose first line is the new passphrase; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Use the file or credential that the configuration names; a missing file is made
    #[arg(long)]
    pub(crate) file: bool,
}

/// Parses the numbers of needed and of all shares.
fn shares(text: &str) -> Result<(u8, u8), String> {
    let numbers = text
        .split_once('/')
        .and_then(|(needed, count)| Some((needed.parse::<u8>().ok()?, count.parse::<u8>().ok()?)));
    numbers.ok_or_else(|| "expected K/N, as 3/5".to_owned())
}
