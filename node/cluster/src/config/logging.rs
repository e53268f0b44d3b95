//! The section `[log]` of the configuration.

use std::io::IsTerminal;

use conclave_api::problem::Problem;
use conclave_edge::socket::AccessLog;
use conclave_store::id::ListenerName;
use serde::Deserialize;

use super::setting_problem;
use crate::observe::log::{self, Format};

/// Largest share of connections that have no line.
const SAMPLE_MAX: u64 = 1_000_000;

/// The log of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Filter, as `info` or `conclave_cluster=trace,info`.
    pub level: String,
    /// Form and place of the lines.
    pub format: Format,
    /// URL of an OpenTelemetry collector that gets the lines too.
    pub otlp: Option<String>,
    /// Connections that have a line.
    pub access: AccessLog,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSection {
    level: Option<String>,
    format: Option<String>,
    otlp: Option<String>,
    connections: Option<String>,
    #[serde(default)]
    connection_listeners: Vec<String>,
}

impl Logging {
    pub(super) fn settle(section: LogSection) -> Result<Logging, Problem> {
        let level = section.level.unwrap_or_else(|| "info".to_owned());
        log::check(&level).map_err(|why| {
            setting_problem("[log] level", why).hint(
                "level = \"info\", or \"debug\", or \"conclave_cluster=trace,openraft=info,warn\"",
            )
        })?;
        let listeners = section.connection_listeners.iter().map(|name| {
            let wrong = |error| setting_problem("[log] connection_listeners", error);
            ListenerName::parse(name).map_err(wrong)
        });
        let listeners = listeners.collect::<Result<_, _>>()?;
        let every = every(section.connections.as_deref())?;
        let format = format(section.format.as_deref())?;
        let otlp = section.otlp.map(collector).transpose()?;
        Ok(Logging { level, format, otlp, access: AccessLog { every, listeners } })
    }
}

fn format(format: Option<&str>) -> Result<Format, Problem> {
    match format {
        None | Some("auto") if std::io::stderr().is_terminal() => Ok(Format::Text),
        None | Some("auto") if log::is_journal() => Ok(Format::Journald),
        None | Some("auto" | "json") => Ok(Format::Json),
        Some("text") => Ok(Format::Text),
        Some("journald") => Ok(Format::Journald),
        Some(other) => {
            let why = format!("{other:?} is none of auto, text, json, journald");
            Err(setting_problem("[log] format", why))
        }
    }
}

/// Checks the URL of a collector.
fn collector(url: String) -> Result<String, Problem> {
    let wrong = |why: &str| setting_problem("[log] otlp", why);
    if !cfg!(feature = "otlp") {
        return Err(wrong("this program was built without it")
            .hint("cargo build --release --features otlp    or let the collector read journald"));
    }
    let place = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match place.and_then(|place| place.rsplit_once(':')) {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(url),
        _ => Err(wrong("it is not http://HOST:PORT")
            .hint("otlp = \"http://127.0.0.1:4318\", of a collector on this machine")),
    }
}

/// Parses which connections have a line: one in how many, 0 for none.
fn every(connections: Option<&str>) -> Result<u64, Problem> {
    match connections {
        None | Some("off") => Ok(0),
        Some("all") => Ok(1),
        Some(text) => {
            let number = text.strip_prefix("sample:").and_then(|number| number.parse().ok());
            number.filter(|number| (1..=SAMPLE_MAX).contains(number)).ok_or_else(|| {
                let why =
                    format!("{text:?} is none of off, all, sample:N with N up to {SAMPLE_MAX}");
                setting_problem("[log] connections", why)
            })
        }
    }
}
