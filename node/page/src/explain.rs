//! Why a certificate is trusted, or not.

use askama::Template;
use axum::{
    http::{StatusCode, request::Parts},
    response::Response,
};
use conclave_api::{
    change::List,
    path,
    problem::{Code, Problem},
    trust::{Trusted, Type},
};
use conclave_pki::{
    builtin,
    certificate::{Certificate, CertificateError, read_bundle_of, read_many},
    crl::{Crl, read_crls},
    verify::{Purpose, Request, Rules, verify},
};
use conclave_system::clock;

use crate::{
    FORM_BYTES_MAX,
    form::{Fields, Form, own_path},
    pages::refused,
    visit::Visit,
};

/// Where the form goes.
pub(crate) const EXPLAIN: &str = "/ui/explain";
/// Most certificates of a question.
const CERTIFICATES_MAX: usize = 20;
/// The set that is the same in each program, and known by purpose.
const BUILTIN: &str = "builtin";
const PURPOSES: [(&str, Purpose); 3] =
    [("server", Purpose::Server), ("client", Purpose::Client), ("email", Purpose::Email)];

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage<'a> {
    v: &'a Visit,
    set: &'a str,
    purpose: &'a str,
    verdict: Verdict,
}

/// What came of it.
enum Verdict {
    /// The path from the certificate to the trusted one, and the set that contains that.
    Trusted {
        path: Vec<String>,
        set: String,
    },
    Refused {
        detail: String,
        code: String,
        certificate: String,
        rule: String,
    },
}

/// Answers the question.
pub(crate) async fn explain(
    mut visit: Visit,
    parts: Parts,
    Form(fields): Form<FORM_BYTES_MAX>,
) -> Response {
    visit.path = own_path(fields.get("back"));
    if let Err(problem) = visit.check_form(&parts, EXPLAIN, &fields) {
        return refused(visit, fields.shown(), problem).await;
    }
    match judged(&visit, &fields).await {
        Ok(verdict) => {
            let (set, purpose) = (fields.get("name"), fields.get("purpose"));
            visit.page(StatusCode::OK, &ExplainPage { v: &visit, set, purpose, verdict })
        }
        Err(problem) => refused(visit, fields.shown(), problem).await,
    }
}

async fn judged(visit: &Visit, fields: &Fields) -> Result<Verdict, Problem> {
    let unreadable = |error: CertificateError| {
        Problem::new(Code::Malformed, "the certificate cannot be read").detail(error.to_string())
    };
    let sent = read_bundle_of(fields.get("certificate").as_bytes(), CERTIFICATES_MAX);
    let sent = sent.map_err(unreadable)?;
    let purpose = PURPOSES.iter().find(|(name, _)| *name == fields.get("purpose"));
    let purpose = purpose.map_or(Purpose::Any, |(_, purpose)| *purpose);
    let set = path::with_name(path::TRUST, fields.get("name"));
    let list: List<Trusted> = visit.api.read(&set).await?;
    let judging = tokio::task::spawn_blocking(move || {
        let (certificate, between) =
            sent.split_first().ok_or_else(|| unreadable(CertificateError::NoCertificate))?;
        let trust = Trust::of(list.items, purpose).map_err(|error| {
            let title = "a trusted certificate or revocation list of the set cannot be read";
            Problem::new(Code::Internal, title).detail(error.to_string())
        })?;
        Ok(trust.judge(certificate, between, purpose))
    });
    judging.await.unwrap_or_else(|error| {
        tracing::error!(event = "page.failed", %error);
        Err(Problem::new(Code::Internal, "the certificate cannot be judged"))
    })
}

/// What a set trusts, inherited certificates included.
struct Trust {
    anchors: Vec<Certificate>,
    /// The set of each of them.
    sets: Vec<String>,
    crls: Vec<Crl>,
}

impl Trust {
    fn of(listed: Vec<Trusted>, purpose: Purpose) -> Result<Trust, CertificateError> {
        let mut trust = Trust { anchors: Vec::new(), sets: Vec::new(), crls: Vec::new() };
        for one in listed.into_iter().filter(|one| one.set != BUILTIN) {
            // A verdict without a list could call a revoked certificate valid.
            if one.of == Type::Crl {
                trust.crls.extend(read_crls(one.pem.as_bytes())?);
                continue;
            }
            for certificate in read_many(one.pem.as_bytes(), 1)? {
                trust.anchors.push(certificate);
                trust.sets.push(one.set.clone());
            }
        }
        let builtin = builtin::certificates_for(purpose);
        trust.sets.extend(builtin.iter().map(|_| BUILTIN.to_owned()));
        trust.anchors.extend(builtin.iter().cloned());
        Ok(trust)
    }

    fn judge(
        &self,
        certificate: &Certificate,
        between: &[Certificate],
        purpose: Purpose,
    ) -> Verdict {
        let request = Request {
            certificate,
            intermediates: between,
            anchors: &self.anchors,
            crls: &self.crls,
            // The lists of a set need not cover certificates of other issuers.
            is_list_required: false,
            purpose,
            name: None,
            at: clock::now().0 / 1000,
            rules: Rules::Profile,
            depth: None,
        };
        match verify(&request) {
            Ok(path) => {
                let anchor = self.anchors.get(path.anchor);
                let above = anchor.filter(|anchor| anchor.der() != certificate.der());
                let middle = path.intermediates.iter().filter_map(|place| between.get(*place));
                let all = std::iter::once(certificate).chain(middle).chain(above);
                Verdict::Trusted {
                    path: all.map(Certificate::subject).collect(),
                    set: self.sets.get(path.anchor).cloned().unwrap_or_default(),
                }
            }
            Err(refused) => Verdict::Refused {
                detail: refused.detail,
                code: refused.reason.code().to_owned(),
                certificate: refused.at_fault,
                rule: refused.rule.to_owned(),
            },
        }
    }
}
