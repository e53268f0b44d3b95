//! The filter that mail servers call on the way into a mailbox.

use std::io::{self, BufWriter, Read, Write};

use conclave_api::problem::{Code, Problem};
use conclave_client::Failure;
use conclave_pki::certificate::Certificate;
use conclave_smime::{
    limits::HEADER_BYTES_MAX,
    message::{self, Encryption, Kind, MessageError},
};
use conclave_system::entropy;

use super::{
    super::{Asking, TEMPORARY},
    recipient, unusable,
};
use crate::{
    args::{FilterMessages, WithoutCertificate},
    output, progress,
};

// Exit codes of sysexits.h, besides that for another try.
const DATA_DAMAGED: u8 = 65;
const UNAVAILABLE: u8 = 69;

/// What is read to see the protection of a message: its header and the start of its body.
const HEAD_BYTES: usize = HEADER_BYTES_MAX + 64 * 1024;

/// Reason why a message does not come out, with the exit code for it.
struct Refused(u8, Failure);

impl From<Failure> for Refused {
    /// Whatever else is wrong, the mail server keeps the message and tries again.
    fn from(failure: Failure) -> Refused {
        Refused(TEMPORARY, failure)
    }
}

/// Encrypts a message from standard input to standard output. Returns the exit code.
pub(crate) async fn filter(asking: &Asking, asked: FilterMessages) -> u8 {
    match filtered(asking, &asked).await {
        Ok(()) => 0,
        Err(Refused(code, mut problem)) => {
            problem.exit_code = code;
            output::problem(asking.global.output, &problem);
            code
        }
    }
}

async fn filtered(asking: &Asking, asked: &FilterMessages) -> Result<(), Refused> {
    let mut input = io::stdin();
    let mut head = Vec::new();
    let limit = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
    let read = input.by_ref().take(limit).read_to_end(&mut head);
    read.map_err(|error| unusable(&MessageError::Read(error)))?;
    let kind = message::kind(head.as_slice()).map_err(|error| failed(&error))?;
    let recipients = match kind {
        Kind::Encrypted => Vec::new(),
        _ => recipients(asking, asked).await?,
    };
    let mut whole = io::BufReader::new(head.as_slice().chain(input));
    progress::end();
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if recipients.is_empty() {
        copy(&mut whole, &mut out)
    } else {
        let encryption = Encryption { cipher: asked.cipher.into(), ..Encryption::to(&recipients) };
        message::encrypt(&mut whole, &mut out, &encryption, &mut entropy::fill)
    };
    let written = written.and_then(|()| out.flush().map_err(MessageError::Write));
    written.map_err(|error| failed(&error))
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<(), MessageError> {
    io::copy(from, to).map(|_| ()).map_err(MessageError::Write)
}

/// Returns the certificates to encrypt to; none if the message stays as it is.
async fn recipients(asking: &Asking, asked: &FilterMessages) -> Result<Vec<Certificate>, Refused> {
    let mut found: Vec<Certificate> = Vec::new();
    for (place, email) in std::iter::once(&asked.to).chain(&asked.also).enumerate() {
        let missing = match certificate(asking, email).await? {
            Ok(certificate) => {
                if found.iter().all(|one| one.der() != certificate.der()) {
                    found.push(certificate);
                }
                continue;
            }
            Err(missing) => missing,
        };
        match asked.without_certificate {
            WithoutCertificate::Pass => output::warning(&asking.global, &missing.title),
            WithoutCertificate::Defer => return Err(Refused(TEMPORARY, missing)),
            WithoutCertificate::Reject => return Err(Refused(UNAVAILABLE, missing)),
        }
        // To others alone it would be unreadable for the owner of the mailbox.
        if place == 0 {
            return Ok(found);
        }
    }
    Ok(found)
}

/// Returns the certificate of an account, or why it has none.
async fn certificate(
    asking: &Asking,
    email: &str,
) -> Result<Result<Certificate, Failure>, Failure> {
    match asking.client()?.account(email).await {
        Ok(account) => Ok(recipient(&account)),
        Err(unknown) if is_unknown(&unknown) => Ok(Err(unknown)),
        Err(failure) => Err(failure),
    }
}

fn is_unknown(failure: &Problem) -> bool {
    matches!(failure.code, Code::AccountUnknown | Code::DomainUnknown)
}

fn failed(error: &MessageError) -> Refused {
    let code = match error {
        MessageError::Header(_) | MessageError::TooDeep => DATA_DAMAGED,
        _ => TEMPORARY,
    };
    Refused(code, unusable(error))
}
