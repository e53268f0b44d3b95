//! Commands about trusted certificates.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Changing, IfExists, point_of_time};

#[derive(Subcommand)]
pub(crate) enum Trust {
    /// Lists the certificates of a set, and those that it inherits
    #[command(
        after_help = "Examples:\n  conclave trust list\n  conclave trust list --scope domain:shop.example --all"
    )]
    List {
        /// Only the certificates of the set itself
        #[arg(long)]
        no_inherited: bool,
        /// List the built-in ones one by one
        #[arg(long)]
        all: bool,
    },
    /// Adds certificates and revocation lists to a set; one file may hold several
    #[command(
        after_help = "Examples:\n  conclave trust add --scope cluster partner-root.pem\n  conclave trust add --scope domain:shop.example issuer.pem"
    )]
    Add {
        /// PEM or DER file of certificates and revocation lists; - for standard input
        file: PathBuf,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes certificates and revocation lists from a set, by their fingerprints
    #[command(
        after_help = "Examples:\n  conclave trust remove --scope cluster 77ab01\n  conclave trust remove --scope domain:shop.example 77ab01 8c1f22 --yes"
    )]
    Remove {
        /// Fingerprints, or their first digits: conclave trust list -o name prints them
        #[arg(required = true, value_name = "FINGERPRINT")]
        fingerprints: Vec<String>,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows a trusted certificate in full, or those of a file, with the sets that hold them
    #[command(
        after_help = "Examples:\n  conclave trust show 77ab01 --scope domain:shop.example\n  conclave trust show partner-root.pem --scope cluster"
    )]
    Show {
        /// Beginning of a fingerprint, or a PEM file
        #[arg(value_name = "FINGERPRINT|FILE")]
        which: String,
    },
    /// Shows which sets are used for a scope, and whether its certificates are valid by them
    #[command(
        after_help = "Examples:\n  conclave trust explain --scope domain:shop.example\n  conclave trust explain chain.pem --scope builtin\nExit code 8 if a certificate is not valid."
    )]
    Explain {
        /// PEM file: the certificate first, then others that may lead to its authority [default: the
        /// certificates of the domain in --scope]
        chain: Option<PathBuf>,
        #[command(flatten)]
        judging: Judging,
    },
    /// Tells whether a certificate is valid by RFC 5280, and by which trusted certificate
    #[command(
        after_help = "Examples:\n  conclave trust verify chain.pem --anchors ca.pem --name shop.example\n  conclave trust verify chain.pem --scope builtin -o json\nExit code 8 if it is not valid."
    )]
    Verify {
        /// PEM file: the certificate first, then others that may lead to its authority
        chain: PathBuf,
        #[command(flatten)]
        judging: Judging,
    },
}

// Criteria for the validity of a certificate. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Judging {
    /// File of trusted certificates [default: those of --scope]
    #[arg(long, value_name = "FILE")]
    pub(crate) anchors: Option<PathBuf>,
    /// File of more certificates that may lead to an authority
    #[arg(long, value_name = "FILE")]
    pub(crate) intermediates: Option<PathBuf>,
    /// Purpose of the certificate
    #[arg(long, value_enum, default_value = "server")]
    pub(crate) purpose: PurposeArg,
    /// Name that it must have: a DNS name, an IP address or an e-mail address [default: any]
    #[arg(long, value_parser = conclave_node::server_name)]
    pub(crate) name: Option<String>,
    /// Time of the check, as 2028-01-31 or 2028-01-31T12:00:00Z [default: now]
    #[arg(long, value_parser = point_of_time, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// File of revocation lists, PEM or DER, besides those of --scope; as often as needed
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Vec<PathBuf>,
    /// Check only the rules of paths (RFC 5280 §6), not those of the form of certificates (§4)
    #[arg(long)]
    pub(crate) path_only: bool,
    /// Rules of validity: RFC 5280, or also what browsers demand of public certificates
    #[arg(long, value_enum, default_value = "rfc5280", conflicts_with = "path_only")]
    pub(crate) profile: ProfileArg,
    /// Most intermediates in the path; self-issued ones do not count
    #[arg(long, value_name = "COUNT")]
    pub(crate) depth: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    Rfc5280,
    Webpki,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeArg {
    Server,
    Client,
    Email,
    Any,
}
