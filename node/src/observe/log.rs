//! Logging to stderr, as text for people or as JSON for machines.

use conclave_api::problem::{Code, Problem};
use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Expands a log filter. A bare level applies to this program only; libraries then log warnings and
/// errors. openraft logs errors only: it would warn at every attempt to reach an absent member,
/// which this program already reports once.
fn directives(level: &str) -> String {
    match level.parse::<Level>() {
        Ok(_) => format!("warn,openraft=error,conclave={level}"),
        Err(_) => level.to_owned(),
    }
}

/// Starts logging. A second start in one process has no effect.
pub(crate) fn start(config: &Config) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(directives(&config.log_level)).map_err(|error| {
        Problem::new(Code::ConfigurationInvalid, format!("[log] level: {error}"))
            .hint("level = \"info\", or \"debug\", or \"conclave_node=trace,openraft=info,warn\"")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An existing subscriber, as in a test, stays in place.
    let _ = if config.log_json {
        builder.json().try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_this_program() {
        assert_eq!(directives("debug"), "warn,openraft=error,conclave=debug");
        assert_eq!(directives("conclave_node=trace,warn"), "conclave_node=trace,warn");
    }
}
