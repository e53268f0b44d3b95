//! Commands for TLS settings and sessions.

pub(super) mod datagrams;
mod probe;
mod starttls;

use conclave_api::tls::{LogLevel, SessionKeys, Set, Settings};

use super::{Asking, Done, change, confirm};
use crate::{
    args::{Form, Tls, TlsSet},
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Tls) -> Done {
    if let Tls::Probe { target, server_name, alpn, starttls, dtls } = command {
        let probe = probe::Probe { target, server_name, alpn, starttls, is_dtls: dtls };
        return probe::run(asking, probe).await;
    }
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Tls::Show => {
            let settings = client.tls().await?;
            if !output::object(global, "tls", &settings) {
                show(&settings);
            }
        }
        Tls::Set(asked) => {
            let done = client.set_tls(&set(&asked), &change(&asked.changing)).await?;
            output::change(global, "TLS settings: changed", &done);
        }
        Tls::Sessions => {
            let sessions = client.tls_sessions().await?;
            if global.output == Form::Name {
                output::list(global, &KEYS, &sessions.keys, row);
            } else if !output::json(global, &sessions) {
                output::line(&match sessions.ttl_s {
                    0 => "sessions do not resume".to_owned(),
                    ttl => format!("sessions resume within {}", time(ttl)),
                });
                output::list(global, &KEYS, &sessions.keys, row);
                let node = &sessions.node;
                output::line(&format!(
                    "{} since its start: {} handshakes, {} of them resumed",
                    node.name, node.done, node.resumed
                ));
                for (reason, count) in &node.failed {
                    output::line(&format!("  failed, {}: {count}", reason.replace('_', " ")));
                }
            }
        }
        Tls::Flush { changing } => {
            confirm(global, changing.is_sure(), "every session of every client", "sessions")?;
            let done = client.flush_sessions(&change(&changing)).await?;
            output::change(global, "sessions: all ended", &done);
        }
        Tls::Probe { .. } => {}
    }
    Ok(0)
}

fn set(asked: &TlsSet) -> Set {
    let switch = |text: &Option<String>| text.as_ref().map(|text| text == "on");
    let names = |text: &Option<String>| {
        let names = text.as_ref()?.split(',').map(str::trim).filter(|name| !name.is_empty());
        Some(names.map(ToOwned::to_owned).collect())
    };
    Set {
        log_level: asked.log_level.as_deref().map(|level| match level {
            "error" => LogLevel::Error,
            "debug" => LogLevel::Debug,
            _ => LogLevel::Info,
        }),
        ttl_s: asked.ttl.map(|time| time.as_secs()),
        rotation_s: asked.rotation.map(|time| time.as_secs()),
        min_version: asked.min_version.clone(),
        process_target_domain: switch(&asked.process_target_domain),
        abort_on_wrong_client_certificate: switch(&asked.abort_on_wrong_client_certificate),
        cipher_suites: names(&asked.cipher_suites),
        groups: names(&asked.groups),
        cbc_ciphers_for_old_tls: switch(&asked.cbc_ciphers_for_old_tls),
        weak_ciphers: switch(&asked.weak_ciphers),
        accept_sslv2_hello: switch(&asked.accept_sslv2_hello),
    }
}

/// Formats seconds as people write them.
fn time(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        hours if hours % 3_600 == 0 => format!("{}h", hours / 3_600),
        minutes if minutes % 60 == 0 => format!("{}m", minutes / 60),
        _ => format!("{seconds}s"),
    }
}

fn show(settings: &Settings) {
    let field = |name: &str, text: &str| output::line(&format!("{name:<35}{text}"));
    let switch = |is_on: bool| if is_on { "on" } else { "off" };
    let names = |chosen: &[String], known: &[String]| match chosen {
        [] => format!("all: {}", known.join(" ")),
        chosen => chosen.join(" "),
    };
    let level = format!("{:?}", settings.log_level).to_lowercase();
    field("Log level", &level);
    field("Time to live of sessions", &time(settings.ttl_s));
    field("New ticket key every", &time(settings.rotation_s));
    field("Oldest version accepted", &format!("TLS {}", settings.min_version));
    field("Choose domains by server name", switch(settings.process_target_domain));
    let abort = switch(settings.abort_on_wrong_client_certificate);
    field("Abort on wrong client certificate", abort);
    let suites = names(&settings.cipher_suites, &settings.known_cipher_suites);
    field("Cipher suites", &suites);
    field("Groups", &names(&settings.groups, &settings.known_groups));
    for legacy in &settings.legacy {
        let text = format!("{} - not offered by this server ({})", legacy.value, legacy.reason);
        field(&legacy.setting, &text);
    }
    let node = &settings.node;
    if node.min_version > settings.min_version {
        field(&format!("{} is stricter", node.name), &format!("TLS {}", node.min_version));
    }
    if !node.cipher_suites.is_empty() {
        field(&format!("{} is stricter", node.name), &node.cipher_suites.join(" "));
    }
    field("Version", &settings.version.to_string());
}

/// Columns of a list of session keys.
const KEYS: Columns<'_, SessionKeys> = Columns {
    kind: "SessionKeys",
    head: &["KEYS OF", "KNOWN", "NEW EVERY", "IN USE", "AGE", "USED UNTIL", "NEXT"],
    wide: &["MADE", "KNOWN UNTIL", "GENERATION"],
    name: |keys| keys.active.as_ref().map_or_else(|| "-".to_owned(), |key| key.id.clone()),
};

fn row(keys: &SessionKeys, _: bool) -> Vec<String> {
    let none = || "-".to_owned();
    let active = keys.active.as_ref();
    vec![
        format!("{}s", keys.used_for),
        keys.count.to_string(),
        time(keys.rotation_s),
        active.map_or_else(none, |key| key.id.clone()),
        active.map_or_else(none, |key| time(key.age_s)),
        active.map_or_else(none, |key| key.not_after.clone()),
        keys.next.as_ref().map_or_else(none, |key| key.id.clone()),
        active.map_or_else(none, |key| key.made.clone()),
        active.map_or_else(none, |key| key.expires.clone()),
        active.map_or_else(none, |key| key.generation.to_string()),
    ]
}
