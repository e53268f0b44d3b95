//! Progress display of waits longer than a second: a spinner on a terminal, otherwise one plain
//! line.

use std::{
    io::{IsTerminal, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

/// A shorter wait shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// The wait of the current command. Any output ends it.
static WAITING: Mutex<Option<(ProgressBar, JoinHandle<()>)>> = Mutex::new(None);

/// Begins a wait. Needs a Tokio runtime.
pub(crate) fn start(text: String) {
    let bar = ProgressBar::hidden();
    let shown = bar.clone();
    let told = tokio::spawn(async move {
        tokio::time::sleep(PATIENCE).await;
        if std::io::stderr().is_terminal() {
            shown.set_style(ProgressStyle::default_spinner());
            shown.set_draw_target(ProgressDrawTarget::stderr());
            shown.set_message(text);
            shown.enable_steady_tick(TICK);
        } else {
            let _ = writeln!(std::io::stderr(), "{text} ...");
        }
    });
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = Some((bar, told));
    }
}

/// Ends the wait and clears its line.
pub(crate) fn end() {
    let waiting = WAITING.lock().ok().and_then(|mut waiting| waiting.take());
    if let Some((bar, told)) = waiting {
        told.abort();
        bar.finish_and_clear();
    }
}
