//! Words for accounts.

use std::{path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};
use conclave_api::account::{Purpose, Reason};

use super::{Changing, IfExists, IfMissing, duration};

#[derive(Subcommand)]
pub(crate) enum Account {
    /// Makes an account without a key
    #[command(
        after_help = "Examples:\n  conclave account create ann@shop.example --name \"Ann Lee\"\n  conclave account create ann@shop.example --if-missing"
    )]
    Create {
        /// E-mail address; a domain must have the name behind the @
        email: String,
        /// Name of the person
        #[arg(long, default_value = "", value_name = "NAME", hide_default_value = true)]
        name: String,
        #[command(flatten)]
        missing: IfMissing,
        #[command(flatten)]
        changing: Changing,
    },
    /// Lists the accounts of a domain
    #[command(
        after_help = "Examples:\n  conclave account list shop.example\n  conclave account list shop.example -o jsonl"
    )]
    List {
        /// Name of the domain
        domain: String,
    },
    /// Shows an account with its keys and certificates
    #[command(
        after_help = "Examples:\n  conclave account show ann@shop.example\n  conclave account show ann@shop.example -o json"
    )]
    Show {
        /// E-mail address of the account
        email: String,
    },
    /// Removes an account with its keys, and revokes its certificates
    #[command(
        after_help = "Examples:\n  conclave account delete ann@shop.example\n  conclave account delete ann@shop.example --yes"
    )]
    Delete {
        /// E-mail address of the account
        email: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Invites the owner of an account: the invitation sets the passphrase, once
    #[command(
        after_help = "Examples:\n  conclave account invite ann@shop.example\n  conclave account invite ann@shop.example --expires-in 2d\nAn earlier invitation ends. If the passphrase was lost, earlier keys stay under it."
    )]
    Invite {
        /// E-mail address of the account
        email: String,
        /// Time until it ends, 30d at most
        #[arg(long, value_parser = duration, default_value = "7d", value_name = "TIME")]
        expires_in: Duration,
        /// Withdraw the invitation that is open
        #[arg(long, conflicts_with = "expires_in")]
        withdraw: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Logs the owner of an account in; the token of the session is written once, and ends after an hour
    #[command(
        after_help = "Examples:\n  conclave account login ann@shop.example --address https://accounts.shop.example:443 --invitation-file ann.invitation --passphrase-file ann.pass > ann.session\n  conclave account login ann@shop.example --address https://accounts.shop.example:443 --passphrase-file ann.pass > ann.session\nThe session is for the commands account show, account key and account cert, with --token-file."
    )]
    Login {
        /// E-mail address of the account
        email: String,
        /// File whose first line is the passphrase [default: ask]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// File with an invitation: the passphrase is a new one, and the account gets a key
        #[arg(long, value_name = "FILE")]
        invitation_file: Option<PathBuf>,
        /// Type of that key: p256, p384, rsa2048, rsa3072 or rsa4096 [default: p256]
        #[arg(long = "type", value_name = "TYPE", requires = "invitation_file")]
        algorithm: Option<String>,
    },
    /// Private keys of accounts, locked under their passphrases
    #[command(subcommand)]
    Key(AccountKey),
    /// Certificates of accounts
    #[command(subcommand)]
    Cert(AccountCert),
}

#[derive(Subcommand)]
pub(crate) enum AccountKey {
    /// Makes a private key for an account; the present one is kept for earlier mail
    #[command(
        after_help = "Examples:\n  conclave account key generate ann@shop.example --passphrase-file ann.pass\n  conclave account key generate ann@shop.example --passphrase-file ann.pass --type rsa3072"
    )]
    Generate {
        /// E-mail address of the account
        email: String,
        /// File whose first line is the passphrase of the account: that of the present key, or a new one
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
        /// Type of the key: p256, p384, ed25519 (only signs), x25519 (only receives), rsa2048, rsa3072 or rsa4096
        #[arg(long = "type", default_value = "p256", value_name = "TYPE")]
        algorithm: String,
        /// What it is for
        #[arg(long, value_enum, default_value = "sign-and-encrypt", value_name = "PURPOSE")]
        purpose: PurposeOfKey,
        #[command(flatten)]
        changing: Changing,
    },
    /// Takes a private key with its certificates from a PKCS#12 file
    #[command(
        after_help = "Examples:\n  conclave account key import ann@shop.example ann.p12 --file-passphrase-file p12.pass --passphrase-file ann.pass\n  conclave account key import ann@shop.example ann.p12 --file-passphrase-file p12.pass --passphrase-file ann.pass --dry-run"
    )]
    Import {
        /// E-mail address of the account
        email: String,
        /// PKCS#12 file; - for standard input
        file: PathBuf,
        /// File whose first line is the passphrase of the PKCS#12 file
        #[arg(long, value_name = "FILE")]
        file_passphrase_file: PathBuf,
        /// File whose first line is the passphrase of the account: that of the present key, or a new one
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
        /// What it is for
        #[arg(long, value_enum, default_value = "sign-and-encrypt", value_name = "PURPOSE")]
        purpose: PurposeOfKey,
        #[command(flatten)]
        changing: Changing,
    },
    /// Writes a key with its certificate to a PKCS#12 file
    #[command(
        after_help = "Examples:\n  conclave account key export ann@shop.example --passphrase-file ann.pass --out ann.p12 --export-passphrase-file p12.pass\n  conclave account key export ann@shop.example --passphrase-file ann.pass --out ann.p12 --export-passphrase-file p12.pass --legacy"
    )]
    Export {
        /// E-mail address of the account
        email: String,
        /// File whose first line is the passphrase of the account
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
        /// File to write; only its owner can read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File whose first line is the passphrase of the new PKCS#12 file
        #[arg(long, value_name = "FILE")]
        export_passphrase_file: PathBuf,
        /// SHA-256 of an earlier key, as account show tells it [default: the current key]
        #[arg(long, value_name = "SHA256")]
        key: Option<String>,
        /// Use the weak algorithms of programs that know no others, as old Windows and macOS
        #[arg(long)]
        legacy: bool,
    },
    /// Opens the copy of a key with the recovery key of its domain, and writes a PKCS#12 file
    #[command(
        after_help = "Examples:\n  conclave account key recover ann@shop.example --recovery-key recovery.key --out ann.p12 --export-passphrase-file p12.pass\n  conclave account key recover ann@shop.example --recovery-key recovery.key --key 5e90… --out ann.p12 --export-passphrase-file p12.pass\nThe recovery key stays here: the node sends the copy as it is."
    )]
    Recover {
        /// E-mail address of the account
        email: String,
        /// PEM file with the private recovery key
        #[arg(long, value_name = "FILE")]
        recovery_key: PathBuf,
        /// File whose first line opens an encrypted recovery key
        #[arg(long, value_name = "FILE")]
        recovery_passphrase_file: Option<PathBuf>,
        /// File to write; only its owner can read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File whose first line is the passphrase of the new PKCS#12 file
        #[arg(long, value_name = "FILE")]
        export_passphrase_file: PathBuf,
        /// SHA-256 of an earlier key, as account show tells it [default: the current key]
        #[arg(long, value_name = "SHA256")]
        key: Option<String>,
    },
    /// Sets another passphrase for all keys of an account
    #[command(
        after_help = "Examples:\n  conclave account key passphrase ann@shop.example --passphrase-file ann.pass --new-passphrase-file new.pass\n  conclave account key passphrase ann@shop.example --passphrase-file ann.pass --new-passphrase-file new.pass --dry-run"
    )]
    Passphrase {
        /// E-mail address of the account
        email: String,
        /// File whose first line is the present passphrase
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
        /// File whose first line is the new one, at least 12 characters
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: PathBuf,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum AccountCert {
    /// Issues a certificate for the key of an account
    #[command(
        after_help = "Examples:\n  conclave account cert issue ann@shop.example\n  conclave account cert issue ann@shop.example --days 730 --crl-url http://pki.shop.example/smime.crl"
    )]
    Issue(Box<Issuing>),
    /// Issues another certificate for the same key
    #[command(
        after_help = "Examples:\n  conclave account cert renew ann@shop.example\n  conclave account cert renew ann@shop.example --days 730"
    )]
    Renew(Box<Issuing>),
    /// Revokes certificates; they are in the revocation list from then on
    #[command(
        after_help = "Examples:\n  conclave account cert revoke ann@shop.example --revocation-reason key-compromise\n  conclave account cert revoke ann@shop.example --serial 4e0b…"
    )]
    Revoke {
        /// E-mail address of the account
        email: String,
        /// Serial number [default: all valid certificates of the current key]
        #[arg(long, value_name = "HEX")]
        serial: Option<String>,
        /// Reason that the revocation list gives
        #[arg(long, value_enum, default_value = "unspecified", value_name = "REASON")]
        revocation_reason: ReasonOfRevocation,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows the latest certificate of an account, or writes it as PEM
    #[command(
        after_help = "Examples:\n  conclave account cert show ann@shop.example\n  conclave account cert show ann@shop.example --out ann.pem"
    )]
    Show {
        /// E-mail address of the account
        email: String,
        /// File to write the certificate and its chain to, as PEM; - for standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

// Content of a certificate. No doc comment, see Global.
#[derive(clap::Args)]
pub(crate) struct Issuing {
    /// E-mail address of the account
    pub(crate) email: String,
    /// Days of validity; at most until the issuer's certificate ends [default: 365]
    #[arg(long)]
    pub(crate) days: Option<u32>,
    /// Let TLS servers take it as a client's certificate too
    #[arg(long)]
    pub(crate) client: bool,
    /// URL of the revocation list, for the certificate [default: as smime set has it]
    #[arg(long, value_name = "URL")]
    pub(crate) crl_url: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

/// Purpose of a key
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeOfKey {
    /// One key for both
    SignAndEncrypt,
    /// Signing only
    Sign,
    /// Receiving encrypted messages only
    Encrypt,
}

impl From<PurposeOfKey> for Purpose {
    fn from(purpose: PurposeOfKey) -> Purpose {
        match purpose {
            PurposeOfKey::SignAndEncrypt => Purpose::SignAndEncrypt,
            PurposeOfKey::Sign => Purpose::Sign,
            PurposeOfKey::Encrypt => Purpose::Encrypt,
        }
    }
}

/// Reason of a revocation
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasonOfRevocation {
    /// None is given
    Unspecified,
    /// The private key is known to others, or may be
    KeyCompromise,
    /// The name is no longer right
    AffiliationChanged,
    /// Another certificate replaces it
    Superseded,
    /// It is no longer needed
    CessationOfOperation,
}

impl From<ReasonOfRevocation> for Reason {
    fn from(reason: ReasonOfRevocation) -> Reason {
        match reason {
            ReasonOfRevocation::Unspecified => Reason::Unspecified,
            ReasonOfRevocation::KeyCompromise => Reason::KeyCompromise,
            ReasonOfRevocation::AffiliationChanged => Reason::AffiliationChanged,
            ReasonOfRevocation::Superseded => Reason::Superseded,
            ReasonOfRevocation::CessationOfOperation => Reason::CessationOfOperation,
        }
    }
}
