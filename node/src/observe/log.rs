//! Logging to stderr, as text for people or as JSON for machines.

use conclave_api::problem::Problem;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use crate::fault::internal;

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

/// Handle of the running log, to change its filter.
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    pub(crate) fn change(&self, level: &str) -> Result<(), String> {
        self.0.reload(filter(level)?).map_err(|error| error.to_string())
    }
}

/// Starts logging. A second start in one process has no effect.
pub(crate) fn start(level: &str, is_json: bool) -> Result<Level, Problem> {
    let filter = filter(level).map_err(|error| internal("cannot log", error))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match is_json {
        true => lines.json().boxed(),
        false => lines.with_ansi(false).boxed(),
    };
    // An existing subscriber, as in a test, stays in place.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(Level(handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_this_program() {
        assert_eq!(directives("debug"), "warn,openraft=error,conclave=debug");
        assert_eq!(directives("off"), "warn,openraft=error,conclave=off");
        let own = "conclave_node=trace,warn";
        assert_eq!(directives(own), format!("warn,openraft=error,{own}"));
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for right in ["info", "OFF", "conclave_node=trace,openraft=info,warn"] {
            check(right).unwrap();
        }
        for wrong in ["loud", "", "9", "nosuch=notalevel", "info,loud", "conclave_node", "a=b=c"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
