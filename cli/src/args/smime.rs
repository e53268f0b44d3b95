//! Words for the issuers of S/MIME certificates.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{
    Changing, IfExists,
    message::{DecryptMessage, EncryptMessage, FilterMessages, SignMessage, VerifyMessage},
};

#[derive(Subcommand)]
pub(crate) enum Smime {
    /// Shows what issues the certificates of a domain's accounts, or why nothing does
    #[command(
        after_help = "Examples:\n  conclave smime show shop.example\n  conclave smime show shop.example -o json"
    )]
    Show {
        /// Name of the domain
        name: String,
    },
    /// Makes a signing request for an issuer, and its key if there is none
    #[command(
        after_help = "Examples:\n  conclave smime csr shop.example --out smime.csr\n  conclave smime csr shop.example --type rsa3072 --organization ACME > smime.csr"
    )]
    Csr {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        subject: SmimeSubject,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Takes the certificate of an issuer, with its chain, from a PEM file
    #[command(
        after_help = "Examples:\n  conclave smime import shop.example smime-ca.pem\n  conclave smime import shop.example smime-ca.pem --key smime-ca.key"
    )]
    Import {
        /// Name of the domain
        name: String,
        /// PEM file: the certificate, with its chain; - for standard input
        file: PathBuf,
        /// PEM file of the private key; without it the certificate is for the present key
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// File whose first line opens an encrypted PKCS#8 key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes an issuer that signs its own certificate
    #[command(
        after_help = "Examples:\n  conclave smime self-sign shop.example\n  conclave smime self-sign shop.example --organization ACME --days 1825"
    )]
    SelfSign {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        subject: SmimeSubject,
        /// Days of validity
        #[arg(long, default_value_t = 3650)]
        days: u32,
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes the self-signed certificate of an issuer anew: same contents, new validity
    #[command(
        after_help = "Examples:\n  conclave smime refresh shop.example\n  conclave smime refresh shop.example --days 1825"
    )]
    Refresh {
        /// Name of the domain
        name: String,
        /// Days of validity [default: as many as now]
        #[arg(long)]
        days: Option<u32>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Sets the certificates above that of an issuer
    #[command(
        after_help = "Examples:\n  conclave smime chain shop.example chain.pem\n  conclave smime chain shop.example /dev/null"
    )]
    Chain {
        /// Name of the domain
        name: String,
        /// PEM file, issuer of the certificate first; an empty file removes the chain
        file: PathBuf,
        #[command(flatten)]
        changing: Changing,
    },
    /// Writes the revocation list of a domain
    #[command(
        after_help = "Examples:\n  conclave smime crl shop.example --out shop.crl\n  conclave smime crl shop.example | openssl crl -noout -text"
    )]
    Crl {
        /// Name of the domain
        name: String,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Removes an issuer; what it issued stays valid
    #[command(
        after_help = "Examples:\n  conclave smime remove shop.example\n  conclave smime remove shop.example --yes"
    )]
    Remove {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
    /// Sets what a domain does for its accounts, besides issuing certificates
    #[command(
        after_help = "Examples:\n  conclave smime set shop.example --crl-url http://pki.shop.example/certificates/shop.example/smime.crl\n  conclave smime set shop.example --crl-url \"\""
    )]
    Set {
        /// Name of the domain
        name: String,
        /// URL of the revocation list that new certificates of accounts name; empty: none
        #[arg(long, value_name = "URL")]
        crl_url: String,
        #[command(flatten)]
        changing: Changing,
    },
    /// Sets the recovery key of a domain: its holder can open the keys that accounts get from now on
    #[command(
        after_help = "Examples:\n  conclave smime recovery shop.example recovery.pub\n  conclave smime recovery shop.example --remove\nIt is off by default. Owners see it at their account."
    )]
    Recovery {
        /// Name of the domain
        name: String,
        /// PEM file with the public key, EC P-256; - for standard input
        #[arg(required_unless_present = "remove")]
        file: Option<PathBuf>,
        /// Remove the recovery key; copies that were made stay
        #[arg(long, conflicts_with = "file")]
        remove: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Signs a message by the key of an account
    #[command(
        after_help = "Examples:\n  conclave smime sign letter.eml --as ann@shop.example --passphrase-file ann.pass > signed.eml\n  conclave smime sign letter.eml --as ann@shop.example --passphrase-file ann.pass --opaque --out signed.eml\nThe message stays here: the key comes from the node, encrypted for this one command."
    )]
    Sign(Box<SignMessage>),
    /// Tells who signed a message, and whether the signer is trusted
    #[command(
        after_help = "Examples:\n  conclave smime verify signed.eml\n  conclave smime verify signed.eml --out letter.eml -o json\nExit code 8 if it is not valid."
    )]
    Verify(Box<VerifyMessage>),
    /// Encrypts a message for accounts and others
    #[command(
        after_help = "Examples:\n  conclave smime encrypt letter.eml --to ann@shop.example --to bob@shop.example > encrypted.eml\n  conclave smime encrypt letter.eml --to ann@shop.example --cert partner.pem --sign-as bob@shop.example --passphrase-file bob.pass > encrypted.eml"
    )]
    Encrypt(Box<EncryptMessage>),
    /// Decrypts a message by the present key of an account, or an earlier one
    #[command(
        after_help = "Examples:\n  conclave smime decrypt encrypted.eml --as ann@shop.example --passphrase-file ann.pass\n  conclave smime decrypt encrypted.eml --as ann@shop.example --passphrase-file ann.pass --out letter.eml"
    )]
    Decrypt(Box<DecryptMessage>),
    /// Encrypts a message on its way into a mailbox, for mail servers: standard input to standard output
    #[command(
        after_help = "Examples:\n  conclave smime filter --to jim@shop.example < message.eml\n  conclave smime filter --to jim@shop.example --also john@shop.example < message.eml\nA message that is encrypted already stays as it is. Exit codes are those of sysexits.h: 0, 75 (try it\nagain later), 65 (damaged message), 69 (refused). With any other than 0, discard the output."
    )]
    Filter(Box<FilterMessages>),
}

// Subject and key of an issuer. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct SmimeSubject {
    /// Type of a new key: p256, p384, rsa2048, rsa3072 or rsa4096 [default: p256]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) algorithm: Option<String>,
    /// Common name [default: S/MIME CA of the domain]
    #[arg(long, value_name = "NAME")]
    pub(crate) common_name: Option<String>,
    /// Country, two letters
    #[arg(long)]
    pub(crate) country: Option<String>,
    /// Organization
    #[arg(long)]
    pub(crate) organization: Option<String>,
    /// Unit of the organization
    #[arg(long)]
    pub(crate) unit: Option<String>,
}
