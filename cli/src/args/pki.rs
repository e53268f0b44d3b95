//! Words for keys, requests, certificates and CA chains.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use super::{Changing, IfExists, IfMissing, duration};

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Makes a private key for a domain that has none
    #[command(
        after_help = "Examples:\n  conclave key generate shop.example\n  conclave key generate shop.example --type rsa3072"
    )]
    Generate {
        /// Name of the domain
        name: String,
        /// Type of the key: p256, p384, ed25519, rsa2048, rsa3072 or rsa4096
        #[arg(long = "type", default_value = "p256", value_name = "TYPE")]
        algorithm: String,
        #[command(flatten)]
        missing: IfMissing,
        #[command(flatten)]
        changing: Changing,
    },
    /// Takes a private key from a PEM file
    #[command(
        after_help = "Examples:\n  conclave key import shop.example privkey.pem\n  conclave key import shop.example locked.pem --passphrase-file pass"
    )]
    Import {
        /// Name of the domain
        name: String,
        /// PEM file; - for standard input
        file: PathBuf,
        /// File whose first line opens an encrypted PKCS#8 key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        missing: IfMissing,
        #[command(flatten)]
        changing: Changing,
    },
    /// Signs and verifies with the key on every node
    #[command(
        after_help = "Examples:\n  conclave key test shop.example\n  conclave key test shop.example -o json"
    )]
    Test {
        /// Name of the domain
        name: String,
    },
    /// Shows type and fingerprint of a key; never the key itself
    #[command(
        after_help = "Examples:\n  conclave key show shop.example\n  conclave key show shop.example --family rsa"
    )]
    Show {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Removes a key, its certificate and its CA chain
    #[command(
        after_help = "Examples:\n  conclave key remove shop.example\n  conclave key remove shop.example --family rsa --yes"
    )]
    Remove {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        /// Remove only the key that waits for its certificate; the key in use stays
        #[arg(long)]
        pending: bool,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Csr {
    /// Makes a signing request for the domain's key
    #[command(
        after_help = "Examples:\n  conclave csr create shop.example --out shop.csr\n  conclave csr create shop.example --organization ACME --country US > shop.csr\n  conclave csr create shop.example --new-key > shop.csr"
    )]
    Create(Box<Requesting>),
    /// Shows the names in a request, and whether its signature is right; needs no node
    #[command(
        after_help = "Examples:\n  conclave csr show shop.csr\n  conclave csr create shop.example | conclave csr show -"
    )]
    Show {
        /// PEM file; - for standard input
        file: PathBuf,
    },
}

// Arguments of a signing request. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Requesting {
    /// Name of the domain
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: Of,
    /// Make a new key that waits beside the one in use until its certificate is imported; if one of
    /// this type waits already, the request is for it
    #[arg(long, value_name = "TYPE", num_args = 0..=1, default_missing_value = "p256")]
    pub(crate) new_key: Option<String>,
    /// Only list the possible common names
    #[arg(long)]
    pub(crate) list_names: bool,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Cert {
    /// Takes a certificate, with its chain, from a PEM file
    #[command(
        after_help = "Examples:\n  conclave cert import shop.example fullchain.pem --key privkey.pem\n  conclave cert import shop.example fullchain.pem --dry-run\n  conclave cert import shop.example fullchain.pem --key privkey.pem --canary node-2 --soak 10m"
    )]
    Import(Box<Taking>),
    /// Lists the certificates of all domains; those that expire first come first
    #[command(after_help = "Examples:\n  conclave cert list\n  conclave cert list -o json")]
    List,
    /// Shows the certificates of a domain, or those of a file
    #[command(
        after_help = "Examples:\n  conclave cert show shop.example\n  conclave cert show fullchain.pem"
    )]
    Show {
        /// Name of the domain, or a PEM file
        #[arg(required_unless_present = "file", value_name = "NAME|FILE")]
        name: Option<String>,
        /// PEM file to show instead, without a node; - for standard input
        #[arg(long, conflicts_with = "name", value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        of: Of,
    },
    /// Looks for problems of a file; needs no node; exit code 9 if there are any
    #[command(
        after_help = "Examples:\n  conclave cert check fullchain.pem\n  conclave cert check fullchain.pem --key privkey.pem --name shop.example"
    )]
    Check {
        /// PEM file: the certificate, with its chain; - for standard input
        file: PathBuf,
        /// PEM file of the private key that should belong to it
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// File whose first line opens an encrypted PKCS#8 key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Name that it should have, as often as needed
        #[arg(long = "name", value_name = "NAME", value_parser = conclave_node::server_name)]
        names: Vec<String>,
        /// PEM file of trusted certificates, besides the built-in ones
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
    },
    /// Writes a certificate as PEM
    #[command(
        after_help = "Examples:\n  conclave cert export shop.example --chain --out shop.pem\n  conclave cert export shop.example | openssl x509 -noout -text"
    )]
    Export {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        /// Write the CA chain behind it
        #[arg(long)]
        chain: bool,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Makes a certificate that the domain's key signs itself
    #[command(
        after_help = "Examples:\n  conclave cert self-sign shop.example\n  conclave cert self-sign shop.example --days 90 --organization ACME"
    )]
    SelfSign {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        fields: Fields,
        /// Days of validity
        #[arg(long, default_value_t = 365)]
        days: u32,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes the self-signed certificate anew: same serial number, new validity
    #[command(
        after_help = "Examples:\n  conclave cert refresh shop.example\n  conclave cert refresh shop.example --days 90"
    )]
    Refresh {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        /// Days of validity [default: as many as before]
        #[arg(long)]
        days: Option<u32>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Ends a canary: every node serves its certificate, or none does
    #[command(
        after_help = "Examples:\n  conclave cert canary shop.example --promote\n  conclave cert canary shop.example --stop"
    )]
    Canary {
        /// Name of the domain
        name: String,
        /// Every node serves the certificate from now on
        #[arg(long, conflicts_with = "stop", required_unless_present = "stop")]
        promote: bool,
        /// No node serves the certificate any more
        #[arg(long)]
        stop: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Removes a certificate; the key stays
    #[command(
        after_help = "Examples:\n  conclave cert remove shop.example\n  conclave cert remove shop.example --family rsa --yes"
    )]
    Remove {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

// Arguments of an import. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Taking {
    /// Name of the domain
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: Of,
    /// PEM file, which may hold the private key as well; - for standard input
    pub(crate) file: PathBuf,
    /// PEM file of the private key, replacing the present one
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// File whose first line opens an encrypted PKCS#8 key
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Take it though it has none of the domain's names
    #[arg(long)]
    pub(crate) allow_name_mismatch: bool,
    /// Node that alone serves it at first; the others follow if their handshakes with it are right
    #[arg(long, value_name = "NODE")]
    pub(crate) canary: Option<String>,
    /// Time for which it is alone, 1s to 7d [default: 10m]
    #[arg(long, value_name = "TIME", requires = "canary", value_parser = duration)]
    pub(crate) soak: Option<Duration>,
    #[command(flatten)]
    pub(crate) linking: Linking,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Subcommand)]
pub(crate) enum Chain {
    /// Sets the CA chain from a PEM file, issuer of the domain certificate first
    #[command(
        after_help = "Examples:\n  conclave chain set shop.example chain.pem\n  conclave chain set shop.example chain.pem --sort --dry-run"
    )]
    Set {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        /// PEM file; - for standard input
        file: PathBuf,
        #[command(flatten)]
        linking: Linking,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows the CA chain
    #[command(
        after_help = "Examples:\n  conclave chain show shop.example\n  conclave chain show shop.example -o wide"
    )]
    Show {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Removes the CA chain
    #[command(
        after_help = "Examples:\n  conclave chain remove shop.example\n  conclave chain remove shop.example --yes"
    )]
    Remove {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

// Fields of a certificate. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Fields {
    /// Common name, "" for none [default: name of the domain, none with --only-san]
    #[arg(long, value_name = "NAME")]
    pub(crate) common_name: Option<String>,
    /// Country, two letters
    #[arg(long, value_name = "CODE")]
    pub(crate) country: Option<String>,
    /// Province or state
    #[arg(long, value_name = "NAME")]
    pub(crate) province: Option<String>,
    /// City
    #[arg(long, value_name = "NAME")]
    pub(crate) city: Option<String>,
    /// Organization
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: Option<String>,
    /// Unit
    #[arg(long, value_name = "NAME")]
    pub(crate) unit: Option<String>,
    /// E-mail address of a contact
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) contact: Option<String>,
    /// Further name, as often as needed: a DNS name, an IP address or an e-mail address
    #[arg(long, value_name = "NAME")]
    pub(crate) san: Vec<String>,
    /// Leave out the names of the domain: only those of --san
    #[arg(long, requires = "san")]
    pub(crate) only_san: bool,
}

// Treatment of a CA chain. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Linking {
    /// Put the CA chain in order
    #[arg(long)]
    pub(crate) sort: bool,
    /// Take the CA chain though it is broken
    #[arg(long)]
    pub(crate) allow_broken_chain: bool,
}

// Choice of one of a domain's keys. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Of {
    /// Which key is meant, if the domain has two: ec or rsa [default: the only one]
    #[arg(long, value_parser = ["ec", "rsa"], hide_possible_values = true)]
    pub(crate) family: Option<String>,
}
