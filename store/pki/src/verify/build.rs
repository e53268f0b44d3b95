//! Path building: depth first, from the certificate to an anchor, with bounded work.

use std::collections::HashMap;

use super::{
    Path, Refused, Request, path,
    profile::Profiled,
    revocation::{self, Signer},
};
use crate::{
    budget::{Budget, each},
    certificate::Certificate,
    crl::Crl,
    limits::PATH_INTERMEDIATES_MAX,
    name::Comparable,
    rule::{Broken, Reason},
    signature,
};

fn no_issuer(certificate: &Certificate) -> Broken {
    let detail = format!("nobody here issued it; its issuer is {:?}", certificate.issuer());
    Broken::new(Reason::NoPath, "RFC 5280 §6.1", detail)
}

/// Position of a certificate in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Leaf,
    Intermediate(usize),
    Anchor(usize),
}

/// The facts about a certificate that decide its place in a path.
struct Known<'a> {
    certificate: &'a Certificate,
    /// Numbers of its names among all names; numbers are cheaper to compare.
    subject: usize,
    issuer: usize,
    /// Number of subject and key together. A path contains an identity only once.
    identity: usize,
}

/// A parsed certificate, with the result of the rules for it alone.
struct Judged<'a> {
    profiled: Profiled<'a>,
    checked: Result<(), Broken>,
}

pub(super) struct Search<'a> {
    request: &'a Request<'a>,
    budget: Budget,
    known: HashMap<Place, Known<'a>>,
    /// Positions by the number of their subject, anchors first.
    named: HashMap<usize, Vec<Place>>,
    judged: HashMap<Place, Result<Judged<'a>, Broken>>,
    signed: HashMap<(Place, Place), Result<(), Broken>>,
    /// Fault of the furthest path so far.
    furthest: Option<(usize, Broken, &'a Certificate)>,
}

impl<'a> Search<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Search<'a> {
        let anchors = request.anchors.iter().enumerate();
        let intermediates = request.intermediates.iter().enumerate();
        let all = std::iter::once((Place::Leaf, request.certificate))
            .chain(anchors.map(|(at, one)| (Place::Anchor(at), one)))
            .chain(intermediates.map(|(at, one)| (Place::Intermediate(at), one)));
        let (mut names, mut identities) = (HashMap::new(), HashMap::new());
        let (mut known, mut named) = (HashMap::new(), HashMap::<usize, Vec<Place>>::new());
        for (place, certificate) in all {
            let tbs = certificate.parsed().tbs_certificate();
            let [subject, issuer] = [tbs.subject(), tbs.issuer()].map(|name| {
                let next = names.len();
                *names.entry(Comparable::of(name)).or_insert(next)
            });
            let next = identities.len();
            let identity = (subject, certificate.public_key_der());
            let identity = *identities.entry(identity).or_insert(next);
            known.insert(place, Known { certificate, subject, issuer, identity });
            if place != Place::Leaf {
                named.entry(subject).or_default().push(place);
            }
        }
        Search {
            request,
            budget: Budget::with_list_bytes(request.crls.iter().map(Crl::bytes).sum()),
            known,
            named,
            judged: HashMap::new(),
            signed: HashMap::new(),
            furthest: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Path, Refused> {
        let certificate = self.request.certificate;
        let checked = match self.judge(Place::Leaf) {
            Ok(()) => match self.judged.get(&Place::Leaf) {
                Some(Ok(leaf)) => leaf.checked.clone(),
                Some(Err(broken)) => Err(broken.clone()),
                None => Ok(()),
            },
            spent => spent,
        };
        checked.map_err(|broken| Refused::of(broken, certificate))?;
        match self.extend(&mut vec![Place::Leaf]) {
            Ok(Some(found)) => Ok(found),
            Err(broken) => Err(Refused::of(broken, certificate)),
            Ok(None) => Err(match self.furthest {
                Some((_, broken, at_fault)) => Refused::of(broken, at_fault),
                None => Refused::of(no_issuer(certificate), certificate),
            }),
        }
    }

    fn certificate(&self, place: Place) -> &'a Certificate {
        self.known.get(&place).map_or(self.request.certificate, |known| known.certificate)
    }

    /// Parses a certificate and checks it alone, once.
    fn judge(&mut self, place: Place) -> Result<(), Broken> {
        if self.judged.contains_key(&place) {
            return Ok(());
        }
        let certificate = self.certificate(place);
        let is_pinned = || self.request.anchors.iter().any(|one| one.der() == certificate.der());
        let is_anchor = match place {
            Place::Leaf => is_pinned(),
            Place::Intermediate(_) => false,
            Place::Anchor(_) => true,
        };
        // A parsed certificate takes up to fifty times its bytes, so a large one costs more.
        let bytes = certificate.der().len();
        self.budget.spend(each(bytes, 30) + each(bytes.saturating_sub(4 * 1024), 70))?;
        if is_anchor {
            // The check includes whether it signed itself.
            self.budget.spend(signature::cost(certificate, certificate))?;
        }
        let judged = Profiled::read(certificate).map(|profiled| {
            let checked = profiled.check(self.request, is_anchor);
            Judged { profiled, checked }
        });
        let weight = judged.as_ref().map_or(0, |one| one.profiled.weight());
        self.judged.insert(place, judged);
        self.budget.spend(weight)
    }

    fn profiled(&self, place: Place) -> Option<&Profiled<'a>> {
        self.judged.get(&place)?.as_ref().ok().map(|one| &one.profiled)
    }

    fn note(&mut self, depth: usize, broken: &Broken, at_fault: &'a Certificate) {
        let is_dead_end = |broken: &Broken| broken.reason == Reason::NoPath;
        // A dead end says less than a path that breaks a rule, however long it is.
        let is_better = self.furthest.as_ref().is_none_or(|(known_depth, known, _)| {
            match (is_dead_end(broken), is_dead_end(known)) {
                (true, false) => false,
                (false, true) => true,
                _ => depth > *known_depth,
            }
        });
        if is_better {
            self.furthest = Some((depth, broken.clone(), at_fault));
        }
    }

    /// Extends `path` beyond its last certificate. The only error is an exhausted budget.
    fn extend(&mut self, path: &mut Vec<Place>) -> Result<Option<Path>, Broken> {
        let Some(last) = path.last().copied() else { return Ok(None) };
        if last == Place::Leaf {
            // The certificate itself may be an anchor.
            let certificate = self.request.certificate.der();
            let pinned = self.request.anchors.iter().position(|one| one.der() == certificate);
            if let Some(anchor) = pinned
                && let Some(found) = self.complete(path, anchor)?
            {
                return Ok(Some(found));
            }
        }
        let issuers = self.issuers(last, path)?;
        if issuers.is_empty() {
            // The certificate at the end of this path is at fault, not the one to validate.
            let certificate = self.certificate(last);
            self.note(path.len(), &no_issuer(certificate), certificate);
        }
        for issuer in issuers {
            if let Err((broken, at_fault)) = self.check_issuer(last, issuer)? {
                self.note(path.len(), &broken, at_fault);
                continue;
            }
            path.push(issuer);
            let found = match issuer {
                Place::Anchor(anchor) => self.complete(path, anchor)?,
                _ if path.len() > PATH_INTERMEDIATES_MAX + 1 => None,
                _ => self.extend(path)?,
            };
            path.pop();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns possible issuers of a certificate. First those whose key identifier does not
    /// contradict the one that the certificate names; among equals, anchors first.
    fn issuers(&mut self, subject: Place, path: &[Place]) -> Result<Vec<Place>, Broken> {
        let identity = |place: &Place| self.known.get(place).map(|known| known.identity);
        let used: Vec<Option<usize>> = path.iter().map(identity).collect();
        let issuer = self.known.get(&subject).map(|known| known.issuer);
        let named = issuer.and_then(|name| self.named.get(&name)).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for place in named {
            self.budget.spend(200)?;
            if used.contains(&self.known.get(&place).map(|known| known.identity)) {
                continue;
            }
            self.judge(place)?;
            let (Some(Ok(upper)), Some(Ok(lower))) =
                (self.judged.get(&place), self.judged.get(&subject))
            else {
                continue;
            };
            let differs = matches!(
                (&lower.profiled.authority_key_id, &upper.profiled.key_id),
                (Some(wanted), Some(found)) if wanted != found
            );
            found.push((differs, place));
        }
        found.sort_by_key(|(differs, _)| *differs);
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    /// Checks the signature of the lower one, and the rules for the upper one alone.
    fn check_issuer(
        &mut self,
        lower: Place,
        upper: Place,
    ) -> Result<Result<(), path::Fault<'a>>, Broken> {
        let (subject, issuer) = (self.certificate(lower), self.certificate(upper));
        if !self.signed.contains_key(&(lower, upper)) {
            let checked = signature::check(subject, issuer, &mut self.budget);
            if let Err(broken) = &checked
                && broken.reason == Reason::TooMuch
            {
                return Err(broken.clone());
            }
            self.signed.insert((lower, upper), checked);
        }
        let judged = self.judged.get(&upper).and_then(|one| one.as_ref().ok());
        Ok(match (self.signed.get(&(lower, upper)), judged.map(|one| &one.checked)) {
            (Some(Err(broken)), _) => Err((broken.clone(), subject)),
            (_, Some(Err(broken))) => Err((broken.clone(), issuer)),
            _ => Ok(()),
        })
    }

    /// Checks the rules for a whole path that has reached an anchor.
    fn complete(&mut self, path: &[Place], anchor: usize) -> Result<Option<Path>, Broken> {
        let (judged, budget) = (&self.judged, &mut self.budget);
        let from_anchor: Vec<&Profiled<'a>> = path
            .iter()
            .rev()
            .filter_map(|place| judged.get(place)?.as_ref().ok())
            .map(|one| &one.profiled)
            .collect();
        for one in &from_anchor {
            budget.spend(one.weight())?;
        }
        let checked = match path::check(&from_anchor, self.request, budget) {
            Ok(()) => self.check_revocation(path),
            broken => broken,
        };
        match checked {
            Ok(()) => {
                let intermediates = path.iter().filter_map(|place| match place {
                    Place::Intermediate(at) => Some(*at),
                    _ => None,
                });
                Ok(Some(Path { intermediates: intermediates.collect(), anchor }))
            }
            Err((broken, _)) if broken.reason == Reason::TooMuch => Err(broken),
            Err((broken, at_fault)) => {
                self.note(path.len(), &broken, at_fault);
                Ok(None)
            }
        }
    }

    /// Checks the revocation of each certificate below the anchor (RFC 5280 §6.3).
    fn check_revocation(&mut self, path: &[Place]) -> Result<(), path::Fault<'a>> {
        if self.request.crls.is_empty() {
            return Ok(());
        }
        for (depth, lower) in path.iter().enumerate() {
            let above = path.get(depth + 1..).unwrap_or_default();
            let Some(upper) = above.first() else { continue };
            let mut signers = vec![self.signer(*upper)];
            let checked = self
                .other_signers(*lower, above)
                .map(|others| signers.extend(others))
                .and_then(|()| self.check_status(*lower, &signers));
            checked.map_err(|broken| (broken, self.certificate(*lower)))?;
        }
        Ok(())
    }

    fn check_status(&mut self, place: Place, signers: &[Signer<'a>]) -> Result<(), Broken> {
        let certificate = self.certificate(place);
        let (judged, budget) = (&self.judged, &mut self.budget);
        let Some(Ok(one)) = judged.get(&place) else { return Ok(()) };
        let status = revocation::Status {
            issuer_name: &one.profiled.issuer,
            signers,
            is_required: place == Place::Leaf && self.request.is_list_required,
            points: &one.profiled.crl_points,
        };
        revocation::check(certificate, &status, self.request.crls, self.request.at, budget)
    }

    fn signer(&self, place: Place) -> Signer<'a> {
        let usage = self.profiled(place).and_then(|one| one.key_usage.as_ref());
        let may_sign = usage.is_none_or(|usage| usage.crl_sign());
        Signer { certificate: self.certificate(place), may_sign }
    }

    /// Returns other keys of the issuer of `lower` that may sign its lists, if there are lists of
    /// that issuer: keys above `lower` in the path, and keys for lists that a certificate above it
    /// certified and no list revokes.
    fn other_signers(&mut self, lower: Place, above: &[Place]) -> Result<Vec<Signer<'a>>, Broken> {
        self.budget.spend(each(self.request.crls.len(), 50))?;
        let Some(one) = self.profiled(lower) else { return Ok(Vec::new()) };
        if !self.request.crls.iter().any(|crl| revocation::is_of(crl, &one.issuer)) {
            return Ok(Vec::new());
        }
        let issuer = self.known.get(&lower).map(|known| known.issuer);
        let named = issuer.and_then(|name| self.named.get(&name)).cloned().unwrap_or_default();
        let key = self.certificate(lower).public_key_der();
        let mut found = Vec::new();
        for place in named {
            self.budget.spend(200)?;
            let is_above = above.contains(&place);
            // A key must not vouch for its own certificate.
            if self.certificate(place).public_key_der() == key
                || matches!(place, Place::Anchor(_)) && !is_above
            {
                continue;
            }
            self.judge(place)?;
            if self.profiled(place).is_none() {
                continue;
            }
            let signer = self.signer(place);
            if is_above || signer.may_sign && self.is_certified(place, above)? {
                found.push(signer);
            }
        }
        Ok(found)
    }

    /// Returns whether one of `above` issued it, it passes the rules for it alone, and it is not
    /// revoked.
    fn is_certified(&mut self, place: Place, above: &[Place]) -> Result<bool, Broken> {
        if !matches!(self.judged.get(&place), Some(Ok(one)) if one.checked.is_ok()) {
            return Ok(false);
        }
        let issuer = self.known.get(&place).map(|known| known.issuer);
        for upper in above {
            let is_named = self.known.get(upper).map(|known| known.subject) == issuer;
            if is_named && self.check_issuer(place, *upper)?.is_ok() {
                let signer = self.signer(*upper);
                return match self.check_status(place, &[signer]) {
                    Err(broken) if broken.reason == Reason::TooMuch => Err(broken),
                    Err(broken) => Ok(broken.reason != Reason::Revoked),
                    Ok(()) => Ok(true),
                };
            }
        }
        Ok(false)
    }
}
