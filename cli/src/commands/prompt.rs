//! Questions on the terminal whose answer must not be seen.

use std::io::{self, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// Longest answer. Longer input is refused, since no secret of Conclave is as long.
const ANSWER_BYTES_MAX: u64 = 4096;
/// Exit code of a command that was interrupted at the terminal: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A terminal without echo. Dropped, it has the settings from before.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Silence> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        // The end of the line stays visible, so that the person sees that it was taken.
        silent.local_modes |= LocalModes::ECHONL;
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks for a secret. Echo is off before the question appears: a program that answers at once, as
/// `expect` does, must not make the secret visible.
pub(super) fn secret(question: &str) -> io::Result<String> {
    // Ctrl-C would leave the terminal without echo.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let silence = Silence::begin()?;
    let before = silence.0.clone();
    tokio::spawn(async move {
        if interrupt.recv().await.is_some() {
            drop(Silence(before));
            std::process::exit(INTERRUPTED);
        }
    });
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut answer = String::new();
    let stdin = io::stdin().lock();
    let read = io::BufRead::read_line(&mut io::Read::take(stdin, ANSWER_BYTES_MAX), &mut answer)?;
    if read == 0 || !answer.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
