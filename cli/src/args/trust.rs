//! Commands about trusted certificates.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::Changing;

#[derive(Subcommand)]
pub(crate) enum Trust {
    /// The certificates of a set, and those that it inherits
    #[command(after_help = "Example: conclave trust list --scope domain:shop.example")]
    List {
        /// Only the certificates of the set itself
        #[arg(long)]
        no_inherited: bool,
        /// The built-in ones one by one
        #[arg(long)]
        all: bool,
    },
    /// Adds certificates and revocation lists to a set; one file may hold several
    #[command(after_help = "Example: conclave trust add --scope cluster partner-root.pem")]
    Add {
        file: PathBuf,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes certificates and revocation lists from a set, by their fingerprints
    #[command(after_help = "Example: conclave trust remove --scope cluster 77ab01 8c1f22")]
    Remove {
        #[arg(required = true)]
        fingerprints: Vec<String>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows trusted certificates whole: one of a set, or those of a file and the sets they are in
    #[command(
        after_help = "Examples: conclave trust show 77ab01 --scope domain:shop.example\n          conclave trust show partner-root.pem --scope cluster"
    )]
    Show {
        /// Beginning of a fingerprint, or a PEM file
        #[arg(value_name = "FINGERPRINT|FILE")]
        which: String,
    },
    /// Which sets count for a scope, and what they make of its certificates or of a file
    #[command(
        after_help = "Examples: conclave trust explain --scope domain:shop.example\n          conclave trust explain chain.pem --scope builtin\nExit code 8 if a certificate is not valid."
    )]
    Explain {
        /// The certificate, first, and what may lead to its authority; if not given, those of the
        /// scope's domain
        chain: Option<PathBuf>,
        #[command(flatten)]
        judging: Judging,
    },
    /// Whether a certificate is valid, by RFC 5280, and which trusted certificate makes it so
    #[command(
        after_help = "Examples: conclave trust verify chain.pem --anchors ca.pem --name shop.example\n          conclave trust verify chain.pem --scope builtin -o json\nExit code 8 if it is not valid."
    )]
    Verify {
        /// The certificate, first, and what may lead to its authority
        chain: PathBuf,
        #[command(flatten)]
        judging: Judging,
    },
}

// Criteria for the validity of a certificate. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Judging {
    /// Trusted certificates; else those of --scope
    #[arg(long)]
    pub(crate) anchors: Option<PathBuf>,
    /// More certificates that may lead to an authority
    #[arg(long)]
    pub(crate) intermediates: Option<PathBuf>,
    /// What the certificate is for
    #[arg(long, value_enum, default_value = "server")]
    pub(crate) purpose: PurposeArg,
    /// Whom it must name: a DNS name, an IP address or an e-mail address
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Point of time, as 2026-11-24T12:00:00Z; now if not given
    #[arg(long)]
    pub(crate) at: Option<jiff::Timestamp>,
    /// Revocation lists, PEM or DER; besides those of --scope
    #[arg(long)]
    pub(crate) crl: Vec<PathBuf>,
    /// Only the rules of paths (RFC 5280 §6), not those of what certificates must look like (§4)
    #[arg(long)]
    pub(crate) path_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeArg {
    Server,
    Client,
    Email,
    Any,
}
