//! Finding paths: depth first, from the certificate to an anchor, with bounded work.

use std::collections::HashMap;

use super::{Broken, Budget, Path, Reason, Refused, Request, path, profile::Profiled, signature};
use crate::{
    certificate::Certificate,
    crl::{self, Signer},
    limits::PATH_INTERMEDIATES_MAX,
    name,
};

/// Complete paths that are looked at.
const PATHS_MAX: u32 = 1_000;
/// Steps of the search.
const STEPS_MAX: u32 = 20_000;

/// Where a certificate stands in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Leaf,
    Intermediate(usize),
    Anchor(usize),
}

pub(super) struct Search<'a> {
    request: &'a Request<'a>,
    budget: Budget,
    paths: u32,
    steps: u32,
    profiled: HashMap<Place, Result<Profiled<'a>, Broken>>,
    signed: HashMap<(Place, Place), Result<(), Broken>>,
    /// What is wrong with the path that came furthest.
    furthest: Option<(usize, Refused)>,
}

impl<'a> Search<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Search<'a> {
        let mut profiled = HashMap::new();
        profiled.insert(Place::Leaf, Profiled::read(request.certificate));
        for (place, one) in request.intermediates.iter().enumerate() {
            profiled.insert(Place::Intermediate(place), Profiled::read(one));
        }
        for (place, one) in request.anchors.iter().enumerate() {
            profiled.insert(Place::Anchor(place), Profiled::read(one));
        }
        let budget = Budget::new();
        Search {
            request,
            budget,
            paths: 0,
            steps: 0,
            profiled,
            signed: HashMap::new(),
            furthest: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Path, Refused> {
        let certificate = self.request.certificate;
        let checked = match self.profiled.get(&Place::Leaf) {
            Some(Ok(leaf)) => leaf.check(self.request, self.is_anchor(certificate)),
            Some(Err(broken)) => Err(broken.clone()),
            None => Ok(()),
        };
        checked.map_err(|broken| broken.of(certificate))?;
        match self.extend(&mut vec![Place::Leaf]) {
            Ok(Some(found)) => Ok(found),
            Err(broken) => Err(broken.of(certificate)),
            Ok(None) => Err(match self.furthest {
                Some((_, refused)) => refused,
                None => {
                    let detail =
                        format!("nobody here issued it; its issuer is {:?}", certificate.issuer());
                    Broken::new(Reason::NoPath, "RFC 5280 §6.1", detail).of(certificate)
                }
            }),
        }
    }

    fn is_anchor(&self, certificate: &Certificate) -> bool {
        self.request.anchors.iter().any(|anchor| anchor.der() == certificate.der())
    }

    fn certificate(&self, place: Place) -> &'a Certificate {
        let found = match place {
            Place::Leaf => None,
            Place::Intermediate(at) => self.request.intermediates.get(at),
            Place::Anchor(at) => self.request.anchors.get(at),
        };
        found.unwrap_or(self.request.certificate)
    }

    fn note(&mut self, depth: usize, refused: Refused) {
        if self.furthest.as_ref().is_none_or(|(known, _)| depth > *known) {
            self.furthest = Some((depth, refused));
        }
    }

    /// Goes on from the last certificate of `path`. The error is that of spent work only.
    fn extend(&mut self, path: &mut Vec<Place>) -> Result<Option<Path>, Broken> {
        let Some(last) = path.last().copied() else { return Ok(None) };
        self.steps += 1;
        if self.steps > STEPS_MAX || self.paths > PATHS_MAX {
            return Err(Broken::new(
                Reason::TooMuch,
                "bounded work",
                "more possible paths than any honest input has",
            ));
        }
        // The certificate itself may be the trusted one.
        let pinned =
            self.request.anchors.iter().position(|one| one.der() == self.certificate(last).der());
        if let Some(anchor) = pinned
            && last == Place::Leaf
            && let Some(found) = self.complete(path, anchor)?
        {
            return Ok(Some(found));
        }
        for issuer in self.issuers(last, path) {
            let depth = path.len();
            match self.check_issuer(last, issuer)? {
                Err(refused) => self.note(depth, refused),
                Ok(()) => {
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
            }
        }
        Ok(None)
    }

    /// Who may have issued a certificate: anchors first, and of each those whose key identifier
    /// is the one that the certificate names.
    fn issuers(&self, subject: Place, path: &[Place]) -> Vec<Place> {
        let Some(Ok(subject)) = self.profiled.get(&subject) else { return Vec::new() };
        let anchors = (0..self.request.anchors.len()).map(Place::Anchor);
        let intermediates = (0..self.request.intermediates.len()).map(Place::Intermediate);
        let mut found: Vec<(bool, Place)> = anchors
            .chain(intermediates)
            .filter_map(|place| {
                let Some(Ok(issuer)) = self.profiled.get(&place) else { return None };
                let is_used = path.iter().any(|used| {
                    let used = self.certificate(*used);
                    used.public_key_der() == issuer.certificate.public_key_der()
                        && used.subject_der() == issuer.certificate.subject_der()
                });
                if is_used || issuer.subject != subject.issuer {
                    return None;
                }
                let differs = matches!(
                    (&subject.authority_key_id, &issuer.key_id),
                    (Some(wanted), Some(found)) if wanted != found
                );
                Some((differs, place))
            })
            .collect();
        found.sort_by_key(|(differs, _)| *differs);
        found.into_iter().map(|(_, place)| place).collect()
    }

    /// Signature of the lower one, and the rules of the upper one alone.
    fn check_issuer(&mut self, lower: Place, upper: Place) -> Result<Result<(), Refused>, Broken> {
        let (subject, issuer) = (self.certificate(lower), self.certificate(upper));
        let signed = match self.signed.get(&(lower, upper)) {
            Some(known) => known.clone(),
            None => {
                let checked = signature::check(subject, issuer, &mut self.budget);
                if let Err(broken) = &checked
                    && broken.reason == Reason::TooMuch
                {
                    return Err(broken.clone());
                }
                self.signed.insert((lower, upper), checked.clone());
                checked
            }
        };
        if let Err(broken) = signed {
            return Ok(Err(broken.of(subject)));
        }
        let Some(Ok(profiled)) = self.profiled.get(&upper) else { return Ok(Ok(())) };
        let is_anchor = matches!(upper, Place::Anchor(_));
        Ok(profiled.check(self.request, is_anchor).map_err(|broken| broken.of(issuer)))
    }

    /// The rules of the whole path, once it has reached an anchor.
    fn complete(&mut self, path: &[Place], anchor: usize) -> Result<Option<Path>, Broken> {
        self.paths += 1;
        let from_anchor: Vec<&Profiled<'a>> = path
            .iter()
            .rev()
            .filter_map(|place| self.profiled.get(place).and_then(|one| one.as_ref().ok()))
            .collect();
        let checked = match path::check(&from_anchor, self.request, &mut self.budget) {
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
            Err((broken, certificate)) => {
                self.note(path.len(), broken.of(certificate));
                Ok(None)
            }
        }
    }

    /// Of each certificate below the anchor (RFC 5280 §6.3).
    fn check_revocation(&mut self, path: &[Place]) -> Result<(), path::Fault<'a>> {
        for (depth, lower) in path.iter().enumerate() {
            let above = path.get(depth + 1..).unwrap_or_default();
            let Some(upper) = above.first() else { continue };
            let certificate = self.certificate(*lower);
            let Some(Ok(one)) = self.profiled.get(lower) else { continue };
            let name = one.issuer.clone();
            if self.request.crls.is_empty() {
                continue;
            }
            let mut signers = vec![self.signer(*upper)];
            if self.request.crls.iter().any(|crl| crl::is_of(crl, &name)) {
                let others = self.other_signers(*lower, above);
                signers.extend(others.map_err(|broken| (broken, certificate))?);
            }
            self.check_status(*lower, &name, &signers).map_err(|broken| (broken, certificate))?;
        }
        Ok(())
    }

    fn check_status(
        &mut self,
        place: Place,
        name: &name::Comparable,
        signers: &[Signer<'a>],
    ) -> Result<(), Broken> {
        let points = match self.profiled.get(&place) {
            Some(Ok(one)) => one.crl_points.clone(),
            _ => Vec::new(),
        };
        let points = points.as_slice();
        let is_required = place == Place::Leaf && self.request.is_list_required;
        let status = crl::Status { issuer_name: name, signers, is_required, points };
        let certificate = self.certificate(place);
        crl::check(certificate, &status, self.request.crls, self.request.at, &mut self.budget)
    }

    fn signer(&self, place: Place) -> Signer<'a> {
        let usage = match self.profiled.get(&place) {
            Some(Ok(one)) => one.key_usage.as_ref(),
            _ => None,
        };
        let may_sign = usage.is_none_or(|usage| usage.crl_sign());
        Signer { certificate: self.certificate(place), may_sign }
    }

    /// Other keys of the one who issued `lower`: those above it in the path, and those for lists
    /// that somebody above it certified and no list revokes.
    fn other_signers(&mut self, lower: Place, above: &[Place]) -> Result<Vec<Signer<'a>>, Broken> {
        let Some(Ok(one)) = self.profiled.get(&lower) else { return Ok(Vec::new()) };
        let issuer = one.issuer.clone();
        let all: Vec<Place> = (0..self.request.intermediates.len())
            .map(Place::Intermediate)
            .chain(above.iter().copied().filter(|place| matches!(place, Place::Anchor(_))))
            .filter(|place| match self.profiled.get(place) {
                Some(Ok(other)) => other.subject == issuer,
                _ => false,
            })
            .collect();
        let key = self.certificate(lower).public_key_der();
        let mut found = Vec::new();
        for place in all {
            let signer = self.signer(place);
            // A key says nothing about its own certificate.
            if signer.certificate.public_key_der() == key {
                continue;
            }
            if above.contains(&place) || signer.may_sign && self.is_certified(place, above)? {
                found.push(signer);
            }
        }
        Ok(found)
    }

    /// One of `above` issued it, it is in order by itself, and it is not revoked.
    fn is_certified(&mut self, place: Place, above: &[Place]) -> Result<bool, Broken> {
        let Some(Ok(one)) = self.profiled.get(&place) else { return Ok(false) };
        let issuer = one.issuer.clone();
        if one.check(self.request, false).is_err() {
            return Ok(false);
        }
        for upper in above {
            let is_named = match self.profiled.get(upper) {
                Some(Ok(upper)) => upper.subject == issuer,
                _ => false,
            };
            if is_named && self.check_issuer(place, *upper)?.is_ok() {
                let signer = self.signer(*upper);
                return match self.check_status(place, &issuer, &[signer]) {
                    Err(broken) if broken.reason == Reason::TooMuch => Err(broken),
                    Err(broken) => Ok(broken.reason != Reason::Revoked),
                    Ok(()) => Ok(true),
                };
            }
        }
        Ok(false)
    }
}
