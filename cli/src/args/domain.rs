//! Words for domains.

use clap::Subcommand;
use conclave_api::domain::{DomainOrder, DomainState};

use super::{Changing, IfExists, IfMissing};

/// Modes of the PKI services.
const PKI: [&str; 3] = ["disabled", "test", "enabled"];

#[derive(Subcommand)]
pub(crate) enum Domain {
    /// Makes a domain
    #[command(
        after_help = "Examples:\n  conclave domain create shop.example --alias www.shop.example --pki enabled\n  conclave domain create shop.example --alias '*.shop.example' --ip 192.0.2.7"
    )]
    Create {
        /// Name of the domain
        name: String,
        /// Further name, as often as needed; *.NAME stands for all names with one more part
        #[arg(long)]
        alias: Vec<String>,
        /// Local address that means this domain when a client sends no name, as often as needed
        #[arg(long = "ip", value_name = "ADDRESS")]
        ip: Vec<String>,
        /// PKI services: disabled (TLS is refused), test (nodes show test certificates) or enabled
        /// [default: test]
        #[arg(long, value_parser = PKI, value_name = "MODE", hide_possible_values = true)]
        pki: Option<String>,
        #[command(flatten)]
        missing: IfMissing,
        #[command(flatten)]
        changing: Changing,
    },
    /// Lists domains
    #[command(
        after_help = "Examples:\n  conclave domain list\n  conclave domain list -o name\n  conclave domain list --state problem\n  conclave domain list --sort expiry --search shop\n  conclave domain list --exposed-to node-3"
    )]
    List {
        /// Only domains with a name or an alias that contains this
        #[arg(long, value_name = "TEXT", conflicts_with = "exposed_to")]
        search: Option<String>,
        /// Only domains that are valid, expiring, problem, test or disabled
        #[arg(long, value_name = "STATE", conflicts_with = "exposed_to")]
        state: Option<DomainState>,
        /// By name, or by expiry: what ends first comes first [default: name]
        #[arg(long, value_name = "ORDER", conflicts_with = "exposed_to")]
        sort: Option<DomainOrder>,
        /// Only the private keys that this node can open, or could when it left
        #[arg(long, value_name = "NODE")]
        exposed_to: Option<String>,
    },
    /// Shows a domain with all its settings
    #[command(
        after_help = "Examples:\n  conclave domain show shop.example\n  conclave domain show shop.example -o json"
    )]
    Show {
        /// Name of the domain
        name: String,
    },
    /// Looks for problems of a domain, on every node; exit code 9 if there are any
    #[command(
        after_help = "Examples:\n  conclave domain check shop.example\n  conclave domain list -o name | xargs -n1 conclave domain check"
    )]
    Check {
        /// Name of the domain
        name: String,
    },
    /// Changes settings of a domain; those that are not given stay
    #[command(
        after_help = "Examples:\n  conclave domain set shop.example --pki enabled\n  conclave domain set shop.example --alias www.shop.example --alias m.shop.example"
    )]
    Set {
        /// Name of the domain
        name: String,
        /// PKI services: disabled (TLS is refused), test (nodes show test certificates) or enabled
        #[arg(long, value_parser = PKI, value_name = "MODE", hide_possible_values = true)]
        pki: Option<String>,
        /// Alias, as often as needed; together they replace the present ones
        #[arg(long)]
        alias: Option<Vec<String>>,
        /// Address, as often as needed; together they replace the present ones
        #[arg(long = "ip", value_name = "ADDRESS")]
        ip: Option<Vec<String>>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Adds and removes aliases; the others stay
    #[command(
        after_help = "Examples:\n  conclave domain alias shop.example --add www.shop.example\n  conclave domain alias shop.example --remove www.shop.example --add m.shop.example"
    )]
    Alias {
        /// Name of the domain
        name: String,
        /// Alias to add, as often as needed
        #[arg(long, value_name = "ALIAS")]
        add: Vec<String>,
        /// Alias to remove, as often as needed
        #[arg(long, value_name = "ALIAS", required_unless_present = "add")]
        remove: Vec<String>,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Lists the versions of a domain: who changed what, when and why
    #[command(
        after_help = "Examples:\n  conclave domain history shop.example\n  conclave domain history shop.example -o wide"
    )]
    History {
        /// Name of the domain
        name: String,
    },
    /// Restores an earlier version, key and certificate included
    #[command(
        after_help = "Examples:\n  conclave domain rollback shop.example 8 --dry-run\n  conclave domain rollback shop.example 8 --reason 'wrong certificate'"
    )]
    Rollback {
        /// Name of the domain
        name: String,
        /// Version to restore: conclave domain history lists them
        #[arg(value_name = "VERSION")]
        earlier: u64,
        #[command(flatten)]
        changing: Changing,
    },
    /// Gives a domain another name; key, certificate and settings stay
    #[command(
        after_help = "Examples:\n  conclave domain rename shop.example store.example\n  conclave domain rename shop.example store.example --dry-run"
    )]
    Rename {
        /// Present name of the domain
        name: String,
        /// New name of the domain
        new_name: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes a domain with its key and certificate
    #[command(
        after_help = "Examples:\n  conclave domain delete shop.example\n  conclave domain delete shop.example --yes"
    )]
    Delete {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}
