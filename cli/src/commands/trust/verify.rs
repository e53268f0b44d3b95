//! `trust verify`: is a certificate valid, and by whom.

use std::path::Path as File;

use conclave_api::{
    problem::{Code, Problem},
    trust::Type,
};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate, CertificateError, read_many},
    crl::{Crl, read_crls},
    verify::{Purpose, Request, Rules, Subject, verify},
};
use serde::Serialize;

use super::super::{Asking, Done, read_bytes};
use crate::{
    args::{Global, PurposeArg, Verify},
    output,
};

/// A trusted certificate, and the set that it stands in.
type Anchor = (Certificate, String);

/// What came of it.
#[derive(Default, Serialize)]
struct Verdict {
    valid: bool,
    anchor: Option<Shown>,
    /// `file`, `builtin`, `server`, `cluster` or `domain`.
    set: Option<String>,
    /// From the certificate to the anchor.
    path: Vec<Shown>,
    /// Code of what is wrong.
    reason: Option<String>,
    detail: Option<String>,
    /// The rule that is broken.
    rule: Option<String>,
    /// Subject of the certificate at fault.
    certificate: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    subject: String,
    serial: String,
    not_after: String,
}

pub(super) fn is_offline(global: &Global, asked: &Verify) -> bool {
    asked.anchors.is_some() || matches!(global.scope.as_deref(), None | Some("builtin"))
}

pub(super) fn offline(global: &Global, asked: &Verify) -> Done {
    let anchors = match &asked.anchors {
        Some(file) => match read(file) {
            Ok(found) => found.into_iter().map(|one| (one, "file".to_owned())).collect(),
            Err(unreadable) => return unreadable.told(global, file),
        },
        None => {
            let roots = builtin::certificates().iter();
            roots.map(|one| (one.clone(), "builtin".to_owned())).collect()
        }
    };
    judge(global, asked, anchors, Vec::new())
}

pub(super) async fn online(asking: &Asking, asked: &Verify) -> Done {
    let scope = asking.global.scope.clone().unwrap_or_default();
    let listed = asking.client.trusted(&scope).await?;
    let (mut anchors, mut crls) = (Vec::new(), Vec::new());
    for one in listed.items {
        if one.of == Type::Crl {
            crls.extend(read_crls(one.pem.as_bytes()).unwrap_or_default());
            continue;
        }
        let read = read_many(one.pem.as_bytes(), 1).unwrap_or_default();
        anchors.extend(read.into_iter().map(|certificate| (certificate, one.set.clone())));
    }
    judge(&asking.global, asked, anchors, crls)
}

/// Why a file is no input.
enum Unreadable {
    File(Failure),
    Content(CertificateError),
}

impl Unreadable {
    /// A file that cannot be opened is an error; what cannot be read in it is a verdict.
    fn told(self, global: &Global, file: &File) -> Done {
        match self {
            Unreadable::File(failure) => Err(failure),
            Unreadable::Content(error) => Ok(show(
                global,
                &Verdict {
                    reason: Some(error.code().to_owned()),
                    detail: Some(format!("{}: {error}", file.display())),
                    ..Verdict::default()
                },
            )),
        }
    }
}

fn read(file: &File) -> Result<Vec<Certificate>, Unreadable> {
    const MAX: usize = 1_000;
    let bytes = read_bytes(file).map_err(Unreadable::File)?;
    read_many(&bytes, MAX).map_err(Unreadable::Content)
}

fn read_lists(files: &[std::path::PathBuf]) -> Result<Vec<Crl>, (Unreadable, &File)> {
    let mut crls = Vec::new();
    for file in files {
        let bytes = read_bytes(file).map_err(|failure| (Unreadable::File(failure), &**file))?;
        crls.extend(read_crls(&bytes).map_err(|error| (Unreadable::Content(error), &**file))?);
    }
    Ok(crls)
}

fn judge(global: &Global, asked: &Verify, anchors: Vec<Anchor>, mut crls: Vec<Crl>) -> Done {
    let mut chain = match read(&asked.chain) {
        Ok(chain) => chain,
        Err(unreadable) => return unreadable.told(global, &asked.chain),
    };
    match read_lists(&asked.crl) {
        Ok(more) => crls.extend(more),
        Err((unreadable, file)) => return unreadable.told(global, file),
    }
    let certificate = chain.remove(0);
    let mut intermediates = chain;
    if let Some(file) = &asked.intermediates {
        match read(file) {
            Ok(more) => intermediates.extend(more),
            // An empty file is no intermediates.
            Err(Unreadable::Content(CertificateError::NoCertificate)) => {}
            Err(unreadable) => return unreadable.told(global, file),
        }
    }
    let at = asked.at.unwrap_or_else(jiff::Timestamp::now).as_second();
    let at = u64::try_from(at).map_err(|_| {
        Box::new(Problem::new(Code::X004, "--at is before 1970, when no certificate was valid"))
    })?;
    let name = asked.name.as_deref().map(Subject::parse);
    let (trusted, sets): (Vec<Certificate>, Vec<String>) = anchors.into_iter().unzip();
    let request = Request {
        certificate: &certificate,
        intermediates: &intermediates,
        anchors: &trusted,
        crls: &crls,
        purpose: match asked.purpose {
            PurposeArg::Server => Purpose::Server,
            PurposeArg::Client => Purpose::Client,
            PurposeArg::Email => Purpose::Email,
            PurposeArg::Any => Purpose::Any,
        },
        name: name.as_ref(),
        at,
        rules: if asked.path_only { Rules::Path } else { Rules::Profile },
    };
    let verdict = match verify(&request) {
        Ok(path) => {
            let anchor = trusted.get(path.anchor);
            let between = path.intermediates.iter().filter_map(|place| intermediates.get(*place));
            // A certificate that is trusted itself stands there once.
            let above = anchor.filter(|anchor| anchor.der() != certificate.der());
            let all = std::iter::once(&certificate).chain(between).chain(above);
            Verdict {
                valid: true,
                anchor: anchor.map(shown),
                set: sets.get(path.anchor).cloned(),
                path: all.map(shown).collect(),
                ..Verdict::default()
            }
        }
        Err(refused) => Verdict {
            reason: Some(refused.reason.code().to_owned()),
            detail: Some(refused.detail),
            rule: Some(refused.rule.to_owned()),
            certificate: Some(refused.at_fault),
            ..Verdict::default()
        },
    };
    Ok(show(global, &verdict))
}

fn shown(certificate: &Certificate) -> Shown {
    let till = i64::try_from(certificate.not_after()).unwrap_or(i64::MAX);
    let till = jiff::Timestamp::from_second(till).map(|time| time.to_string());
    Shown {
        subject: certificate.subject(),
        serial: certificate.serial(),
        not_after: till.unwrap_or_default(),
    }
}

/// The verdict for people or machines; gives the exit code.
fn show(global: &Global, verdict: &Verdict) -> u8 {
    if !output::json(global, verdict) {
        if verdict.valid {
            let set = verdict.set.as_deref().unwrap_or_default();
            output::line(&format!("valid, by the {set} set"));
            for (depth, one) in verdict.path.iter().enumerate() {
                let (indent, till) = ("  ".repeat(depth), one.not_after.get(..10).unwrap_or(""));
                output::line(&format!(
                    "{indent}{}  serial {}  until {till}",
                    one.subject, one.serial
                ));
            }
        } else {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            output::line(&format!(
                "NOT valid: {} [{}]",
                part(&verdict.detail),
                part(&verdict.reason)
            ));
            if let (Some(certificate), Some(rule)) = (&verdict.certificate, &verdict.rule) {
                output::line(&format!("certificate  {certificate}\nrule         {rule}"));
            }
            let code = part(&verdict.reason);
            output::advice(global, &format!("more: conclave explain {code}"));
        }
    }
    if verdict.valid { 0 } else { 8 }
}
