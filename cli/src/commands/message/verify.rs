//! Who signed a message, and whether the signer is trusted.

use std::{
    io::{BufReader, Seek},
    path::Path,
};

use conclave_api::problem::{Code, Problem};
use conclave_client::{Client, Failure};
use conclave_pki::{
    certificate::Certificate,
    crl::read_crls,
    verify::{Purpose, Request, Rules},
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
        Some(file) => match judging::of_file(file) {
            Ok(trust) => trust,
            Err(unreadable) => return unreadable.told(global, file),
        },
        None => {
            let scope = global.scope.as_deref().unwrap_or("cluster");
            judging::of_scope(asking, Some(scope), PurposeArg::Email).await?
        }
    };
    if asked.anchors.is_none() {
        for email in &checked.emails {
            add_issuer(asking.client()?, email, &mut trust).await?;
        }
    }
    let at = asked.at.unwrap_or_else(jiff::Timestamp::now).as_second();
    let found = verdicts(&checked, &trust, u64::try_from(at).unwrap_or(0));
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

/// Adds the issuer of an address's domain to the trusted certificates, and its revocation list. A
/// verdict without that list could call a revoked certificate valid.
async fn add_issuer(
    client: &Client,
    email: &str,
    trust: &mut judging::Trust,
) -> Result<(), Failure> {
    let of_account = client.account(email).await.ok().map(|account| account.domain);
    let behind = || email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    let Some(domain) = of_account.or_else(behind) else { return Ok(()) };
    let issuer = match client.smime_issuer(&domain).await {
        Err(error) if matches!(error.code, Code::DomainUnknown | Code::NotAllowed) => return Ok(()),
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

fn verdicts(checked: &Checked, trust: &judging::Trust, at: u64) -> Verified {
    let signed = |signer: &Signer| {
        let others = checked.verified.certificates.iter();
        let others = others.filter(|one| one.der() != signer.certificate.der());
        let intermediates: Vec<Certificate> = others.cloned().collect();
        let request = Request {
            certificate: &signer.certificate,
            intermediates: &intermediates,
            anchors: &[],
            crls: &trust.crls,
            is_list_required: false,
            purpose: Purpose::Email,
            name: None,
            at,
            rules: Rules::Profile,
            depth: None,
        };
        let time = signer.time.and_then(|time| time.checked_mul(1_000));
        Signed {
            subject: signer.certificate.subject(),
            emails: signer.certificate.emails(),
            time: time.map(|time| clock::rfc3339(conclave_store::time::UnixMillis(time))),
            algorithm: signer.algorithm.clone(),
            verdict: judging::of_request(request, trust),
        }
    };
    let signers: Vec<Signed> = checked.verified.signers.iter().map(signed).collect();
    Verified {
        valid: checked.is_from_signer && signers.iter().all(|signer| signer.verdict.valid),
        from: checked.from.clone(),
        from_is_signer: checked.is_from_signer,
        header_protected: checked.is_header_protected,
        signers,
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
