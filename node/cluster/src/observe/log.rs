//! Logging: to stderr as text for people or as JSON for machines, or to journald; and to an
//! OpenTelemetry collector, if the program was built for it.

mod journal;
#[cfg(feature = "otlp")]
mod otlp;

use std::path::Path;

use conclave_api::problem::Problem;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use crate::fault::internal;
use journal::Journal;

/// What is logged unless the filter says otherwise. openraft logs errors only: it would warn at
/// every attempt to reach an absent member, which this program already reports once.
const BASE: &str = "warn,openraft=error";

/// Checks a log filter. A word that is no level would be taken as the name of a module, and nothing
/// else would be logged.
pub(crate) fn check(level: &str) -> Result<(), String> {
    for part in level.split(',') {
        let word = part.rsplit('=').next().unwrap_or(part).trim();
        // An empty word and a digit would be levels to the library.
        let is_word = word.chars().next().is_some_and(char::is_alphabetic);
        if !is_word || word.parse::<LevelFilter>().is_err() {
            return Err(format!("{word:?} is none of off, error, warn, info, debug, trace"));
        }
    }
    filter(level).map(|_| ())
}

/// Makes a log filter. A bare level applies to this program only; libraries then log warnings and
/// errors.
fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives(level)).map_err(|error| error.to_string())
}

fn directives(level: &str) -> String {
    match level.parse::<LevelFilter>() {
        Ok(_) => format!("{BASE},conclave={level}"),
        Err(_) => format!("{BASE},{level}"),
    }
}

/// Handle of the running log, to change its filter. Dropping it sends what a collector has not got.
pub struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    #[cfg(feature = "otlp")]
    _otlp: Option<otlp::Otlp>,
}

impl Level {
    /// Changes the filter of the running log. The error says what is wrong with it.
    pub fn change(&self, level: &str) -> Result<(), String> {
        self.filter.reload(filter(level)?).map_err(|error| error.to_string())
    }
}

/// Form and place of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on stderr.
    Text,
    /// JSON on stderr.
    Json,
    /// Fields for journald.
    Journald,
}

/// Returns whether stderr is a stream of journald: systemd says so in the environment, which
/// children inherit, so the descriptor must be the one that it names (systemd.exec(5)).
pub(crate) fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(found) = rustix::fs::fstat(std::io::stderr()) else { return false };
    named == format!("{}:{}", found.st_dev, found.st_ino)
}

/// Returns how many lines were lost since the start of the process.
pub fn lost_lines() -> u64 {
    journal::lost()
}

/// Starts logging; also to a collector, if one is given by its URL, with the name of the node. A
/// second start in one process has no effect.
pub fn start(
    level: &str,
    format: Format,
    collector: Option<(&str, &str)>,
) -> Result<Level, Problem> {
    let filter = filter(level).map_err(|error| internal("cannot log", error))?;
    let (filter, handle) = reload::Layer::new(filter);
    let json = || fmt::layer().with_writer(std::io::stderr).json().boxed();
    let mut unreachable = None;
    let lines = match format {
        Format::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(false).boxed(),
        Format::Json => json(),
        Format::Journald => match Journal::open(Path::new(journal::SOCKET)) {
            Ok(journal) => journal.boxed(),
            Err(error) => {
                unreachable = Some(error);
                json()
            }
        },
    };
    // An existing subscriber, as in a test, stays in place.
    let lines = tracing_subscriber::registry().with(filter).with(lines);
    #[cfg(feature = "otlp")]
    let otlp = collector
        .map(|(url, node)| otlp::Otlp::open(url, node))
        .transpose()
        .map_err(|error| internal("cannot log to the collector", error))?;
    #[cfg(feature = "otlp")]
    let lines = lines.with(otlp.as_ref().map(otlp::Otlp::layer));
    #[cfg(not(feature = "otlp"))]
    debug_assert!(collector.is_none(), "the configuration refuses it");
    let _ = lines.try_init();
    if let Some(error) = unreachable {
        tracing::warn!(event = "log.no_journald", %error, "the log goes to stderr as JSON");
    }
    Ok(Level {
        filter: handle,
        #[cfg(feature = "otlp")]
        _otlp: otlp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_this_program() {
        assert_eq!(directives("debug"), "warn,openraft=error,conclave=debug");
        assert_eq!(directives("off"), "warn,openraft=error,conclave=off");
        let own = "conclave_cluster=trace,warn";
        assert_eq!(directives(own), format!("warn,openraft=error,{own}"));
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for right in ["info", "OFF", "conclave_cluster=trace,openraft=info,warn"] {
            check(right).unwrap();
        }
        for wrong in ["loud", "", "9", "nosuch=notalevel", "info,loud", "conclave_cluster", "a=b=c"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
