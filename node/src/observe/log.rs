//! Log lines: text for people, JSON for machines; always on stderr.

use conclave_api::problem::{Code, Problem};
use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// A level alone is this program's own: what libraries say below a warning is for those who ask
/// for it by name. openraft warns at every attempt to reach a member that is away; this program
/// says once that it is away, so that only openraft's errors are left.
fn directives(level: &str) -> String {
    match level.parse::<Level>() {
        Ok(_) => format!("warn,openraft=error,conclave={level}"),
        Err(_) => level.to_owned(),
    }
}

/// Starts logging; a second start in one process changes nothing.
pub(crate) fn start(config: &Config) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(directives(&config.log_level)).map_err(|error| {
        Problem::new(Code::F001, format!("[log] level: {error}"))
            .hint("level = \"info\", or \"debug\", or \"conclave_node=trace,openraft=info,warn\"")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Somebody else's subscriber, as in a test, is left in place.
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
