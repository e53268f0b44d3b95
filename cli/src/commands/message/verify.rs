//! Who signed a message, and whether the signer is trusted.

use std::{
    io::{BufReader, Seek},
    path::Path,
};

use conclave_api::problem::{Code, Problem};
use conclave_client::{Client, Failure};
use conclave_pki::{
    certificate::Certificate,
    crl::{Crl, read_crls},
    verify::{Purpose, Reason, Request, Rules},
};
use conclave_smime::{
    cms::{Opening, Signer},
    message::{self, Checked},
};
use conclave_system::clock;
use serde::Serialize;

use super::{
    super::{Asking, Done, trust::verify as judging},
    hold, open, parsed, unusable, write,
};
use crate::{
    args::{Global, PurposeArg, VerifyMessage},
    output,
};

/// Name of the set with the issuer of the signer's own domain.
const ISSUER: &str = "issuer";

/// Most addresses of a signer for which an issuer here may vouch.
const EMAILS_MAX: usize = 16;
/// Answers that mean: no domain here, or none that the caller may see. Then only the trusted
/// certificates count.
const NO_ISSUER: [Code; 4] =
    [Code::DomainUnknown, Code::NotAllowed, Code::Malformed, Code::InvalidDomainName];

/// Result of a verification. Every signature is right, otherwise it is an error.
#[derive(Serialize)]
struct Verified {
    /// Whether every signer is trusted, and the author is among them.
    valid: bool,
    /// Addresses of the author (From).
    from: Vec<String>,
    /// Whether each of them is in the certificate of a signer.
    from_is_signer: bool,
    /// Whether the signature covers From, Subject and the other fields that readers see (RFC 9788).
    header_protected: bool,
    signers: Vec<Signed>,
}

/// A signer.
#[derive(Serialize)]
struct Signed {
    subject: String,
    emails: Vec<String>,
    /// When it was signed, as the signer says.
    time: Option<String>,
    algorithm: String,
    /// Whether a revocation list of the certificate's issuer was looked at.
    revocation_checked: bool,
    verdict: judging::Verdict,
}

/// Verifies a message.
pub(crate) async fn verify(asking: &Asking, asked: VerifyMessage) -> Done {
    let global = &asking.global;
    let is_to_output = asked.out.as_deref() == Some(Path::new("-"));
    if is_to_output && !output::is_table(global) {
        let title = "the message and the answer cannot both go to standard output";
        return Err(Box::new(Problem::new(Code::Malformed, title).hint("--out FILE")));
    }
    let mut held = hold(open(&asked.file)?)?;
    let checked = message::verify(BufReader::new(&mut held), std::io::sink(), Opening::default());
    let checked = checked.map_err(|error| unusable(&error))?;
    let mut trust = match &asked.anchors {
        Some(file) => match judging::of_file(file, &asked.crl) {
            Ok(trust) => trust,
            Err((unreadable, file)) => return unreadable.told(global, &file),
        },
        None => {
            let scope = global.scope.as_deref().unwrap_or("cluster");
            judging::of_scope(asking, Some(scope), PurposeArg::Email).await?
        }
    };
    let at = asked.at.map(|at| u64::try_from(at.as_second()).unwrap_or(0));
    let mut signers = Vec::new();
    for signer in &checked.verified.signers {
        let (anchors, lists) = (trust.anchors.len(), trust.crls.len());
        if asked.anchors.is_none() {
            add_issuer(asking.client()?, &signer.certificate.emails(), &mut trust).await?;
        }
        signers.push(signed(signer, &checked, &trust, at));
        // It may vouch for this signer alone.
        trust.anchors.truncate(anchors);
        trust.crls.truncate(lists);
    }
    let found = Verified {
        valid: checked.is_from_signer && signers.iter().all(|signer| signer.verdict.valid),
        from: checked.from.clone(),
        from_is_signer: checked.is_from_signer,
        header_protected: checked.is_header_protected,
        signers,
    };
    if found.valid && asked.out.is_some() {
        held.rewind().map_err(|error| unusable(&message::MessageError::Read(error)))?;
        write(asked.out.as_deref(), |out| {
            message::verify(BufReader::new(&mut held), out, Opening::default()).map(|_| ())
        })?;
    }
    let name = found.from.join(", ");
    if !output::object_of(global, "MessageVerdict", &name, &found) {
        tell(global, &found, is_to_output);
    }
    Ok(if found.valid { 0 } else { 8 })
}

/// Adds the issuer of the domain to which all these addresses belong to the trusted certificates, and
/// its revocation list: without that a revoked certificate could be called valid. No issuer vouches
/// for addresses of another domain.
async fn add_issuer(
    client: &Client,
    emails: &[String],
    trust: &mut judging::Trust,
) -> Result<(), Failure> {
    let mut domain: Option<String> = None;
    for email in emails.iter().take(EMAILS_MAX) {
        let of_account = client.account(email).await.ok().map(|account| account.domain);
        let behind = || email.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
        let found = of_account.or_else(behind);
        if domain.is_some() && domain != found {
            return Ok(());
        }
        domain = found;
    }
    let Some(domain) = domain.filter(|_| emails.len() <= EMAILS_MAX) else { return Ok(()) };
    let issuer = match client.smime_issuer(&domain).await {
        Err(error) if NO_ISSUER.contains(&error.code) => return Ok(()),
        found => found?,
    };
    let certificate = issuer.certificate.filter(|_| issuer.may_issue);
    let Some(certificate) = certificate.and_then(|one| parsed(&one.pem)) else { return Ok(()) };
    let list = client.smime_crl(&domain).await?;
    let unreadable = |error: conclave_pki::certificate::CertificateError| {
        let title = format!("the revocation list of {domain} cannot be read");
        Box::new(Problem::new(Code::Internal, title).detail(error.to_string()))
    };
    trust.crls.extend(read_crls(list.pem.as_bytes()).map_err(unreadable)?);
    trust.anchors.push((certificate, ISSUER.to_owned()));
    Ok(())
}

/// Judges a signer. With a time in the past or the future the path is judged at that time, and
/// revocation now: the present lists are all that there are.
fn signed(signer: &Signer, checked: &Checked, trust: &judging::Trust, at: Option<u64>) -> Signed {
    let others = checked.verified.certificates.iter();
    let others = others.filter(|one| one.der() != signer.certificate.der());
    let intermediates: Vec<Certificate> = others.cloned().collect();
    let judged = |at: u64, crls: &[Crl]| {
        let request = Request {
            certificate: &signer.certificate,
            intermediates: &intermediates,
            anchors: &[],
            crls,
            is_list_required: false,
            purpose: Purpose::EmailSignature,
            name: None,
            at,
            rules: Rules::Profile,
            depth: None,
        };
        judging::of_request(request, trust)
    };
    let present = judged(clock::now().0 / 1_000, &trust.crls);
    let verdict = match at {
        Some(at) if present.reason.as_deref() != Some(Reason::Revoked.code()) => judged(at, &[]),
        _ => present,
    };
    let issuer = signer.certificate.issuer();
    let time = signer.time.and_then(|time| time.checked_mul(1_000));
    Signed {
        subject: signer.certificate.subject(),
        emails: signer.certificate.emails(),
        time: time.map(|time| clock::rfc3339(conclave_store::time::UnixMillis(time))),
        algorithm: signer.algorithm.clone(),
        revocation_checked: trust.crls.iter().any(|list| list.issuer() == issuer),
        verdict,
    }
}

/// Tells the verdict to people; on standard error if the message is on standard output.
fn tell(global: &Global, found: &Verified, is_to_output: bool) {
    if is_to_output {
        for signer in &found.signers {
            output::advice(global, &format!("valid, signed by {}", signer.subject));
        }
        return;
    }
    for signer in &found.signers {
        output::line(&format!("signed by {} with {}", signer.subject, signer.algorithm));
        if let Some(time) = &signer.time {
            output::line(&format!("at        {time}, as the signer says"));
        }
        judging::told(global, &signer.verdict);
        if signer.verdict.valid && !signer.revocation_checked {
            let text = "revocation was not checked: no list of the issuer is known here";
            output::warning(global, text);
        }
    }
    let from = match (found.from.as_slice(), found.from_is_signer) {
        ([], _) => "NOT valid: the message has no single author (From)".to_owned(),
        (from, true) => format!("From      {}, whose certificate signed it", from.join(", ")),
        (from, false) => {
            format!("NOT valid: From is {}, which is in no signer's certificate", from.join(", "))
        }
    };
    output::line(&from);
    if !found.header_protected {
        let text = "Subject and From are not covered by the signature: they may have been changed";
        output::advice(global, text);
    }
}
