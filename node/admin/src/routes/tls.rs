//! Routes for TLS settings and sessions.

use std::net::{IpAddr, SocketAddr};

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::Change,
    tls::{
        Handshakes, Legacy, LogLevel, NodeLimits, Served, SessionKey, SessionKeys, Sessions, Set,
        Settings,
    },
};
use conclave_cluster::{admit, node::Node, replica::session_key_rotation_ms};
use conclave_edge::{live::Wanted, socket};
use conclave_store::{
    id::{Fingerprint, SessionKeyId},
    record::{Member, PkiMode, SessionKey as Record, SessionKeyUse, TlsLogLevel, TlsVersion},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use conclave_tls::{CIPHER_SUITES, GROUPS};

use super::Answer;
use crate::asked::Asked;

fn version_word(version: TlsVersion) -> String {
    match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    }
    .to_owned()
}

pub(super) async fn show(asked: Asked) -> Answer<Settings> {
    let settings = asked.operator.read().await?.tls_settings();
    let legacy = |(setting, reason): (&str, &str)| Legacy {
        setting: setting.to_owned(),
        value: "off".to_owned(),
        reason: reason.to_owned(),
    };
    let node = &asked.operator.node;
    let limits = node.live().limits();
    Ok(Json(Settings {
        api_version: API_VERSION.to_owned(),
        kind: "TlsSettings".to_owned(),
        log_level: match settings.log_level {
            TlsLogLevel::Error => LogLevel::Error,
            TlsLogLevel::Info => LogLevel::Info,
            TlsLogLevel::Debug => LogLevel::Debug,
        },
        ttl_s: settings.session_ttl_s.into(),
        rotation_s: settings.ticket_rotation_s.into(),
        min_version: version_word(settings.version_min),
        process_target_domain: settings.process_target_domain,
        abort_on_wrong_client_certificate: settings.abort_on_wrong_client_certificate,
        cipher_suites: settings.cipher_suites,
        groups: settings.groups,
        known_cipher_suites: CIPHER_SUITES.map(str::to_owned).to_vec(),
        known_groups: GROUPS.map(str::to_owned).to_vec(),
        legacy: admit::LEGACY.map(legacy).to_vec(),
        flushes: settings.flushes,
        version: settings.version.0,
        node: NodeLimits {
            name: node.config().name.to_string(),
            min_version: version_word(limits.version_min),
            cipher_suites: limits.cipher_suites,
        },
    }))
}

pub(super) async fn set(asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    Ok(Json(asked.operator.change(Scope::Shared, move |view| admit::set_tls(view, &set)).await?))
}

pub(super) async fn flush(asked: Asked) -> Answer<Change> {
    Ok(Json(asked.operator.change(Scope::Shared, admit::flush_sessions).await?))
}

pub(super) async fn sessions(asked: Asked) -> Answer<Sessions> {
    let state = asked.operator.read().await?;
    let (settings, now) = (state.tls_settings(), clock::now());
    Ok(Json(Sessions {
        api_version: API_VERSION.to_owned(),
        kind: "TlsSessions".to_owned(),
        ttl_s: settings.session_ttl_s.into(),
        flushes: settings.flushes,
        keys: SessionKeyUse::ALL.map(|of| keys(&state, of, now)).to_vec(),
        node: handshakes(&asked.operator.node),
    }))
}

fn handshakes(node: &Node) -> Handshakes {
    let counters = node.edge().counters();
    let failed = node.edge().failures().filter(|(_, count)| *count > 0);
    Handshakes {
        name: node.config().name.to_string(),
        done: counters.handshakes,
        resumed: counters.resumed,
        failed: failed.map(|(reason, count)| (reason.to_owned(), count)).collect(),
    }
}

/// Answers with the domain served to a client by this node. Needs no quorum, because handshakes
/// need none.
pub(super) async fn served(
    Path((name, ip)): Path<(String, String)>,
    asked: Asked,
) -> Answer<Served> {
    let address = ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let server_name = (name != "-").then_some(name.as_str());
    let wanted = Wanted { server_name, local: address, ..Wanted::default() };
    let own = &asked.operator.node;
    let node = address.and_then(|address| node_at(own, address));
    // What is local to another node is known only there.
    let is_own = node.as_ref().is_none_or(|name| *name == own.config().name.as_str());
    let found = own.live().explain(wanted);
    let found = found.filter(|(served, _)| is_own || served.scope == Scope::Shared);
    let is_test = found.as_ref().is_some_and(|(served, _)| served.domain.mode == PkiMode::Test);
    let certificates = match is_test {
        true => vec![Fingerprint::of(asked.operator.node.live().test_certificate())],
        false => {
            let own = found.iter().flat_map(|(served, _)| served.domain.certificates());
            own.map(|one| Fingerprint::of(&one.der)).collect()
        }
    };
    Ok(Json(Served {
        api_version: API_VERSION.to_owned(),
        kind: "TlsServed".to_owned(),
        domain: found.as_ref().map(|(served, _)| served.domain.name.to_string()),
        chosen: found.as_ref().map(|(_, chosen)| chosen.word().to_owned()),
        certificates: certificates.iter().map(ToString::to_string).collect(),
        is_test,
        node,
    }))
}

/// Finds the member with an address: this node by the sockets of its listeners, any member by its
/// address for other nodes.
fn node_at(node: &Node, address: IpAddr) -> Option<String> {
    let listens = |listener: socket::ListenerState| {
        listener.open.iter().any(|socket| socket.ip().to_canonical() == address)
    };
    if node.edge().listeners().into_iter().any(listens) {
        return Some(node.config().name.to_string());
    }
    let point = node.replica().ok()?.point();
    let has_it = |member: &&Member| {
        let socket = member.address.parse::<SocketAddr>();
        socket.is_ok_and(|socket| socket.ip().to_canonical() == address)
    };
    let mut members = point.state.members().map(|(_, member)| member);
    members.find(has_it).map(|member| member.name.to_string())
}

fn keys(state: &State, of: SessionKeyUse, now: UnixMillis) -> SessionKeys {
    let known = || state.session_keys(of).filter(|(_, key)| now <= key.expires);
    let active = state.active_session_key(of);
    let waiting = known().filter(|(_, key)| key.active.is_none());
    SessionKeys {
        used_for: match of {
            SessionKeyUse::Ticket => "ticket",
            SessionKeyUse::Cookie => "cookie",
        }
        .to_owned(),
        count: u64::try_from(known().count()).unwrap_or(u64::MAX),
        rotation_s: session_key_rotation_ms(&state.tls_settings(), of) / 1_000,
        active: active.map(|(id, key)| shown(id, key, now)),
        next: waiting.max_by_key(|(_, key)| key.made).map(|(id, key)| shown(id, key, now)),
    }
}

fn shown(id: SessionKeyId, key: &Record, now: UnixMillis) -> SessionKey {
    SessionKey {
        id: id.to_string(),
        made: clock::rfc3339(key.made),
        age_s: now.0.saturating_sub(key.made.0) / 1_000,
        not_after: clock::rfc3339(key.not_after),
        expires: clock::rfc3339(key.expires),
        generation: key.sealed.generation.0,
    }
}
