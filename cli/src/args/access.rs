//! Words about who may do what, and what was done.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use conclave_api::{
    event::EventKind,
    grant::{Grant, Right, Role},
    user::Certificate,
};

use super::{Changing, IfExists, IfMissing, duration};

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Makes an access token; it is shown once
    #[command(
        after_help = "Examples:\n  conclave token create monitoring --role viewer > monitoring.token\n  conclave token create deploy --role operator --only certificate --domain shop.example\nA token ends after 90 days unless another time is given. It may do no more than its maker."
    )]
    Create {
        /// Name for lists and for the history
        name: String,
        #[command(flatten)]
        granting: Granting,
        /// Most changes that can be made with it [default: no bound]
        #[arg(long, value_name = "NUMBER")]
        uses: Option<u32>,
        /// Time until it expires, as 12h or 30d; 366d at most [default: 90d]
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires_in: Option<Duration>,
        /// It never expires; only at the admin socket
        #[arg(long, conflicts_with = "expires_in")]
        never_expires: bool,
        #[command(flatten)]
        missing: IfMissing,
    },
    /// Lists access tokens and sessions, without their secrets
    #[command(after_help = "Examples:\n  conclave token list\n  conclave token list -o json")]
    List,
    /// Ends an access token, and the tokens that were made with it
    #[command(
        after_help = "Examples:\n  conclave token revoke 0123456789abcdef\n  conclave token revoke 0123456789abcdef --yes"
    )]
    Revoke {
        /// Id of the token: conclave token list shows it
        id: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows who you are to the node, and what you may do
    #[command(
        after_help = "Examples:\n  conclave token whoami\n  conclave token whoami --address https://node-1:7443 --token-file deploy.token"
    )]
    Whoami,
}

// What a token or a user may do. No doc comment, see Global.
#[derive(Clone, Args)]
pub(crate) struct Granting {
    /// Role: viewer, operator, admin or security; several with commas
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<Role>,
    /// Only these of the rights of the roles: conclave role list shows them
    #[arg(long, value_name = "RIGHT", value_delimiter = ',')]
    only: Vec<Right>,
    /// Only this domain, or with a dot in front all names below it too; several with commas
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    domain: Vec<String>,
    /// Only from this network, as 10.0.0.0/8; several with commas
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    from: Vec<String>,
}

impl Granting {
    /// Returns the grant; none if nothing of it is given.
    pub(crate) fn grant(self, uses: Option<u32>) -> Option<Grant> {
        let Granting { role, only, domain, from } = self;
        let grant = Grant { roles: role, only, domains: domain, networks: from, uses };
        (grant != Grant::default()).then_some(grant)
    }
}

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Lists the roles with their rights
    #[command(after_help = "Examples:\n  conclave role list\n  conclave role list -o json")]
    List,
}

#[derive(Subcommand)]
pub(crate) enum User {
    /// Lists users
    #[command(after_help = "Examples:\n  conclave user list\n  conclave user list -o json")]
    List,
    /// Makes a user, who logs in with a password or a certificate
    #[command(
        after_help = "Examples:\n  conclave user create alice --role admin,security\n  conclave user create ci --role operator --domain .shop.example --password-file ci.password"
    )]
    Create {
        /// Name: letters, digits and ._@-
        name: String,
        #[command(flatten)]
        granting: Granting,
        #[command(flatten)]
        showing: Showing,
        #[command(flatten)]
        missing: IfMissing,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows a user
    #[command(
        after_help = "Examples:\n  conclave user show alice\n  conclave user show alice -o json"
    )]
    Show {
        /// Name of the user
        name: String,
    },
    /// Changes what a user may do, or logs in with
    #[command(
        after_help = "Examples:\n  conclave user set alice --role viewer\n  conclave user set alice --certificate 8c1f…=alice@example.org"
    )]
    Set {
        /// Name of the user
        name: String,
        #[command(flatten)]
        granting: Granting,
        /// Certificates with which the user logs in, instead of those before
        #[arg(long, value_name = "ISSUER=NAME", value_parser = certificate)]
        certificate: Vec<Certificate>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Sets the password of a user; the user's sessions end
    #[command(
        after_help = "Examples:\n  conclave user password alice\n  conclave user password alice --password-file alice.password"
    )]
    Password {
        /// Name of the user
        name: String,
        /// File with the new password [default: ask]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Asks a user for one-time codes from now on, and shows their secret once
    #[command(
        after_help = "Examples:\n  conclave user code alice\n  conclave user code alice --remove"
    )]
    Code {
        /// Name of the user
        name: String,
        /// Ask for no code any longer
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Deletes a user; the user's sessions end
    #[command(
        after_help = "Examples:\n  conclave user delete alice\n  conclave user delete alice --yes"
    )]
    Delete {
        /// Name of the user
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

// What a user logs in with. No doc comment, see Global.
#[derive(Clone, Args)]
pub(crate) struct Showing {
    /// File with the password [default: ask, unless a certificate is given]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Certificate of the user: SHA-256 of a trusted authority, and a name in the certificate
    #[arg(long, value_name = "ISSUER=NAME", value_parser = certificate)]
    pub(crate) certificate: Vec<Certificate>,
}

fn certificate(text: &str) -> Result<Certificate, String> {
    let (issuer, name) =
        text.split_once('=').ok_or_else(|| "it has the form ISSUER=NAME".to_owned())?;
    Ok(Certificate { issuer: issuer.replace(':', "").to_lowercase(), name: name.to_owned() })
}

#[derive(Args)]
pub(crate) struct LoggingIn {
    /// Name of the user
    pub(crate) user: String,
    /// SHA-256 of the cluster's authority, at https addresses; conclave status on a member shows it
    #[arg(long, value_name = "SHA-256")]
    pub(crate) authority: Option<String>,
    /// File with the password [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// One-time code, if the user has one
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Keep the session for the context, instead of showing its token
    #[arg(long)]
    pub(crate) save: bool,
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Lists what was done, denied and failed, the last one first
    #[command(
        after_help = "Examples:\n  conclave audit list --object shop.example\n  conclave audit list --result denied --limit 20\n  conclave audit list --event certificate -o jsonl"
    )]
    List {
        #[command(flatten)]
        choosing: Choosing,
        /// Most entries to list
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
    },
    /// Shows the last entries, and those that come
    #[command(
        after_help = "Examples:\n  conclave audit tail\n  conclave audit tail --follow -o jsonl"
    )]
    Tail {
        #[command(flatten)]
        choosing: Choosing,
        /// Go on with the entries that come, until interrupted
        #[arg(short, long)]
        follow: bool,
        /// Entries to begin with
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
        lines: usize,
    },
    /// Checks that no entry was changed, removed, moved or put in; exit code 9 if one was
    #[command(
        after_help = "Examples:\n  conclave audit verify\n  conclave audit verify --file audit.jsonl"
    )]
    Verify {
        /// Check an exported file instead: lines as audit tail -o jsonl writes them
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Sets how many entries the cluster keeps; the oldest leave
    #[command(
        after_help = "Examples:\n  conclave audit keep 500000\n  conclave audit keep 100000 --reason default"
    )]
    Keep {
        /// Number of entries, 1000 to 1000000
        entries: u32,
        #[command(flatten)]
        changing: Changing,
    },
}

// Which entries are wanted. No doc comment, see Global.
#[derive(Clone, Args)]
pub(crate) struct Choosing {
    /// Only by this one, as the list shows it ("token deploy"), or by its name alone
    #[arg(long)]
    pub(crate) who: Option<String>,
    /// Only this event, or all of this noun: domain
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Only about this object: a domain, a listener, a user
    #[arg(long)]
    pub(crate) object: Option<String>,
    /// Only what was done, denied or failed
    #[arg(long, value_parser = ["done", "denied", "failed"])]
    pub(crate) result: Option<String>,
}

// No doc comment, see Global.
#[derive(Args)]
pub(crate) struct Events {
    /// Only these kinds: domain, certificate, trust, listener, tls, node, cluster or leader; several
    /// with commas
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) kind: Vec<EventKind>,
    /// Begin behind this position: -o jsonl shows that of each event [default: what changes next]
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<String>,
    /// End after so many events [default: never]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
}
