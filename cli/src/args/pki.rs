//! Words for keys, requests, certificates and CA chains.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::Changing;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Makes a private key for a domain that has none
    #[command(after_help = "Example: conclave key generate shop.example --type p384")]
    Generate {
        name: String,
        /// p256, p384, ed25519, rsa2048, rsa3072 or rsa4096
        #[arg(long = "type", default_value = "p256")]
        algorithm: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Takes a private key from a PEM file
    #[command(after_help = "Example: conclave key import shop.example privkey.pem")]
    Import {
        name: String,
        /// PEM file; - for standard input
        file: PathBuf,
        /// File whose first line opens an encrypted PKCS#8 key
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Signs and verifies with the key, on every node
    #[command(after_help = "Example: conclave key test shop.example")]
    Test { name: String },
    /// Shows what may be known of a key; never the key
    #[command(after_help = "Example: conclave key show shop.example")]
    Show {
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Removes a key and the certificate that is useless without it
    #[command(after_help = "Example: conclave key remove shop.example --yes")]
    Remove {
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Csr {
    /// Shows what a request asks for, and whether its signature is right; without a node
    #[command(after_help = "Example: conclave csr show shop.csr")]
    Show {
        /// PEM file; - for standard input
        file: PathBuf,
    },
    /// Makes a signing request for the domain's key
    #[command(
        after_help = "Example: conclave csr create shop.example --organization ACME --country US --out shop.csr"
    )]
    Create(Box<Requesting>),
}

// Arguments of a signing request. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Requesting {
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: Of,
    /// Only list what may stand as common name
    #[arg(long)]
    pub(crate) list_names: bool,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// File to write; standard output if not given
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Cert {
    /// Makes a certificate that the domain's key signs itself
    #[command(after_help = "Example: conclave cert self-sign shop.example --days 90")]
    SelfSign {
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
    /// Makes the self-signed certificate afresh: same serial number, new validity
    #[command(after_help = "Example: conclave cert refresh shop.example --days 90")]
    Refresh {
        name: String,
        #[command(flatten)]
        of: Of,
        /// Days of validity
        #[arg(long, default_value_t = 365)]
        days: u32,
        #[command(flatten)]
        changing: Changing,
    },
    /// Takes a certificate, with its chain, from a PEM file
    #[command(
        after_help = "Example: conclave cert import shop.example fullchain.pem --key privkey.pem"
    )]
    Import(Box<Taking>),
    /// Lists the certificates of all domains, those that end first before the others
    #[command(after_help = "Example: conclave cert list -o json")]
    List,
    /// Looks for what is wrong with a file, without a node; exit code 9 if something is
    #[command(
        after_help = "Example: conclave cert check fullchain.pem --key privkey.pem --name shop.example"
    )]
    Check {
        /// PEM file: the certificate, with its chain; - for standard input
        file: PathBuf,
        /// PEM file of the private key that it should certify
        #[arg(long)]
        key: Option<PathBuf>,
        /// File whose first line opens an encrypted PKCS#8 key
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// Name that it should be for, as often as needed
        #[arg(long = "name")]
        names: Vec<String>,
        /// PEM file with the trusted certificates of its clients, besides the built-in ones
        #[arg(long)]
        anchors: Option<PathBuf>,
    },
    /// Shows a certificate of a domain, or those of a file
    #[command(
        after_help = "Examples: conclave cert show shop.example\n          conclave cert show --file fullchain.pem"
    )]
    Show {
        #[arg(required_unless_present = "file")]
        name: Option<String>,
        /// PEM file to show instead, without a node; - for standard input
        #[arg(long, conflicts_with = "name")]
        file: Option<PathBuf>,
        #[command(flatten)]
        of: Of,
    },
    /// Writes a certificate, PEM
    #[command(after_help = "Example: conclave cert export shop.example --chain --out shop.pem")]
    Export {
        name: String,
        #[command(flatten)]
        of: Of,
        /// With the CA chain behind it
        #[arg(long)]
        chain: bool,
        /// File to write; standard output if not given
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Removes a certificate; the key stays
    #[command(after_help = "Example: conclave cert remove shop.example --yes")]
    Remove {
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        changing: Changing,
    },
}

// Arguments of an import. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Taking {
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: Of,
    /// PEM file, which may hold the private key as well; - for standard input
    pub(crate) file: PathBuf,
    /// PEM file of the private key, replacing the present one
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// File whose first line opens an encrypted PKCS#8 key
    #[arg(long)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Take it though it is for none of the domain's names
    #[arg(long)]
    pub(crate) allow_name_mismatch: bool,
    #[command(flatten)]
    pub(crate) linking: Linking,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Subcommand)]
pub(crate) enum Chain {
    /// Sets the CA chain from a PEM file, issuer of the domain certificate first
    #[command(after_help = "Example: conclave chain set shop.example chain.pem")]
    Set {
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
    #[command(after_help = "Example: conclave chain show shop.example")]
    Show {
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Removes the CA chain
    #[command(after_help = "Example: conclave chain remove shop.example --yes")]
    Remove {
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        changing: Changing,
    },
}

// Fields of a certificate. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Fields {
    /// Common name; the domain's name if not given
    #[arg(long)]
    pub(crate) common_name: Option<String>,
    /// Country, two letters
    #[arg(long)]
    pub(crate) country: Option<String>,
    /// Province or state
    #[arg(long)]
    pub(crate) province: Option<String>,
    /// City
    #[arg(long)]
    pub(crate) city: Option<String>,
    /// Organization
    #[arg(long)]
    pub(crate) organization: Option<String>,
    /// Unit
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// E-mail address of a contact
    #[arg(long)]
    pub(crate) contact: Option<String>,
    /// Further name: a DNS name, an IP address or an e-mail address
    #[arg(long)]
    pub(crate) san: Vec<String>,
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
    /// Which key is meant, if the domain has two
    #[arg(long, value_parser = ["ec", "rsa"])]
    pub(crate) family: Option<String>,
}
