//! TLS settings and sessions.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    path,
    tls::{LogLevel, Sessions, Set, Settings},
};

use super::{Shown, Wished};
use crate::{form::Fields, show, visit::Visit, wish::Wish};

#[derive(Template)]
#[template(path = "tls.html")]
struct TlsPage<'a> {
    v: &'a Visit,
    settings: Settings,
    sessions: Sessions,
    level: &'static str,
    ttl: String,
}

const LEVELS: [(&str, LogLevel); 3] =
    [("error", LogLevel::Error), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

pub(super) async fn page(visit: &Visit) -> Shown {
    let settings: Settings = visit.api.read(path::TLS).await?;
    let sessions: Sessions = visit.api.read(path::TLS_SESSIONS).await?;
    let level = LEVELS.iter().find(|(_, level)| *level == settings.log_level);
    let level = level.map_or("info", |(name, _)| name);
    let ttl = settings.ttl_s.to_string();
    Ok(visit.page(StatusCode::OK, &TlsPage { v: visit, settings, sessions, level, ttl }))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    Some(Ok(match what {
        "set" => set(fields),
        "flush" => {
            let wish = Wish::new("Forget all sessions", Method::POST, path::TLS_FLUSH.to_owned());
            wish.command(&["tls", "flush", "--yes"])
        }
        _ => return None,
    }))
}

fn set(fields: &Fields) -> Wish {
    let level = LEVELS.iter().find(|(name, _)| *name == fields.get("log_level"));
    let set = Set {
        log_level: level.map(|(_, level)| *level),
        ttl_s: fields.get("ttl_s").trim().parse().ok(),
        min_version: fields.some("min_version"),
        process_target_domain: Some(fields.is_on("process_target_domain")),
        abort_on_wrong_client_certificate: Some(fields.is_on("abort")),
        ..Set::default()
    };
    let ttl = format!("{}s", set.ttl_s.unwrap_or_default());
    let bool_word = |is_on: Option<bool>| if is_on == Some(true) { "on" } else { "off" };
    let mut words = vec!["tls", "set"];
    words.extend(level.iter().flat_map(|(name, _)| ["--log-level", name]));
    words.extend(set.ttl_s.iter().flat_map(|_| ["--ttl", &ttl]));
    words.extend(set.min_version.iter().flat_map(|version| ["--min-version", version]));
    words.extend(["--process-target-domain", bool_word(set.process_target_domain)]);
    let abort = bool_word(set.abort_on_wrong_client_certificate);
    words.extend(["--abort-on-wrong-client-certificate", abort]);
    let mut wish = Wish::new("Change the TLS settings", Method::PATCH, path::TLS.to_owned());
    wish.command = show::command(&words);
    wish.version = fields.get("version").parse().ok();
    wish.json(&set)
}
