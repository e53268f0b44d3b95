//! Words that the command line understands.

mod pki;
mod tls;
mod trust;

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use pki::{Cert, Chain, Csr, Fields, Key, Requesting, Taking};
pub(crate) use tls::{ClientAuth, ListenerAdd, Tls, TlsSet};
pub(crate) use trust::{Judging, PurposeArg, Trust};

/// Keeps the certificates and private keys of a whole cluster, and terminates TLS from them on
/// every node.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Table,
    Wide,
    Json,
    Jsonl,
    Name,
}

// A doc comment here would replace the description of every command that flattens it.
#[derive(Clone, ClapArgs)]
pub(crate) struct Global {
    /// Node to ask: unix:PATH or https://HOST:PORT
    #[arg(long, global = true, env = "CONCLAVE_ADDRESS")]
    pub(crate) address: Option<String>,
    /// File that holds an access token, for https addresses
    #[arg(long, global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Form,
    /// Longest time for the command, as 15s or 500ms
    #[arg(long, global = true, value_parser = duration, default_value = "15s")]
    pub(crate) timeout: Duration,
    /// Never ask; fail instead
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Only errors, and what was asked for
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Be content with what the node has, without asking the leader
    #[arg(long, global = true)]
    pub(crate) stale: bool,
    /// Only this scope: shared or local; for trust: builtin, server, cluster or domain:NAME
    #[arg(long, global = true)]
    pub(crate) scope: Option<String>,
}

#[derive(Clone, ClapArgs)]
pub(crate) struct Changing {
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before removing
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only if the domain, or the TLS settings, are at this version
    #[arg(long)]
    pub(crate) if_version: Option<u64>,
    /// Why, for the history
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Id under which a repetition is done only once
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// Wait until all live nodes serve the change, or only until it is committed
    #[arg(long, value_parser = ["served", "committed"], default_value = "served")]
    pub(crate) wait: String,
    /// Fail if the change is not in use on every node
    #[arg(long)]
    pub(crate) require_all: bool,
}

/// Reads a duration as `15s`, `500ms`, `1h 30m` or `7d`, a day being 24 hours. A bare number means
/// seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let days_are_24_hours = jiff::SpanRelativeTo::days_are_24_hours();
    let span = text.parse::<jiff::Span>().and_then(|span| span.to_duration(days_are_24_hours));
    let duration = span.ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("invalid duration {text:?}, expected e.g. 500ms, 15s, 2h or 7d"))
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Three real nodes on this machine: the main job, told step by step
    #[command(after_help = "Example: conclave demo")]
    Demo,
    /// How the cluster is; exit code 9 if something needs attention
    #[command(after_help = "Example: conclave status -o json")]
    Status,
    /// What an error code means
    #[command(after_help = "Example: conclave explain K002")]
    Explain { code: String },
    /// Completion for a shell, to be sourced by it
    #[command(after_help = "Example: conclave completion bash > /etc/bash_completion.d/conclave")]
    Completion {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Manual pages, one for each command, written to a directory
    #[command(after_help = "Example: conclave man /usr/local/share/man/man1")]
    Man {
        /// Directory of the pages
        directory: PathBuf,
    },
    /// The node process
    #[command(subcommand)]
    Server(Server),
    /// The cluster as a whole
    #[command(subcommand)]
    Cluster(Cluster),
    /// Members of the cluster
    #[command(subcommand)]
    Node(Node),
    /// Tokens that let a node join
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Access tokens of the admin API
    #[command(subcommand)]
    Token(Token),
    /// The key that protects private keys
    #[command(subcommand)]
    Keyring(Keyring),
    /// Domains
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
    /// Trusted certificates, and what they make of others
    #[command(subcommand)]
    Trust(Trust),
    /// TLS settings of the cluster, and sessions
    #[command(subcommand)]
    Tls(Tls),
    /// Client certificates of domains
    #[command(subcommand)]
    ClientAuth(ClientAuth),
    /// Sockets where TLS ends
    #[command(subcommand)]
    Listener(Listener),
    /// The configuration file of a node
    #[command(subcommand)]
    Config(Config),
}

#[derive(Subcommand)]
pub(crate) enum Server {
    /// Runs a node until it is told to stop
    #[command(after_help = "Example: conclave server run --config /etc/conclave/conclave.toml")]
    Run {
        /// Settings of this node
        #[arg(long, default_value = "/etc/conclave/conclave.toml")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Founds a cluster with this node as its first member
    #[command(after_help = "Example: conclave cluster init --name prod")]
    Init {
        /// Name of the cluster
        #[arg(long)]
        name: String,
    },
    /// Makes this node a member of another node's cluster
    #[command(after_help = "Example: conclave cluster join 10.0.0.1:7444 --token-file token")]
    Join {
        /// HOST:PORT at which a member answers other nodes; the token is asked for, or read
        /// from --token-file
        member: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Node {
    /// Members, their roles and how far they are
    #[command(after_help = "Example: conclave node list")]
    List,
    /// Has a node take no new connections, and waits until the old ones have ended
    #[command(
        after_help = "Example: conclave node drain node-3 --deadline 10m\nA node that is restarted serves again."
    )]
    Drain {
        name: String,
        /// Time after which connections that still stand are closed
        #[arg(long, value_parser = duration, default_value = "10m")]
        deadline: Duration,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
    },
    /// Has a drained node serve again
    #[command(after_help = "Example: conclave node resume node-3")]
    Resume { name: String },
}

#[derive(Subcommand)]
pub(crate) enum JoinToken {
    /// Makes a token with which one node can join, once
    #[command(after_help = "Example: conclave join-token create --expires-in 10m")]
    Create {
        /// Time until it expires
        #[arg(long, value_parser = duration, default_value = "1h")]
        expires_in: Duration,
    },
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Makes an access token; it is shown once
    #[command(after_help = "Example: conclave token create deploy --expires-in 720h")]
    Create {
        name: String,
        /// Time until it expires; never if not given
        #[arg(long, value_parser = duration)]
        expires_in: Option<Duration>,
    },
    /// Lists access tokens, without their secrets
    #[command(after_help = "Example: conclave token list")]
    List,
    /// Ends an access token
    #[command(after_help = "Example: conclave token revoke 0123456789abcdef --yes")]
    Revoke {
        id: String,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Keyring {
    /// Generations of the keyring, and who can open them
    #[command(after_help = "Example: conclave keyring status")]
    Status,
    /// Makes a new generation; everything new is sealed under it
    #[command(after_help = "Example: conclave keyring rotate")]
    Rotate {
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Domain {
    /// Gives a domain another name; key, certificate and the rest stay
    #[command(after_help = "Example: conclave domain rename shop.example store.example")]
    Rename {
        name: String,
        new_name: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Versions of a domain: who changed what, when and why
    #[command(after_help = "Example: conclave domain history shop.example")]
    History { name: String },
    /// Makes an earlier version the present one, key and certificate included
    #[command(after_help = "Example: conclave domain rollback shop.example 8")]
    Rollback {
        name: String,
        #[arg(value_name = "VERSION")]
        earlier: u64,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes a domain
    #[command(after_help = "Example: conclave domain create shop.example --alias www.shop.example")]
    Create {
        name: String,
        /// Further name, as often as needed; *.NAME for all names of one more part
        #[arg(long)]
        alias: Vec<String>,
        /// Local address that means this domain when a client sends no name
        #[arg(long = "ip")]
        ip: Vec<String>,
        /// PKI services
        #[arg(long, value_parser = ["disabled", "test", "enabled"])]
        pki: Option<String>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Adds and removes aliases; the others stay
    #[command(after_help = "Example: conclave domain alias shop.example --add www.shop.example")]
    Alias {
        name: String,
        /// Alias to have besides, as often as needed
        #[arg(long)]
        add: Vec<String>,
        /// Alias to have no more, as often as needed
        #[arg(long, required_unless_present = "add")]
        remove: Vec<String>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Looks for what is wrong with a domain, on every node; exit code 9 if something is
    #[command(after_help = "Example: conclave domain check shop.example")]
    Check { name: String },
    /// Lists domains
    #[command(after_help = "Example: conclave domain list -o name")]
    List,
    /// Shows a domain with all its settings
    #[command(after_help = "Example: conclave domain show shop.example")]
    Show { name: String },
    /// Changes settings of a domain
    #[command(after_help = "Example: conclave domain set shop.example --pki enabled")]
    Set {
        name: String,
        /// PKI services
        #[arg(long, value_parser = ["disabled", "test", "enabled"])]
        pki: Option<String>,
        /// All aliases, replacing the present ones
        #[arg(long)]
        alias: Option<Vec<String>>,
        /// All addresses, replacing the present ones
        #[arg(long = "ip")]
        ip: Option<Vec<String>>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes a domain with its key and certificate
    #[command(after_help = "Example: conclave domain delete shop.example --yes")]
    Delete {
        name: String,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Listener {
    /// Opens a socket on every node
    #[command(
        after_help = "Examples: conclave listener add https --bind :443 --upstream 127.0.0.1:8080 --alpn h2,http/1.1\n          conclave listener add imap --protocol imap --bind :143 --upstream 10.0.0.9:143 --proxy-to v2"
    )]
    Add(Box<ListenerAdd>),
    /// Lists listeners
    #[command(after_help = "Example: conclave listener list")]
    List,
    /// Closes a socket on every node; connections that stand go on
    #[command(after_help = "Example: conclave listener remove https --yes")]
    Remove {
        name: String,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Prints a file to start from, with every setting
    #[command(after_help = "Example: conclave config init > conclave.toml")]
    Init,
    /// Checks a file
    #[command(after_help = "Example: conclave config check conclave.toml")]
    Check { file: PathBuf },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_sentence_and_an_example() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_none() && command.get_name() != "help" {
                let name = command.get_name();
                assert!(command.get_about().is_some(), "{name} says nothing");
                assert!(command.get_after_help().is_some(), "{name} has no example");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("soon").is_err());
    }
}
