//! Words that the command line understands.

mod access;
mod account;
mod apply;
mod backup;
mod cluster;
mod context;
mod domain;
mod keyring;
mod message;
mod pki;
mod screens;
mod smime;
mod time;
mod tls;
mod trust;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args as ClapArgs, FromArgMatches, Parser, Subcommand, ValueEnum};

pub(crate) use access::{Audit, Choosing, Events, LoggingIn, RoleCommand, Token, User};
pub(crate) use account::{Account, AccountCert, AccountKey, Issuing as AccountIssuing};
pub(crate) use apply::{Applying, Exporting};
pub(crate) use backup::{Backup, Creating, Opening, Source};
pub(crate) use cluster::{Cluster, Config, JoinToken, Node, Server};
pub(crate) use context::Context;
pub(crate) use domain::Domain;
pub(crate) use keyring::{Keyring, Rekeying};
pub(crate) use message::{
    CipherArg, DecryptMessage, EncryptMessage, FilterMessages, Owner, SignMessage, VerifyMessage,
    WithoutCertificate,
};
pub(crate) use pki::{Cert, Chain, Csr, Fields, Key, Of, Requesting, Taking};
pub(crate) use screens::command;
pub(crate) use smime::{Smime, SmimeSubject};
pub(crate) use time::{duration, point_of_time};
pub(crate) use tls::{ClientAuth, Listener, ListenerAdd, ListenerSet, Tls, TlsSet, assignment};
pub(crate) use trust::{Judging, ProfileArg, PurposeArg, Trust};

/// Heading of the options that most commands have.
pub(crate) const EVERYWHERE: &str = "Options everywhere";

/// Keeps the certificates and private keys of a whole cluster, and terminates TLS on every node.
#[derive(Parser)]
#[command(name = "conclave", version, propagate_version = true, arg_required_else_help = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(
    after_help = "Examples:\n  conclave demo\n  conclave status\n  conclave help domain create"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the arguments of this process.
    pub(crate) fn read() -> Result<Args, clap::Error> {
        Args::from_arg_matches(&command().try_get_matches()?)
    }
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table, or a few lines
    Table,
    /// The same with more columns, and nothing shortened
    Wide,
    /// One JSON object
    Json,
    /// One line of JSON for each object
    Jsonl,
    /// Only names that the next command takes, one a line
    Name,
}

// A doc comment here would replace the description of every command that flattens it. The
// environment is read by hand: clap would name an option in every usage line once it is set there.
#[derive(Clone, ClapArgs)]
#[command(next_help_heading = EVERYWHERE)]
pub(crate) struct Global {
    /// Node to ask: unix:PATH or https://HOST:PORT; several with commas, until one answers
    /// [env: CONCLAVE_ADDRESS] [default: unix:/run/conclave/admin.sock]
    #[arg(long, global = true)]
    pub(crate) address: Option<String>,
    /// Context to use: conclave context list [env: CONCLAVE_CONTEXT]
    #[arg(short, long, global = true, value_name = "NAME", conflicts_with = "address")]
    pub(crate) context: Option<String>,
    /// File with an access token, for https addresses [env: CONCLAVE_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Name or address that the certificate of the node must be for [default: the one asked]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Form of the answer: table, wide, json, jsonl or name
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORM")]
    #[arg(hide_possible_values = true)]
    pub(crate) output: Form,
    /// Longest time for the command, as 15s or 500ms
    #[arg(long, global = true, value_parser = duration, default_value = "15s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Never ask a question; fail instead
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Print only errors and requested data
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Show what the asked node knows, without asking the leader
    #[arg(long, global = true)]
    pub(crate) stale: bool,
    /// Only domains that are shared (the cluster's) or local (the node's own) [default: both]
    #[arg(long, global = true)]
    pub(crate) scope: Option<String>,
    /// Print this help
    #[arg(short, long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, global = true, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Clone, ClapArgs)]
pub(crate) struct Changing {
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Change only if this is still the version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Id of the operation; under one id it is done only once [default: a new id]
    #[arg(long, value_name = "ID")]
    pub(crate) operation: Option<String>,
    /// Wait until every live node uses the change (served), or until it is stored (committed)
    #[arg(long, value_parser = ["served", "committed"], default_value = "served")]
    #[arg(value_name = "UNTIL", hide_possible_values = true)]
    pub(crate) wait: String,
    /// Fail if the change is not in use on every node
    #[arg(long)]
    pub(crate) require_all: bool,
}

impl Changing {
    /// Returns whether a removal needs no confirmation.
    pub(crate) fn is_sure(&self) -> bool {
        self.yes || self.dry_run
    }
}

// Treatment of what exists already. No doc comment, see Global.
#[derive(Clone, ClapArgs)]
pub(crate) struct IfMissing {
    /// Leave it as it is if it exists already
    #[arg(long)]
    pub(crate) if_missing: bool,
}

// Treatment of what does not exist. No doc comment, see Global.
#[derive(Clone, ClapArgs)]
pub(crate) struct IfExists {
    /// Do nothing if it does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts three nodes on this machine and shows step by step what they do
    #[command(after_help = "Examples:\n  conclave demo\n  conclave help demo")]
    Demo,
    /// Configuration file of a node: a first one, and a check
    #[command(subcommand)]
    Config(Config),
    /// Runs a node
    #[command(subcommand)]
    Server(Server),
    /// Founds or joins a cluster, or changes who leads it
    #[command(subcommand)]
    Cluster(Cluster),
    /// Tokens that let a node join
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Members of the cluster
    #[command(subcommand)]
    Node(Node),
    /// Health of the cluster; exit code 9 if something needs attention
    #[command(after_help = "Examples:\n  conclave status\n  conclave status -o wide")]
    Status,
    /// Draws what the nodes do, until q is pressed; once if the output is no terminal
    #[command(
        after_help = "Examples:\n  conclave top\n  conclave top --once\n  conclave top -o json"
    )]
    Top {
        /// Draw one frame, after a second, and end
        #[arg(long)]
        once: bool,
        /// Time between two looks, 500ms at least
        #[arg(long, value_parser = duration, default_value = "2s", value_name = "TIME")]
        every: Duration,
    },
    /// Looks for what is wrong with a node, its machine and its cluster; exit code 9 if anything is
    #[command(
        after_help = "Examples:\n  conclave doctor\n  conclave doctor --config conclave.toml -o json"
    )]
    Doctor {
        /// Configuration file of the node
        #[arg(long, default_value = "/etc/conclave/conclave.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Domains: names with their keys, certificates and settings
    #[command(subcommand)]
    Domain(Domain),
    /// Private keys of domains
    #[command(subcommand)]
    Key(Key),
    /// Signing requests
    #[command(subcommand)]
    Csr(Csr),
    /// Certificates of domains
    #[command(subcommand)]
    Cert(Cert),
    /// CA chains of domains
    #[command(subcommand)]
    Chain(Chain),
    /// S/MIME: issuers of the certificates of accounts, and messages
    #[command(subcommand)]
    Smime(Smime),
    /// Accounts: e-mail addresses with keys and certificates for S/MIME
    #[command(subcommand)]
    Account(Account),
    /// Sockets where TLS ends
    #[command(subcommand)]
    Listener(Listener),
    /// TLS settings of the cluster, sessions, and a probe for any server
    #[command(subcommand)]
    Tls(Tls),
    /// Trusted certificates, and whether other certificates are valid by them
    #[command(subcommand)]
    Trust(Trust),
    /// Client certificates of domains
    #[command(subcommand)]
    ClientAuth(ClientAuth),
    /// Access tokens of the admin API
    #[command(subcommand)]
    Token(Token),
    /// Roles: what they allow
    #[command(subcommand)]
    Role(RoleCommand),
    /// Users of the admin API, who log in
    #[command(subcommand)]
    User(User),
    /// Logs a user in; the token of the session is written once, and ends after 12 hours
    #[command(
        after_help = "Examples:\n  conclave login alice --address https://node-1:7443 --authority 5e90… > alice.session\n  conclave login alice --password-file alice.password --code 123456"
    )]
    Login(LoggingIn),
    /// Ends the session of --token-file
    #[command(
        after_help = "Examples:\n  conclave logout --address https://node-1:7443 --token-file alice.session\n  conclave logout"
    )]
    Logout,
    /// Audit trail: who did what, and what was refused
    #[command(subcommand)]
    Audit(Audit),
    /// Follows what changes: domains, certificates, listeners, nodes, the leader
    #[command(
        after_help = "Examples:\n  conclave events\n  conclave events --kind certificate -o jsonl\n  conclave events --after 4711.93 --count 1\nIt goes on at another node of --address when one stops, and misses nothing."
    )]
    Events(Events),
    /// Keys that seal the private keys of domains
    #[command(subcommand)]
    Keyring(Keyring),
    /// Backups of the whole cluster: one encrypted and signed file
    #[command(subcommand)]
    Backup(Backup),
    /// Makes the cluster what a document says: domains, listeners, trusted certificates, TLS settings
    #[command(
        after_help = "Examples:\n  conclave apply -f shop.toml --dry-run\n  conclave export | conclave apply -f -\nWhat the document does not name stays, unless --prune is given."
    )]
    Apply(Applying),
    /// Writes the document from which apply makes the same again; it holds no secret
    #[command(
        after_help = "Examples:\n  conclave export > cluster.toml\n  conclave export --dir backup -o json"
    )]
    Export(Exporting),
    /// Contexts: clusters with names, for --context
    #[command(subcommand)]
    Context(Context),
    /// Meaning of an error code, and what to do
    #[command(
        after_help = "Examples:\n  conclave explain K002\n  conclave explain recover\n  conclave explain --list"
    )]
    Explain {
        /// Code of an error, as K002, or a topic: recover
        #[arg(required_unless_present = "list")]
        code: Option<String>,
        /// List all codes
        #[arg(long, conflicts_with = "code")]
        list: bool,
    },
    /// Completion script for a shell
    #[command(
        after_help = "Examples:\n  conclave completion bash > /etc/bash_completion.d/conclave\n  conclave completion zsh > ~/.zfunc/_conclave"
    )]
    Completion {
        /// Shell that will read the script
        shell: clap_complete::Shell,
    },
    /// Manual pages, one for each command, written to a directory
    #[command(
        after_help = "Examples:\n  conclave man /usr/local/share/man/man1\n  conclave man . && man ./conclave-status.1"
    )]
    Man {
        /// Directory for the pages; it must exist
        directory: PathBuf,
    },
}
