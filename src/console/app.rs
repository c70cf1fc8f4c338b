//! The loop: signals before messages before input; a frame when something changed, a key's at once, others at most 30
//! a second (10 over SSH). Nothing happens: nothing is drawn, nothing is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{Event, MouseButton, MouseEventKind};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::effect::Runner;
use super::keymap::Key;
use super::state::State;
use super::term::{self, Screen};
use super::update::{self, Effect, Msg};
use super::words::Said;
use super::{ConsoleError, ConsoleOptions, new_state};
use crate::desk::Desk;

/// How long a key's frame may wait for the desk's answer: within the 16 ms in which it must be painted.
const KEY_PATIENCE: Duration = Duration::from_millis(10);

/// From the terminal.
enum Input {
    Event(Event),
    /// It cannot be read any more.
    Gone,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    cont: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            cont: signal(SignalKind::from_raw(signal_hook::consts::SIGCONT))?,
        })
    }
}

/// Runs the console until its user leaves, its terminal is gone or a signal ends it.
pub fn run(desk: &Arc<Desk>, options: &ConsoleOptions) -> Result<(), ConsoleError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async { main_loop(desk, options).await });
    // What still runs (a dry run, a model's answer) is the desk's to finish, not worth waiting for here.
    runtime.shutdown_timeout(Duration::from_millis(300));
    result
}

struct App {
    state: State,
    runner: Runner,
    screen: Screen<io::Stdout>,
    mouse: bool,
    dirty: bool,
    /// The last frame was drawn then.
    drawn: Instant,
    /// A key is waiting for its frame, until then at the latest: what it asked the desk for mostly comes sooner, and
    /// one frame is then enough.
    key_due: Option<Instant>,
    every: Duration,
    /// A SIGCONT that follows our own suspend has been dealt with.
    resumed: Option<Instant>,
}

async fn main_loop(desk: &Arc<Desk>, options: &ConsoleOptions) -> Result<(), ConsoleError> {
    let caps = term::Caps::from_env();
    let size = crossterm::terminal::size()?;
    let state = new_state(desk, options, &caps, size)?;
    let clock = desk.settings().console.clock.clone();
    let mouse = desk.settings().console.mouse;
    let (to, mut messages) = mpsc::channel(256);
    let runner = Runner::new(Arc::clone(desk), Handle::current(), to);
    let mut signals = Signals::new()?;

    term::guard_panics();
    let guard = term::Guard;
    term::enter(mouse)?;
    let mut input = read_input()?;
    let stop = Arc::new(AtomicBool::new(false));
    runner.watch(Arc::clone(&stop))?;
    let every = Duration::from_millis(if caps.remote { 100 } else { 33 });
    let now = Instant::now();
    let mut app = App {
        state,
        runner,
        screen: Screen::new(io::stdout()),
        mouse,
        dirty: true,
        drawn: now.checked_sub(every).unwrap_or(now),
        key_due: None,
        every,
        resumed: None,
    };
    let first = update::start(&mut app.state);
    app.effects(first)?;
    let mut alive = tokio::time::interval(Duration::from_secs(1));
    let result = loop {
        let frame = app.key_due.unwrap_or(app.drawn + app.every);
        tokio::select! {
            biased;
            _ = signals.hangup.recv() => break Ok(()),
            _ = signals.terminate.recv() => break Ok(()),
            _ = signals.interrupt.recv() => break Ok(()),
            _ = signals.cont.recv() => app.continued()?,
            Some(msg) = messages.recv() => {
                app.take(msg)?;
                if app.key_due.is_some() && !app.awaits() && let Err(e) = app.draw() {
                    break ended(e);
                }
            }
            read = input.recv() => match read {
                Some(Input::Event(event)) => {
                    app.event(event)?;
                    // What is typed or pasted ahead is taken before the next frame, which is drawn at once.
                    let mut n = 0;
                    while n < 64 && let Ok(Input::Event(more)) = input.try_recv() {
                        app.event(more)?;
                        n += 1;
                    }
                    if app.awaits() {
                        app.key_due.get_or_insert(Instant::now() + KEY_PATIENCE);
                    } else if app.dirty && let Err(e) = app.draw() {
                        break ended(e);
                    }
                }
                Some(Input::Gone) | None => break Ok(()),
            },
            () = sleep_until(frame), if app.dirty => {
                if let Err(e) = app.draw() {
                    break ended(e);
                }
            }
            () = sleep_until(next_tick(&clock)), if clock != "off" => app.take(Msg::Tick)?,
            _ = alive.tick() => {
                if term::panicked() || !term::alive() {
                    break Ok(());
                }
            }
        }
        if app.state.quitting || term::panicked() {
            break Ok(());
        }
    };
    stop.store(true, Ordering::SeqCst);
    drop(guard);
    if term::panicked() {
        return Err(ConsoleError::Panicked);
    }
    result
}

/// A terminal that went away is an ordinary end.
fn ended(e: io::Error) -> Result<(), ConsoleError> {
    if term::alive() { Err(e.into()) } else { Ok(()) }
}

/// When the clocks on screen move next.
fn next_tick(clock: &str) -> Instant {
    let now = Timestamp::now().as_millisecond();
    let grain = if clock == "second" { 1000 } else { 60_000 };
    Instant::now() + Duration::from_millis((grain - now.rem_euclid(grain)) as u64)
}

/// Reads the terminal on a thread of its own: it blocks.
fn read_input() -> io::Result<mpsc::Receiver<Input>> {
    let (to, from) = mpsc::channel(256);
    std::thread::Builder::new().name("console-input".into()).spawn(move || {
        loop {
            let input = crossterm::event::read().map_or(Input::Gone, Input::Event);
            let gone = matches!(input, Input::Gone);
            if to.blocking_send(input).is_err() || gone {
                return;
            }
        }
    })?;
    Ok(from)
}

impl App {
    fn take(&mut self, msg: Msg) -> Result<(), ConsoleError> {
        let effects = update::update(&mut self.state, Timestamp::now(), msg);
        self.dirty = true;
        self.effects(effects)
    }

    fn event(&mut self, event: Event) -> Result<(), ConsoleError> {
        let msg = match event {
            Event::Key(e) => match Key::from_event(&e) {
                Some(key) => Msg::Key(key),
                None => return Ok(()),
            },
            Event::Paste(text) => Msg::Paste(text),
            Event::Resize(w, h) => Msg::Resize(w, h),
            Event::Mouse(m) => match m.kind {
                MouseEventKind::ScrollUp => Msg::Wheel { up: true },
                MouseEventKind::ScrollDown => Msg::Wheel { up: false },
                MouseEventKind::Down(MouseButton::Left) => Msg::Click { x: m.column, y: m.row },
                _ => return Ok(()),
            },
            Event::FocusGained | Event::FocusLost => return Ok(()),
        };
        self.take(msg)
    }

    fn effects(&mut self, effects: Vec<Effect>) -> Result<(), ConsoleError> {
        for effect in effects {
            match effect {
                Effect::Copy(text) => {
                    let result = term::copy(text.as_str()).map_err(|e| Said::of(&e.to_string()));
                    self.take(Msg::Copied(result))?;
                }
                Effect::Suspend => {
                    term::suspend(self.mouse)?;
                    self.resumed = Some(Instant::now());
                    self.resume()?;
                }
                other => self.runner.run(self.state.my_id(), other),
            }
        }
        Ok(())
    }

    /// Continued from outside: the terminal may have been changed meanwhile.
    fn continued(&mut self) -> Result<(), ConsoleError> {
        if self.resumed.take().is_some_and(|t| t.elapsed() < Duration::from_secs(2)) {
            return Ok(());
        }
        term::enter(self.mouse)?;
        self.resume()
    }

    fn resume(&mut self) -> Result<(), ConsoleError> {
        let (w, h) = crossterm::terminal::size()?;
        self.take(Msg::Resumed)?;
        if (w, h) != self.state.size {
            self.take(Msg::Resize(w, h))?;
        }
        Ok(())
    }

    /// What the last key asked for has not come yet.
    fn awaits(&self) -> bool {
        self.dirty && (self.state.detail.loading.is_some() || self.state.queue.loading)
    }

    fn draw(&mut self) -> io::Result<()> {
        self.key_due = None;
        if std::mem::take(&mut self.state.repaint) {
            self.screen.forget();
        }
        self.dirty = false;
        self.drawn = Instant::now();
        self.screen.draw(&self.state)?;
        Ok(())
    }
}
