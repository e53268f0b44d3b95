//! Commands that sign, verify, encrypt and decrypt messages.
//!
//! A message never goes to a node. A key comes from one, encrypted under a passphrase that is made
//! for this one answer, so a node is asked each time whether the caller may use it, and tells it in
//! the audit trail.

mod filter;
mod verify;

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use conclave_api::{
    account::{Account, Export, Key, Purpose},
    problem::{Code, Problem},
};
use conclave_client::{Client, Failure};
use conclave_pki::{
    certificate::{Certificate, read_bundle_of, read_many},
    key::{OaepHash, PrivateKey, RsaPadding},
};
use conclave_smime::{
    cms::{Cipher, DecryptError, Holder, SigningKey},
    message::{self, Encryption, Form, MessageError},
    pkcs12,
};
use conclave_system::{clock, entropy};
use data_encoding::{BASE64, HEXLOWER};
use tempfile::{NamedTempFile, SpooledTempFile, spooled_tempfile};

use super::{Asking, Done, file, key::passphrase, unwritable};
use crate::{
    args::{CipherArg, DecryptMessage, EncryptMessage, Owner, SignMessage},
    output, progress,
};

pub(super) use filter::filter;
pub(super) use verify::verify;

/// Longest message held in memory; a longer one is in a file without a name.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// RSA-OAEP as RFC 8551 §2.3 has it.
const OAEP: RsaPadding = RsaPadding::Oaep { hash: OaepHash::Sha256, mask: OaepHash::Sha256 };

/// Signs a message.
pub(super) async fn sign(asking: &Asking, asked: SignMessage) -> Done {
    let mut input = open(&asked.message.file)?;
    let signer = Unlocked::signer(asking.client()?, &asked.owner).await?;
    let form = if asked.opaque { Form::Opaque } else { Form::Detached };
    write(asked.message.out.as_deref(), |out| {
        message::sign(&mut input, out, &signer.signing(), form, &mut entropy::fill)
    })?;
    Ok(0)
}

/// Encrypts a message, which an account may sign before.
pub(super) async fn encrypt(asking: &Asking, asked: EncryptMessage) -> Done {
    let mut input = open(&asked.message.file)?;
    let mut recipients = Vec::new();
    for email in &asked.to {
        let account = asking.client()?.account(email).await?;
        recipients.push(recipient(&account)?);
    }
    for path in &asked.cert {
        let read = read_bundle_of(&super::read_bytes(path)?, 1);
        recipients.extend(read.map_err(|error| file::unreadable(path, &error))?);
    }
    let padding = if asked.oaep { OAEP } else { RsaPadding::Pkcs1 };
    let encryption = Encryption { recipients: &recipients, cipher: asked.cipher.into(), padding };
    let signer = match (asked.sign_as, asked.passphrase_file) {
        (Some(email), Some(passphrase_file)) => {
            let owner = Owner { email, passphrase_file };
            Some(Unlocked::signer(asking.client()?, &owner).await?)
        }
        _ => None,
    };
    write(asked.message.out.as_deref(), |out| match &signer {
        Some(signer) => message::sign_and_encrypt(
            &mut input,
            out,
            &signer.signing(),
            Form::Detached,
            &encryption,
            &mut entropy::fill,
        ),
        None => message::encrypt(&mut input, out, &encryption, &mut entropy::fill),
    })?;
    Ok(0)
}

/// Decrypts a message by the first key of the account that opens it, the current one first.
pub(super) async fn decrypt(asking: &Asking, asked: DecryptMessage) -> Done {
    let mut held = hold(open(&asked.message.file)?)?;
    let (client, email) = (asking.client()?, &asked.owner.email);
    let pass = first_line(&asked.owner.passphrase_file)?;
    let account = client.account(email).await?;
    let keys = account.key.iter().chain(account.earlier.iter().rev());
    let is_usable = |key: &&Key| key.purpose != Purpose::Sign && !key.certificates.is_empty();
    let (earlier, present): (Vec<&Key>, Vec<&Key>) =
        keys.filter(is_usable).partition(|key| key.earlier_passphrase);
    let (mut recipients, mut refused, mut opens) = (None, None, None);
    for key in present.into_iter().chain(earlier) {
        // Each wrong passphrase counts, so none is tried twice.
        let is_wrong = refused.as_ref().is_some_and(|(number, _)| *number == key.passphrase);
        if is_wrong || opens.is_some_and(|number| number != key.passphrase) {
            continue;
        }
        let unlocked = match Unlocked::of(client, email, &pass, Some(key)).await {
            Err(failure) if failure.code == Code::AccountPassphraseRefused => {
                refused = Some((key.passphrase, failure));
                continue;
            }
            unlocked => unlocked?,
        };
        opens = Some(key.passphrase);
        // Before anything is written: what is written cannot be taken back, and CBC tells only at
        // the end that a message was changed.
        match unlocked.decrypt(&mut held, &mut io::sink()) {
            Ok(()) => {
                write(asked.message.out.as_deref(), |out| unlocked.decrypt(&mut held, out))?;
                return Ok(0);
            }
            Err(MessageError::Decrypt(DecryptError::NoRecipient { recipients: count })) => {
                recipients = Some(count);
            }
            Err(error) => return Err(unusable(&error)),
        }
    }
    if let (None, Some((_, refused))) = (recipients, refused) {
        return Err(refused);
    }
    let title = match recipients {
        Some(count) => {
            let others = output::counted(u64::try_from(count).unwrap_or(u64::MAX), "recipient");
            format!("the message is encrypted for others: {others}, none of them {email}")
        }
        None => format!("{email} has no key with a certificate for encrypted messages"),
    };
    Err(Box::new(
        Problem::new(Code::MessageForOthers, title).hint(format!("conclave account show {email}")),
    ))
}

/// A private key of an account with its certificates.
struct Unlocked {
    key: PrivateKey,
    /// The latest certificate.
    certificate: Certificate,
    /// Certificates above it.
    chain: Vec<Certificate>,
    /// All certificates of the key: messages name an earlier one too.
    certificates: Vec<Certificate>,
}

impl Unlocked {
    /// Gets a key of an account from the node: the given one or the current one.
    async fn of(
        client: &Client,
        email: &str,
        passphrase: &str,
        key: Option<&Key>,
    ) -> Result<Unlocked, Failure> {
        let once = HEXLOWER.encode(&entropy::array::<32>());
        let export = Export {
            passphrase: passphrase.to_owned(),
            export_passphrase: once.clone(),
            key: key.map(|key| key.sha256.clone()),
            legacy: false,
        };
        let exported = client.export_account_key(email, &export).await?;
        let unreadable = |why: String| {
            let title = format!("the node's answer about the key of {email} cannot be read");
            Box::new(Problem::new(Code::Internal, title).detail(why))
        };
        let bytes = BASE64.decode(exported.pkcs12.as_bytes());
        let bytes = bytes.map_err(|error| unreadable(error.to_string()))?;
        let now = clock::now().0 / 1_000;
        let identity = pkcs12::read(&bytes, &once, None, now);
        let identity = identity.map_err(|error| unreadable(error.to_string()))?;
        let certificates = key.into_iter().flat_map(|key| &key.certificates);
        let certificates =
            certificates.filter_map(|one| parsed(&one.certificate.pem)).collect::<Vec<_>>();
        let (key, mut chain) = identity.into_parts();
        if chain.is_empty() {
            return Err(unreadable("it has no certificate".to_owned()));
        }
        let certificate = chain.remove(0);
        Ok(Unlocked { key, certificate, chain, certificates })
    }

    /// Gets the current key of an account for signing.
    async fn signer(client: &Client, owner: &Owner) -> Result<Unlocked, Failure> {
        let pass = first_line(&owner.passphrase_file)?;
        let account = client.account(&owner.email).await?;
        if let Some(Key { purpose: Purpose::Encrypt, .. }) = &account.key {
            let title = format!("the key of {} is for encryption only", owner.email);
            let hint = format!(
                "conclave account key generate {} --passphrase-file {} --purpose sign",
                owner.email,
                owner.passphrase_file.display()
            );
            return Err(Box::new(Problem::new(Code::KeyMissing, title).hint(hint)));
        }
        Unlocked::of(client, &owner.email, &pass, None).await
    }

    fn signing(&self) -> SigningKey<'_> {
        let Unlocked { key, certificate, chain, .. } = self;
        SigningKey { key, certificate, chain, time: clock::now().0 / 1_000 }
    }

    fn decrypt(&self, held: &mut SpooledTempFile, out: impl Write) -> Result<(), MessageError> {
        let holder = |certificate| Holder { key: &self.key, certificate };
        let holders: Vec<Holder<'_>> = self.certificates.iter().map(holder).collect();
        held.rewind().map_err(MessageError::Read)?;
        let mut spool = spooled_tempfile(HELD_BYTES_MAX);
        message::decrypt(BufReader::new(held), out, &holders, &mut spool, &mut entropy::fill)
    }
}

/// Returns the certificate to which messages for an account are encrypted, as the node says.
fn recipient(account: &Account) -> Result<Certificate, Failure> {
    let certificates = account.key.iter().flat_map(|key| &key.certificates);
    let mut certificates = certificates.map(|one| &one.certificate);
    let found = certificates.find(|one| account.receives.as_ref() == Some(&one.sha256));
    found.and_then(|one| parsed(&one.pem)).ok_or_else(|| {
        let email = &account.address;
        let title = format!("messages to {email} cannot be encrypted");
        let why = "its key has no certificate that is valid, not revoked and for encryption";
        let problem = Problem::new(Code::RecipientMissing, title).why(why);
        Box::new(problem.hint(format!("conclave account show {email}")))
    })
}

fn parsed(pem: &str) -> Option<Certificate> {
    read_many(pem.as_bytes(), 1).ok()?.pop()
}

fn first_line(path: &Path) -> Result<String, Failure> {
    passphrase(Some(path)).map(Option::unwrap_or_default)
}

/// Opens a message: a file, or `-` for standard input.
fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = std::fs::File::open(path);
    let opened = opened.map_err(|error| super::file_problem(path, error.to_string()))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Takes a copy of a message, which is read twice: nobody can change it in between.
fn hold(mut input: impl Read) -> Result<SpooledTempFile, Failure> {
    let mut held = spooled_tempfile(HELD_BYTES_MAX);
    let copied = io::copy(&mut input, &mut held).and_then(|_| held.rewind());
    copied.map_err(|error| unusable(&MessageError::Read(error)))?;
    Ok(held)
}

/// Writes a message to a file that only its owner can read, which appears when it is whole, or to
/// standard output.
fn write(
    path: Option<&Path>,
    make: impl FnOnce(&mut dyn Write) -> Result<(), MessageError>,
) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        progress::end();
        let mut out = BufWriter::new(io::stdout().lock());
        let made = make(&mut out).and_then(|()| out.flush().map_err(MessageError::Write));
        return made.map_err(|error| match error {
            MessageError::Write(error) => Box::new(output::unwritten(&error)),
            other => unusable(&other),
        });
    };
    let unwritable = |error: &io::Error| unwritable(path, error);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let file = NamedTempFile::new_in(dir.unwrap_or(Path::new(".")));
    let mut out = BufWriter::new(file.map_err(|error| unwritable(&error))?);
    match make(&mut out) {
        Err(MessageError::Write(error)) => return Err(unwritable(&error)),
        made => made.map_err(|error| unusable(&error))?,
    }
    let file = out.into_inner().map_err(|error| unwritable(error.error()))?;
    file.as_file().sync_all().map_err(|error| unwritable(&error))?;
    file.persist(path).map_err(|error| unwritable(&error.error))?;
    Ok(())
}

fn unusable(error: &MessageError) -> Failure {
    let code = match error {
        MessageError::Verify(_) => Code::SignatureWrong,
        MessageError::Read(_) | MessageError::Write(_) => Code::FileUnusable,
        _ => Code::MessageUnusable,
    };
    let problem = Problem::new(code, error.to_string());
    match std::error::Error::source(error) {
        Some(source) => Box::new(problem.why(source.to_string())),
        None => Box::new(problem),
    }
}

impl From<CipherArg> for Cipher {
    fn from(cipher: CipherArg) -> Cipher {
        match cipher {
            CipherArg::Aes256Cbc => Cipher::Aes256Cbc,
            CipherArg::Aes256Gcm => Cipher::Aes256Gcm,
        }
    }
}
