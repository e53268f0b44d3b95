//! Words for signing, verifying, encrypting and decrypting messages.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::point_of_time;

// Where a message is read and written. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Message {
    /// Message (RFC 5322); - for standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// File to write, which only its owner can read [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

// Account whose key is used. No doc comment, see Global.
#[derive(ClapArgs)]
pub(crate) struct Owner {
    /// E-mail address of the account
    #[arg(long = "as", value_name = "EMAIL")]
    pub(crate) email: String,
    /// File whose first line is the passphrase of the account
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: PathBuf,
}

#[derive(ClapArgs)]
pub(crate) struct SignMessage {
    #[command(flatten)]
    pub(crate) message: Message,
    #[command(flatten)]
    pub(crate) owner: Owner,
    /// Put the text into the signature: programs without S/MIME cannot read it, and no mail server
    /// changes it
    #[arg(long)]
    pub(crate) opaque: bool,
}

#[derive(ClapArgs)]
pub(crate) struct VerifyMessage {
    /// Message (RFC 5322); - for standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// File for the message without its signature, if that is valid; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// File of trusted certificates [default: those of --scope, and the issuer of the signer's domain]
    #[arg(long, value_name = "FILE")]
    pub(crate) anchors: Option<PathBuf>,
    /// Time of the check, as 2028-01-31 or 2028-01-31T12:00:00Z [default: now]
    #[arg(long, value_parser = point_of_time, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
}

#[derive(ClapArgs)]
pub(crate) struct EncryptMessage {
    #[command(flatten)]
    pub(crate) message: Message,
    /// E-mail address of an account that can read it; as often as needed
    #[arg(long, value_name = "EMAIL", required_unless_present = "cert")]
    pub(crate) to: Vec<String>,
    /// File with the certificate of another recipient; as often as needed
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Vec<PathBuf>,
    /// Account that signs it first
    #[arg(long, value_name = "EMAIL", requires = "passphrase_file")]
    pub(crate) sign_as: Option<String>,
    /// File whose first line is the passphrase of the account that signs
    #[arg(long, value_name = "FILE", requires = "sign_as")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Cipher of the content
    #[arg(long, value_enum, default_value = "aes256-cbc")]
    pub(crate) cipher: CipherArg,
    /// Use RSA-OAEP for recipients with RSA keys; some old programs cannot read it
    #[arg(long)]
    pub(crate) oaep: bool,
}

#[derive(ClapArgs)]
pub(crate) struct DecryptMessage {
    #[command(flatten)]
    pub(crate) message: Message,
    #[command(flatten)]
    pub(crate) owner: Owner,
}

#[derive(ClapArgs)]
pub(crate) struct FilterMessages {
    /// E-mail address of the account whose mailbox the message goes to
    #[arg(long, value_name = "EMAIL")]
    pub(crate) to: String,
    /// E-mail address of the account whose rule stores it there, if it is another; as often as needed
    #[arg(long, value_name = "EMAIL")]
    pub(crate) also: Vec<String>,
    /// What to do if the owner of the mailbox has no certificate: leave the message as it is, have it
    /// tried again later, or refuse it
    #[arg(long, value_enum, default_value = "defer", value_name = "WHAT")]
    pub(crate) without_certificate: WithoutCertificate,
    /// Cipher of the content
    #[arg(long, value_enum, default_value = "aes256-cbc")]
    pub(crate) cipher: CipherArg,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CipherArg {
    /// Known to every program
    #[value(name = "aes256-cbc")]
    Aes256Cbc,
    /// Changes are noticed; not known to every program
    #[value(name = "aes256-gcm")]
    Aes256Gcm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WithoutCertificate {
    /// The message stays as it is
    Pass,
    /// The mail server tries it again later
    Defer,
    /// The mail server refuses it
    Reject,
}
