//! `conclave top`: what the nodes do, drawn again and again.

mod frame;
mod rates;

use std::{io::IsTerminal, time::Duration};

use conclave_api::{
    load::NodeLoad,
    problem::{Code, Problem},
    status::Status,
};
use conclave_client::{Client, Failure};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers},
};
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use self::rates::{Rates, rates};
use super::{Asking, Done};
use crate::{output, progress};

/// Time between the two looks of a single frame.
const ONCE: Duration = Duration::from_secs(1);
/// Shortest time between two looks: each asks every node.
const EVERY_MIN: Duration = Duration::from_millis(500);
/// Size of a single frame where there is no terminal.
const WIDTH: u16 = 110;
const HEIGHT: u16 = 60;

/// The same for programs.
#[derive(Serialize)]
struct Nodes<'a> {
    nodes: &'a [Rates],
}

/// What is drawn.
struct View {
    status: Status,
    rates: Vec<Rates>,
    /// Why it is not new.
    failed: Option<Failure>,
}

pub(super) async fn run(asking: &Asking, is_once: bool, every: Duration) -> Done {
    let client = asking.client()?;
    let is_drawn = output::is_table(&asking.global);
    if is_once || !is_drawn || !std::io::stdout().is_terminal() {
        let (_, before) = look(client).await?;
        tokio::time::sleep(ONCE).await;
        let (status, now) = look(client).await?;
        let view = View { status, rates: rates(&before, &now), failed: None };
        let names: Vec<&str> = view.rates.iter().map(|one| one.name.as_str()).collect();
        if !output::object_of(
            &asking.global,
            "Top",
            &names.join("\n"),
            &Nodes { nodes: &view.rates },
        ) {
            output::line(once(&view)?.trim_end());
        }
        return Ok(0);
    }
    progress::end();
    draw_until_quit(client, every.max(EVERY_MIN)).await
}

async fn look(client: &Client) -> Result<(Status, Vec<NodeLoad>), Failure> {
    let (status, load) = tokio::join!(client.status(), client.load());
    Ok((status?, load?.items))
}

/// Draws one frame as text.
fn once(view: &View) -> Result<String, Failure> {
    let mut terminal =
        Terminal::new(TestBackend::new(WIDTH, HEIGHT)).map_err(|error| broken(&error))?;
    terminal.draw(|frame| frame::draw(frame, view)).map_err(|error| broken(&error))?;
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells = (0..buffer.area.width).filter_map(|x| buffer.cell((x, y)));
        let text: String = cells.map(|cell| cell.symbol()).collect();
        format!("{}\n", text.trim_end())
    };
    Ok((0..buffer.area.height).map(line).collect())
}

async fn draw_until_quit(client: &Client, every: Duration) -> Done {
    let (_, mut before) = look(client).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| broken(&error))?;
    let mut terminal = ratatui::try_init().map_err(|error| broken(&error))?;
    let mut keys = keys();
    let mut view: Option<View> = None;
    // A rate needs a second look. Keys count while one is made: a node may not answer.
    let mut looking = Box::pin(look_at(client, Instant::now() + ONCE.min(every)));
    let done = loop {
        tokio::select! {
            looked = &mut looking => {
                looking = Box::pin(look_at(client, Instant::now() + every));
                match (looked, &mut view) {
                    (Ok((status, now)), view) => {
                        *view = Some(View { status, rates: rates(&before, &now), failed: None });
                        before = now;
                    }
                    (Err(failure), Some(view)) => view.failed = Some(failure),
                    (Err(failure), None) => break Err(failure),
                }
            }
            key = keys.recv() => match key {
                Some(Key::Other) => {}
                Some(Key::Quit) | None => break Ok(0),
            },
            _ = terminate.recv() => break Ok(0),
        }
        if let Some(view) = &view
            && let Err(error) = terminal.draw(|frame| frame::draw(frame, view))
        {
            break Err(broken(&error));
        }
    };
    ratatui::restore();
    done
}

async fn look_at(client: &Client, at: Instant) -> Result<(Status, Vec<NodeLoad>), Failure> {
    tokio::time::sleep_until(at).await;
    look(client).await
}

enum Key {
    Quit,
    /// A key without a meaning, or another size of the terminal: draw again.
    Other,
}

/// Reads keys until the receiver is dropped.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let is_quit = |key: KeyEvent| {
                let is_ended = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => true,
                    KeyCode::Char('c') => is_ended,
                    _ => false,
                }
            };
            let key = match event {
                Event::Key(key) if is_quit(key) => Key::Quit,
                _ => Key::Other,
            };
            if sender.blocking_send(key).is_err() {
                break;
            }
        }
    });
    receiver
}

fn broken(error: &impl std::fmt::Display) -> Failure {
    Box::new(Problem::new(Code::OutputFailed, "cannot draw").detail(error.to_string()))
}
