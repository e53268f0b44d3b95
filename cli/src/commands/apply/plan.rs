//! Comparison of a document with the cluster: what to do, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use conclave_api::{
    change::Difference,
    domain::Scope,
    listener::{self, Listener as PresentListener},
    tls,
};
use conclave_client::Failure;
use serde::Serialize;

use super::{
    credential::{Work, malformed},
    domain,
    request::{Request, Target, TrustSet},
    trusted,
};
use crate::commands::document::{
    Document, Domain, Listener,
    present::{Present, key},
};

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Add,
    Change,
    Remove,
}

/// The changes of one object, one after the other.
pub(super) struct Step {
    pub(super) object: String,
    pub(super) action: Action,
    pub(super) differences: Vec<Difference>,
    pub(super) requests: Vec<Request>,
}

impl Step {
    /// Returns the names of what the step removes: the object, or parts of it.
    pub(super) fn removed(&self) -> Vec<String> {
        match self.action {
            Action::Remove => vec![self.object.clone()],
            Action::Add | Action::Change => {
                self.requests.iter().filter_map(Request::removed).collect()
            }
        }
    }
}

/// All changes. Those of a phase do not depend on each other; each phase needs the one before it.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) phases: Vec<Vec<Step>>,
    /// Number of objects in the document, and of objects to remove.
    pub(super) objects: usize,
    pub(super) warnings: Vec<String>,
}

/// Document and cluster, side by side.
pub(super) struct Sides<'a> {
    pub(super) directory: &'a Path,
    pub(super) document: &'a Document,
    pub(super) present: &'a Present,
    pub(super) is_pruned: bool,
}

impl Sides<'_> {
    /// Returns whether the local part of the document is for the answering node.
    fn is_of_node(&self) -> bool {
        self.document.node.as_ref().is_none_or(|node| *node == self.present.node)
    }

    /// Makes the plan: trust before the domains that refer to it, domains before the listeners that
    /// refer to them, and removals in the opposite order. Removals that free a name or a port for
    /// something else come first.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let mut plan = Plan::default();
        let wanted = self.domains(&mut plan)?;
        let (trust, late_trust) = self.trust(&mut plan)?;
        let (freed, removed) = self.removals(&mut plan, &wanted);
        let mut domains = Vec::new();
        for (key, one) in &wanted {
            let present = self.present.domains.get(key);
            let own = self.present.trusted.get(key).map_or(&[][..], Vec::as_slice);
            domains.extend(domain::compare(self, present, own, one)?);
        }
        let releases = self.releases(&wanted);
        let tls = self.tls(&mut plan);
        let listeners = self.listeners(&mut plan)?;
        plan.objects += wanted.len() + freed.len() + removed.len();
        plan.phases = vec![freed, trust, releases, domains, tls, listeners, removed, late_trust];
        plan.phases.retain(|phase| !phase.is_empty());
        Ok(plan)
    }

    /// Returns the domains of the document by their keys, without those of another node.
    fn domains(&self, plan: &mut Plan) -> Result<BTreeMap<(bool, String), &Domain>, Failure> {
        let mut wanted = BTreeMap::new();
        let mut left_out = 0;
        for one in self.document.domains.iter().flatten() {
            if one.scope == Scope::Local && !self.is_of_node() {
                left_out += 1;
                continue;
            }
            if wanted.insert(key(one.scope, &one.name), one).is_some() {
                let object = domain::object(one.scope, &one.name);
                return Err(malformed(format!("the document has the {object} twice")));
            }
        }
        let has_server = self.document.trust.as_ref().is_some_and(|trust| trust.server.is_some());
        let mut parts = Vec::new();
        if left_out > 0 {
            let noun = if left_out == 1 { "local domain" } else { "local domains" };
            parts.push(format!("{left_out} {noun}"));
        }
        if has_server && !self.is_of_node() {
            parts.push("the trust set server".to_owned());
        }
        if !parts.is_empty() {
            let of = self.document.node.as_deref().unwrap_or_default();
            let (parts, here) = (parts.join(" and "), &self.present.node);
            plan.warnings.push(format!("left out, because {here} answers: {parts} of {of}"));
        }
        Ok(wanted)
    }

    /// Returns what to add to the trust sets of the cluster and of the node, and what to remove.
    fn trust(&self, plan: &mut Plan) -> Result<(Vec<Step>, Vec<Step>), Failure> {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let Some(trust) = &self.document.trust else { return Ok((added, removed)) };
        let sets = [
            ("cluster", trust.cluster.as_ref(), &self.present.cluster),
            ("server", trust.server.as_ref().filter(|_| self.is_of_node()), &self.present.server),
        ];
        for (name, wanted, present) in sets {
            let Some(wanted) = wanted else { continue };
            plan.objects += 1;
            let set = TrustSet { name: name.to_owned(), scope: None };
            let object = format!("trust {name}");
            let entries = trusted::entries(self.directory, wanted)?;
            let mut work = Work::default();
            trusted::add(&mut work, &set, present, &entries);
            let mut late = Work::default();
            if self.is_pruned {
                trusted::remove(&mut late, &set, present, &entries);
            }
            added.extend(step(object.clone(), Action::Change, work));
            removed.extend(step(object, Action::Change, late));
        }
        Ok((added, removed))
    }

    /// Returns what to remove first, because the document needs its name or port, and what to
    /// remove last.
    fn removals(
        &self,
        plan: &mut Plan,
        wanted: &BTreeMap<(bool, String), &Domain>,
    ) -> (Vec<Step>, Vec<Step>) {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        if !self.is_pruned {
            return (first, last);
        }
        if let Some(listeners) = &self.document.listeners {
            let binds: BTreeSet<&str> = listeners.iter().map(|one| port(&one.bind)).collect();
            let is_named = |one: &PresentListener| listeners.iter().any(|l| l.name == one.name);
            for gone in self.present.listeners.iter().filter(|one| !is_named(one)) {
                let is_needed = binds.contains(port(&gone.bind));
                let request = Request::RemoveListener(gone.name.clone());
                let step = removal(format!("listener {}", gone.name), request);
                if is_needed { first.push(step) } else { last.push(step) }
            }
        }
        if self.document.domains.is_some() {
            let names: BTreeSet<String> = wanted.values().flat_map(|one| names(one)).collect();
            let is_named = self.document.node.as_ref() == Some(&self.present.node);
            let mut unnamed = 0;
            for (key, gone) in &self.present.domains {
                if wanted.contains_key(key) || gone.main {
                    continue;
                }
                // Which node answers may be chance: only a document that names the node says
                // which local domains it has.
                if gone.scope == Scope::Local && !is_named {
                    unnamed += usize::from(self.document.node.is_none());
                    continue;
                }
                let is_needed =
                    gone.aliases.iter().chain([&gone.name]).any(|name| names.contains(name));
                let target = Target { name: gone.name.clone(), scope: gone.scope };
                let object = domain::object(gone.scope, &gone.name);
                let step = removal(object, Request::DeleteDomain(target));
                if is_needed { first.push(step) } else { last.push(step) }
            }
            if unnamed > 0 {
                let here = &self.present.node;
                plan.warnings.push(format!(
                    "{unnamed} local domain(s) of {here} stay, since the document names no node    add: node = {here:?}"
                ));
            }
        }
        (first, last)
    }

    /// Returns the aliases that one domain must give up before another one can have them.
    fn releases(&self, wanted: &BTreeMap<(bool, String), &Domain>) -> Vec<Step> {
        let mut owners: BTreeMap<String, Vec<&(bool, String)>> = BTreeMap::new();
        for (key, one) in wanted {
            names(one).for_each(|name| owners.entry(name).or_default().push(key));
        }
        let mut steps = Vec::new();
        for (key, one) in wanted {
            let Some(present) = self.present.domains.get(key) else { continue };
            let Some(aliases) = &one.aliases else { continue };
            let stays = |name: &&String| {
                aliases.contains(name)
                    || owners.get(*name).is_none_or(|keys| keys.iter().all(|k| *k == key))
            };
            let kept: Vec<String> = present.aliases.iter().filter(stays).cloned().collect();
            if kept.len() < present.aliases.len() {
                let set = conclave_api::domain::Set { aliases: Some(kept), ..Default::default() };
                let target = Target { name: present.name.clone(), scope: present.scope };
                let requests = vec![Request::SetDomain(target, set)];
                let object = domain::object(present.scope, &present.name);
                steps.push(Step {
                    object,
                    action: Action::Change,
                    differences: Vec::new(),
                    requests,
                });
            }
        }
        steps
    }

    fn tls(&self, plan: &mut Plan) -> Vec<Step> {
        let Some(wanted) = &self.document.tls else { return Vec::new() };
        plan.objects += 1;
        let (mut work, present) = (Work::default(), &self.present.tls);
        let set = tls_differences(&mut work, wanted, present);
        if set != tls::Set::default() {
            work.requests.push(Request::SetTls(Box::new(set)));
        }
        step("tls".to_owned(), Action::Change, work).into_iter().collect()
    }

    fn listeners(&self, plan: &mut Plan) -> Result<Vec<Step>, Failure> {
        let mut steps = Vec::new();
        let mut seen = BTreeSet::new();
        for wanted in self.document.listeners.iter().flatten() {
            plan.objects += 1;
            if !seen.insert(&wanted.name) {
                let title = format!("the document has the listener {} twice", wanted.name);
                return Err(malformed(title));
            }
            let present = self.present.listeners.iter().find(|one| one.name == wanted.name);
            steps.extend(compare_listener(wanted, present));
        }
        Ok(steps)
    }
}

pub(super) fn step(object: String, action: Action, work: Work) -> Option<Step> {
    let Work { requests, differences } = work;
    (!requests.is_empty()).then_some(Step { object, action, differences, requests })
}

fn removal(object: String, request: Request) -> Step {
    Step { object, action: Action::Remove, differences: Vec::new(), requests: vec![request] }
}

/// Returns all names of a domain in the document.
fn names(domain: &Domain) -> impl Iterator<Item = String> {
    let aliases = domain.aliases.iter().flatten();
    aliases.chain([&domain.name]).cloned()
}

fn port(bind: &str) -> &str {
    bind.rsplit(':').next().unwrap_or(bind)
}

/// Returns the settings that differ.
fn tls_differences(work: &mut Work, wanted: &tls::Set, present: &tls::Settings) -> tls::Set {
    fn differing<T: Clone + PartialEq + std::fmt::Debug>(
        work: &mut Work,
        what: &str,
        wanted: Option<&T>,
        present: &T,
    ) -> Option<T> {
        let wanted = wanted.filter(|wanted| *wanted != present)?;
        let words = |value: &T| format!("{value:?}").replace('"', "");
        work.differs(what, Some(words(present)), Some(words(wanted)));
        Some(wanted.clone())
    }
    // The legacy options are off for ever: a document may only say so.
    let legacy =
        |work: &mut Work, what, wanted: Option<&bool>| differing(work, what, wanted, &false);
    let (w, p) = (wanted, present);
    tls::Set {
        log_level: differing(work, "log_level", w.log_level.as_ref(), &p.log_level),
        ttl_s: differing(work, "ttl_s", w.ttl_s.as_ref(), &p.ttl_s),
        rotation_s: differing(work, "rotation_s", w.rotation_s.as_ref(), &p.rotation_s),
        min_version: differing(work, "min_version", w.min_version.as_ref(), &p.min_version),
        process_target_domain: differing(
            work,
            "process_target_domain",
            w.process_target_domain.as_ref(),
            &p.process_target_domain,
        ),
        abort_on_wrong_client_certificate: differing(
            work,
            "abort_on_wrong_client_certificate",
            w.abort_on_wrong_client_certificate.as_ref(),
            &p.abort_on_wrong_client_certificate,
        ),
        cipher_suites: differing(work, "cipher_suites", w.cipher_suites.as_ref(), &p.cipher_suites),
        groups: differing(work, "groups", w.groups.as_ref(), &p.groups),
        cbc_ciphers_for_old_tls: legacy(
            work,
            "cbc_ciphers_for_old_tls",
            w.cbc_ciphers_for_old_tls.as_ref(),
        ),
        weak_ciphers: legacy(work, "weak_ciphers", w.weak_ciphers.as_ref()),
        accept_sslv2_hello: legacy(work, "accept_sslv2_hello", w.accept_sslv2_hello.as_ref()),
    }
}

fn compare_listener(wanted: &Listener, present: Option<&PresentListener>) -> Option<Step> {
    let mut work = Work::default();
    let before = present.map(Listener::of);
    let rows = |one: &Listener| {
        let domains = one.domain_upstreams.iter();
        let domains = domains.map(|(name, all)| format!("{name}={}", all.join(" ")));
        [
            ("protocol", one.protocol().to_owned()),
            ("bind", one.bind.clone()),
            ("upstreams", one.upstreams.join(" ")),
            ("domain_upstreams", domains.collect::<Vec<_>>().join(", ")),
            ("requires_tls", one.requires_tls.to_string()),
            ("requires_client_certificate", one.requires_client_certificate.to_string()),
            ("takes_server_certificates", one.takes_server_certificates.to_string()),
            ("alpn", one.alpn.join(",")),
            ("proxy_from", one.proxy_from.join(" ")),
            ("proxy_to", one.proxy_to.clone().unwrap_or_default()),
            ("starttls", one.starttls.clone().unwrap_or_default()),
            ("server_name", one.server_name.clone().unwrap_or_default()),
        ]
    };
    let befores = before.as_ref().map(rows);
    let some = |text: String| (!text.is_empty()).then_some(text);
    for (place, (what, after)) in rows(wanted).into_iter().enumerate() {
        let before = befores.as_ref().and_then(|all| all.get(place)).map(|(_, text)| text.clone());
        let (before, after) = (before.and_then(some), some(after));
        if before != after {
            work.differs(what, before, after);
        }
    }
    if work.differences.is_empty() {
        return None;
    }
    let (name, one) = (wanted.name.clone(), wanted.clone());
    let (action, request) = match present {
        None => (Action::Add, Request::AddListener(Box::new(added(one)))),
        Some(_) => (Action::Change, Request::SetListener(one.name.clone(), Box::new(changed(one)))),
    };
    work.requests.push(request);
    step(format!("listener {name}"), action, work)
}

fn added(one: Listener) -> listener::Add {
    listener::Add {
        name: one.name,
        protocol: one.protocol,
        bind: one.bind,
        upstreams: one.upstreams,
        domain_upstreams: one.domain_upstreams,
        requires_tls: one.requires_tls,
        requires_client_certificate: one.requires_client_certificate,
        takes_server_certificates: one.takes_server_certificates,
        alpn: one.alpn,
        proxy_from: one.proxy_from,
        proxy_to: one.proxy_to,
        starttls: one.starttls,
        server_name: one.server_name,
    }
}

fn changed(one: Listener) -> listener::Set {
    listener::Set {
        protocol: Some(one.protocol().to_owned()),
        bind: Some(one.bind),
        upstreams: Some(one.upstreams),
        domain_upstreams: Some(one.domain_upstreams),
        requires_tls: Some(one.requires_tls),
        requires_client_certificate: Some(one.requires_client_certificate),
        takes_server_certificates: Some(one.takes_server_certificates),
        alpn: Some(one.alpn),
        proxy_from: Some(one.proxy_from),
        proxy_to: Some(one.proxy_to.unwrap_or_default()),
        starttls: Some(one.starttls.unwrap_or_default()),
        server_name: Some(one.server_name.unwrap_or_default()),
    }
}
