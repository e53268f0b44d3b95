//! `trust verify` and `trust explain`: whether a certificate is valid, and by which trusted one.

use std::path::Path as File;

use conclave_api::{
    problem::{Code, Problem},
    trust::Type,
};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate, CertificateError, read_bundle_of, read_many},
    crl::{Crl, read_crls},
    judge,
    verify::{Purpose, Request, Rules, Subject, verify},
};
use serde::Serialize;

use super::super::{Asking, Done, read_bytes};
use crate::{
    args::{Global, Judging, ProfileArg, PurposeArg},
    output,
};

/// Name of the set built into the program.
const BUILTIN: &str = "builtin";

/// A trusted certificate, and the set that contains it.
type Anchor = (Certificate, String);

/// Trusted certificates and revocation lists for a validation.
#[derive(Default)]
pub(in super::super) struct Trust {
    pub(in super::super) anchors: Vec<Anchor>,
    pub(in super::super) crls: Vec<Crl>,
}

/// Result of a validation.
#[derive(Default, Serialize)]
pub(in super::super) struct Verdict {
    pub(in super::super) valid: bool,
    anchor: Option<Shown>,
    /// `file`, `builtin`, `server`, `cluster` or `domain`.
    set: Option<String>,
    /// Path from the certificate to the anchor.
    path: Vec<Shown>,
    /// Error code.
    reason: Option<String>,
    detail: Option<String>,
    /// The command that helps, if the input could not be read.
    hint: Option<String>,
    /// The broken rule.
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

pub(super) async fn run(asking: &Asking, chain: &File, how: &Judging) -> Done {
    let global = &asking.global;
    let trust = match &how.anchors {
        Some(file) => match of_file(file) {
            Ok(trust) => trust,
            Err(unreadable) => return unreadable.told(global, file),
        },
        None => of_scope(asking, global.scope.as_deref(), how.purpose).await?,
    };
    let mut chain = match read(chain) {
        Ok(chain) => chain,
        Err(unreadable) => return unreadable.told(global, chain),
    };
    let certificate = chain.remove(0);
    match verdict(how, &certificate, chain, &trust) {
        Ok(verdict) => Ok(show(global, &verdict)),
        Err((unreadable, file)) => unreadable.told(global, &file),
    }
}

/// Returns the certificates in a file as trusted ones.
pub(in super::super) fn of_file(file: &File) -> Result<Trust, Unreadable> {
    let anchors = read(file)?.into_iter().map(|one| (one, "file".to_owned())).collect();
    Ok(Trust { anchors, crls: Vec::new() })
}

/// Returns the trusted certificates and revocation lists for a scope. The built-in ones need no
/// node.
pub(in super::super) async fn of_scope(
    asking: &Asking,
    scope: Option<&str>,
    purpose: PurposeArg,
) -> Result<Trust, Failure> {
    let builtin = builtin::certificates_for(purpose.into());
    let builtin = builtin.iter().map(|one| (one.clone(), BUILTIN.to_owned()));
    let Some(scope) = scope.filter(|scope| *scope != BUILTIN) else {
        return Ok(Trust { anchors: builtin.collect(), crls: Vec::new() });
    };
    let unusable = |error: CertificateError| {
        let title = format!("a trusted certificate or revocation list of {scope} cannot be read");
        Box::new(Problem::new(Code::Internal, title).detail(error.to_string()))
    };
    let mut trust = Trust::default();
    let listed = asking.client()?.trusted(scope).await?.items;
    // The node's built-in certificates are the same as this program's, which are known by purpose.
    for one in listed.into_iter().filter(|one| one.set != BUILTIN) {
        if one.of == Type::Crl {
            // A verdict without this list could call a revoked certificate valid.
            trust.crls.extend(read_crls(one.pem.as_bytes()).map_err(unusable)?);
            continue;
        }
        let read = read_many(one.pem.as_bytes(), 1).map_err(unusable)?;
        trust.anchors.extend(read.into_iter().map(|certificate| (certificate, one.set.clone())));
    }
    trust.anchors.extend(builtin);
    Ok(trust)
}

/// A set in use, with the number of its certificates.
#[derive(Serialize)]
struct Counted {
    set: String,
    count: usize,
}

/// Explanation of a scope, without a certificate to validate.
#[derive(Serialize)]
struct Explained {
    scope: String,
    /// Sets in order of precedence.
    sets: Vec<Counted>,
    /// Verdicts about the certificates of the scope's domain.
    certificates: Vec<Verdict>,
}

/// Shows the sets in use, and their verdicts about the scope's own certificates.
pub(super) async fn explain(asking: &Asking, how: &Judging) -> Done {
    let global = &asking.global;
    let trust = of_scope(asking, global.scope.as_deref(), how.purpose).await?;
    let scope = global.scope.clone().unwrap_or_else(|| BUILTIN.to_owned());
    let mut explained = Explained { scope, sets: Vec::new(), certificates: Vec::new() };
    for set in ["domain", "server", "cluster", BUILTIN] {
        let count = trust.anchors.iter().filter(|(_, found)| found == set).count();
        if count > 0 || set == BUILTIN {
            explained.sets.push(Counted { set: set.to_owned(), count });
        }
    }
    if let Some(name) = explained.scope.strip_prefix("domain:") {
        for one in asking.client()?.domain(name).await?.credentials {
            let Some(certificate) = one.certificate else { continue };
            let sent = std::iter::once(certificate).chain(one.chain);
            let sent: Vec<_> = sent.filter_map(|one| parsed(&one.pem)).collect();
            let Some((certificate, chain)) = sent.split_first() else { continue };
            match verdict(how, certificate, chain.to_vec(), &trust) {
                Ok(verdict) => explained.certificates.push(verdict),
                Err((unreadable, file)) => return unreadable.told(global, &file),
            }
        }
    }
    if !output::object_of(global, "TrustExplanation", &explained.scope, &explained) {
        output::line(&format!("For {} these sets count, in this order:", explained.scope));
        for Counted { set, count } in &explained.sets {
            let count = output::counted(u64::try_from(*count).unwrap_or(u64::MAX), "certificate");
            output::line(&format!("  {set:<8} {count}"));
        }
        for verdict in &explained.certificates {
            output::line("");
            told(global, verdict);
        }
    }
    let is_all_valid = explained.certificates.iter().all(|verdict| verdict.valid);
    Ok(if is_all_valid { 0 } else { 8 })
}

fn parsed(pem: &str) -> Option<Certificate> {
    read_many(pem.as_bytes(), 1).ok()?.pop()
}

/// Reason why a file is not usable as input.
pub(in super::super) enum Unreadable {
    File(Failure),
    Content(CertificateError),
}

impl Unreadable {
    /// Reports the reason. A file that cannot be opened is an error; content that cannot be parsed
    /// is a verdict.
    pub(in super::super) fn told(self, global: &Global, file: &File) -> Done {
        match self {
            Unreadable::File(failure) => Err(failure),
            Unreadable::Content(error) => Ok(show(
                global,
                &Verdict {
                    reason: Some(error.code().to_owned()),
                    detail: Some(format!("{}: {error}", file.display())),
                    hint: Some(error.hint().replace("INPUT", &file.display().to_string())),
                    ..Verdict::default()
                },
            )),
        }
    }
}

fn read(file: &File) -> Result<Vec<Certificate>, Unreadable> {
    const MAX: usize = 1_000;
    let bytes = read_bytes(file).map_err(Unreadable::File)?;
    read_bundle_of(&bytes, MAX).map_err(Unreadable::Content)
}

/// An unreadable file, with the reason.
type Blamed = (Unreadable, std::path::PathBuf);

fn read_lists(files: &[std::path::PathBuf]) -> Result<Vec<Crl>, Blamed> {
    let mut crls = Vec::new();
    for file in files {
        let blamed = |unreadable| (unreadable, file.clone());
        let bytes = read_bytes(file).map_err(|failure| blamed(Unreadable::File(failure)))?;
        let read = read_crls(&bytes);
        crls.extend(read.map_err(|error| blamed(Unreadable::Content(error)))?);
    }
    Ok(crls)
}

fn verdict(
    how: &Judging,
    certificate: &Certificate,
    mut intermediates: Vec<Certificate>,
    trust: &Trust,
) -> Result<Verdict, Blamed> {
    let mut crls = read_lists(&how.crl)?;
    crls.extend(trust.crls.iter().cloned());
    if let Some(file) = &how.intermediates {
        match read(file) {
            Ok(more) => intermediates.extend(more),
            // An empty file means no intermediates.
            Err(Unreadable::Content(CertificateError::NoCertificate)) => {}
            Err(unreadable) => return Err((unreadable, file.clone())),
        }
    }
    let at = how.at.unwrap_or_else(jiff::Timestamp::now).as_second();
    // No certificate was valid before 1970.
    let at = u64::try_from(at).unwrap_or(0);
    let name = how.name.as_deref().map(Subject::parse);
    let request = Request {
        certificate,
        intermediates: &intermediates,
        anchors: &[],
        crls: &crls,
        // The lists of a set need not cover certificates of other issuers.
        is_list_required: !how.crl.is_empty(),
        purpose: how.purpose.into(),
        name: name.as_ref(),
        at,
        rules: match how.profile {
            _ if how.path_only => Rules::Path,
            ProfileArg::Rfc5280 => Rules::Profile,
            ProfileArg::Webpki => Rules::WebPki,
        },
        depth: how.depth,
    };
    Ok(of_request(request, trust))
}

/// Returns the verdict about a request, whose anchors are those of `trust`.
pub(in super::super) fn of_request(request: Request<'_>, trust: &Trust) -> Verdict {
    let (trusted, sets): (Vec<Certificate>, Vec<&String>) =
        trust.anchors.iter().map(|(certificate, set)| (certificate.clone(), set)).unzip();
    let request = Request { anchors: &trusted, ..request };
    let Request { certificate, intermediates, at, .. } = request;
    match verify(&request) {
        Ok(path) => {
            let anchor = trusted.get(path.anchor);
            let between = path.intermediates.iter().filter_map(|place| intermediates.get(*place));
            // A certificate that is trusted itself is in the path only once.
            let above = anchor.filter(|anchor| anchor.der() != certificate.der());
            let all = std::iter::once(certificate).chain(between).chain(above);
            Verdict {
                valid: true,
                anchor: anchor.map(shown),
                set: sets.get(path.anchor).map(|set| (*set).clone()),
                path: all.map(shown).collect(),
                ..Verdict::default()
            }
        }
        Err(refused) => Verdict {
            reason: Some(refused.reason.code().to_owned()),
            detail: Some(refused.detail),
            rule: Some(refused.rule.to_owned()),
            certificate: Some(refused.at_fault),
            hint: next_step(certificate, intermediates, &trusted, at),
            ..Verdict::default()
        },
    }
}

/// Returns what mends the chain, if that is what is wrong.
fn next_step(
    certificate: &Certificate,
    intermediates: &[Certificate],
    trusted: &[Certificate],
    at: u64,
) -> Option<String> {
    let judgement = judge::judge(certificate, intermediates, trusted, at);
    let helps = |one: &&judge::Finding| {
        matches!(one, judge::Finding::Incomplete { .. } | judge::Finding::PrivateRoot { .. })
    };
    judgement.findings.iter().find(helps).and_then(judge::Finding::hint)
}

impl From<PurposeArg> for Purpose {
    fn from(purpose: PurposeArg) -> Purpose {
        match purpose {
            PurposeArg::Server => Purpose::Server,
            PurposeArg::Client => Purpose::Client,
            PurposeArg::Email => Purpose::Email,
            PurposeArg::Any => Purpose::Any,
        }
    }
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

/// Shows the verdict, for people or machines. Returns the exit code.
fn show(global: &Global, verdict: &Verdict) -> u8 {
    let anchor = verdict.anchor.as_ref().map_or("", |anchor| anchor.subject.as_str());
    if !output::object_of(global, "Verdict", anchor, verdict) {
        told(global, verdict);
    }
    if verdict.valid { 0 } else { 8 }
}

pub(in super::super) fn told(global: &Global, verdict: &Verdict) {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    if verdict.valid {
        output::line(&format!("valid, by the {} set", part(&verdict.set)));
        for (depth, one) in verdict.path.iter().enumerate() {
            let (indent, till) = ("  ".repeat(depth), one.not_after.get(..10).unwrap_or(""));
            output::line(&format!("{indent}{}  serial {}  until {till}", one.subject, one.serial));
        }
        return;
    }
    let (detail, code) = (part(&verdict.detail), part(&verdict.reason));
    output::line(&format!("NOT valid: {detail} [{code}]"));
    if let (Some(certificate), Some(rule)) = (&verdict.certificate, &verdict.rule) {
        output::line(&format!("certificate  {certificate}\nrule         {rule}"));
    }
    if let Some(hint) = &verdict.hint {
        output::line(&format!("hint: {hint}"));
    }
    output::advice(global, &format!("more: conclave explain {code}"));
}
