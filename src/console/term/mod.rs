//! The terminal: taken and given back in one place each, written to only in whole frames.

mod caps;
mod screen;

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::{cursor, event, execute, style, terminal};

pub use caps::Caps;
pub use screen::Screen;

static TAKEN: AtomicBool = AtomicBool::new(false);
static MOUSE: AtomicBool = AtomicBool::new(false);
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Takes the terminal: raw mode, the other screen, bracketed paste, no cursor. Nothing is asked of it.
pub fn enter(mouse: bool) -> io::Result<()> {
    // crossterm would drop bold and reversed letters under NO_COLOR; our mono theme has no colours to drop.
    style::force_color_output(true);
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    MOUSE.store(mouse, Ordering::SeqCst);
    let mut out = io::stdout();
    execute!(out, terminal::EnterAlternateScreen, event::EnableBracketedPaste, cursor::Hide)?;
    if mouse {
        execute!(out, event::EnableMouseCapture)?;
    }
    out.flush()
}

/// Gives the terminal back as it was. The only way out: for the end, a panic, a signal and a suspend alike. Errors do
/// not matter any more, and a second call does nothing.
pub fn leave() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    if MOUSE.load(Ordering::SeqCst) {
        let _ = execute!(out, event::DisableMouseCapture);
    }
    let _ = execute!(
        out,
        style::SetAttribute(style::Attribute::Reset),
        style::ResetColor,
        event::DisableBracketedPaste,
        terminal::LeaveAlternateScreen,
        cursor::Show
    );
    let _ = terminal::disable_raw_mode();
}

/// A panic gives the terminal back before it speaks, on whatever thread it is.
pub fn guard_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::SeqCst);
            leave();
            before(info);
        }));
    });
}

/// Some thread panicked: the console must end, for the terminal is no longer ours.
pub fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

/// Gives the terminal back when it goes out of scope.
pub struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

/// Stops this job as a shell's ctrl-z does; comes back when it is continued. Where there is no shell to come back
/// from (an orphaned process group), the kernel drops the signal and this returns at once.
pub fn suspend(mouse: bool) -> io::Result<()> {
    leave();
    rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
    enter(mouse)
}

/// Whether there is still a terminal on the other side.
pub fn alive() -> bool {
    rustix::termios::tcgetattr(rustix::stdio::stdin()).is_ok()
}

/// Sends text to the terminal's clipboard (OSC 52, write only).
pub fn copy(text: &str) -> io::Result<()> {
    use base64::Engine as _;
    let mut out = io::stdout();
    // Base64 has no character that could end the sequence.
    write!(out, "\x1b]52;c;{}\x1b\\", base64::engine::general_purpose::STANDARD.encode(text))?;
    out.flush()
}
