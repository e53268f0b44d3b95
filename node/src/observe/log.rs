//! Log lines: text for people, JSON for machines; always on stderr.

use conclave_api::problem::{Code, Problem};
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Starts logging; a second start in one process changes nothing.
pub(crate) fn start(config: &Config) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        Problem::new(Code::F001, format!("[log] level: {error}"))
            .hint("level = \"info\", or \"debug\", or \"conclave_node=trace,info\"")
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
