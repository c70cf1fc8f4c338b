//! The console's own buffer as SVG, for the README: what is drawn is what a terminal would show.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use tokio::sync::mpsc;

use super::effect::{Runner, facts};
use super::keymap::{Key, parse_key};
use super::state::State;
use super::theme::{Depth, Role, Theme};
use super::update::{self, Effect, Msg};
use super::{ConsoleError, ConsoleOptions, new_state, term, view};
use crate::desk::Desk;

/// A cell, in SVG units.
const CELL: (f32, f32) = (8.43, 17.0);
const MARGIN: f32 = 14.0;
const BAR: f32 = 30.0;
/// Longest wait for the desk to answer all that was asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// Loads a console from the desk, types `keys` into it and returns its screen as SVG.
///
/// `keys` are key names with spaces between, as in a keymap; text to type stands in double quotes:
/// `/ "sev>=high" enter j j`.
pub fn screenshot(
    desk: &Arc<Desk>,
    width: u16,
    height: u16,
    keys: &str,
    theme: Option<String>,
) -> Result<String, ConsoleError> {
    let state = state_in(desk, (width, height), keys, theme)?;
    Ok(svg(&buffer(&state), &state.look.theme))
}

/// The state of a console of this size on the desk, after these keys.
pub fn state(desk: &Arc<Desk>, width: u16, height: u16, keys: &str) -> Result<State, ConsoleError> {
    state_in(desk, (width, height), keys, None)
}

fn state_in(desk: &Arc<Desk>, size: (u16, u16), keys: &str, theme: Option<String>) -> Result<State, ConsoleError> {
    let caps = term::Caps { depth: Depth::True, no_color: false, ascii: false, remote: false };
    let options = ConsoleOptions { theme, ..ConsoleOptions::default() };
    let state = new_state(desk, &options, &caps, size)?;
    play(desk, state, &script(keys)?)
}

/// Reads a script of keys.
pub fn script(text: &str) -> Result<Vec<Key>, ConsoleError> {
    let mut keys = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').ok_or_else(|| ConsoleError::Usage("keys: a quote is not closed".into()))?;
            keys.extend(quoted[..end].chars().map(Key::char));
            rest = quoted[end + 1..].trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let word = &rest[..end];
        keys.push(parse_key(word).ok_or_else(|| ConsoleError::Usage(format!("keys: {word:?} is no key")))?);
        rest = rest[end..].trim_start();
    }
    Ok(keys)
}

/// Types keys into a state, letting the desk answer after each.
pub fn play(desk: &Arc<Desk>, mut state: State, keys: &[Key]) -> Result<State, ConsoleError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (to, mut messages) = mpsc::channel(1024);
    let runner = Runner::new(Arc::clone(desk), runtime.handle().clone(), to);
    let first = update::start(&mut state);
    run(&runner, &state, first);
    step(&runner, &mut state, Msg::Facts(facts(desk)));
    step(&runner, &mut state, Msg::Platform(desk.platform()));
    step(&runner, &mut state, Msg::Link(Ok(())));
    settle(&runner, &mut state, &mut messages);
    for key in keys {
        step(&runner, &mut state, Msg::Key(*key));
        settle(&runner, &mut state, &mut messages);
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(state)
}

fn run(runner: &Runner, state: &State, effects: Vec<Effect>) {
    for effect in effects {
        runner.run(state.my_id(), effect);
    }
}

fn step(runner: &Runner, state: &mut State, msg: Msg) {
    let effects = update::update(state, Timestamp::now(), msg);
    run(runner, state, effects);
}

fn settle(runner: &Runner, state: &mut State, messages: &mut mpsc::Receiver<Msg>) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match messages.try_recv() {
            Ok(msg) => step(runner, state, msg),
            Err(_) if runner.at_rest() && messages.is_empty() => return,
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The screen of a state.
pub fn buffer(state: &State) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, state.size.0, state.size.1));
    view::draw(state, &mut buf);
    buf
}

/// A buffer as SVG, in the theme's colours.
pub fn svg(buf: &Buffer, theme: &Theme) -> String {
    let ground = hex(theme.style(Role::Text).bg, "#14181f");
    let paper = hex(theme.style(Role::Text).fg, "#d8dce4");
    let (w, h) = (f32::from(buf.area.width) * CELL.0, f32::from(buf.area.height) * CELL.1);
    let (all_w, all_h) = (w + 2.0 * MARGIN, h + BAR + MARGIN);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all_w:.0}\" height=\"{all_h:.0}\" viewBox=\"0 0 {all_w:.0} {all_h:.0}\" role=\"img\">\n\
         <title>watchfloor</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"9\" fill=\"{ground}\" stroke=\"#00000055\"/>\n"
    );
    for (i, c) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let _ = writeln!(out, "<circle cx=\"{}\" cy=\"15\" r=\"5.5\" fill=\"{c}\"/>", 20 + i * 19);
    }
    let _ = writeln!(
        out,
        "<g transform=\"translate({MARGIN} {BAR})\" font-family=\"'JetBrains Mono','Cascadia Mono','DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"14\" xml:space=\"preserve\">"
    );
    for y in 0..buf.area.height {
        line(&mut out, buf, y, &ground, &paper);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// One line: runs of the same style, each a box and a text of fixed length.
fn line(out: &mut String, buf: &Buffer, y: u16, ground: &str, paper: &str) {
    let mut x = 0;
    while x < buf.area.width {
        let style = buf[(x, y)].style();
        let start = x;
        let mut text = String::new();
        while x < buf.area.width && buf[(x, y)].style() == style {
            let symbol = buf[(x, y)].symbol();
            text.push_str(symbol);
            x += (super::words::width(symbol).max(1)) as u16;
        }
        let (fg, bg) = colours(style, ground, paper);
        let left = f32::from(start) * CELL.0;
        let top = f32::from(y) * CELL.1;
        let wide = f32::from(x - start) * CELL.0;
        if bg != ground {
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{bg}\"/>",
                wide + 0.3,
                CELL.1 + 0.3
            );
        }
        if text.trim().is_empty() {
            continue;
        }
        let bold = if style.add_modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
        let dim = if style.add_modifier.contains(Modifier::DIM) { " opacity=\"0.65\"" } else { "" };
        let under =
            if style.add_modifier.contains(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{wide:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{fg}\"{bold}{dim}{under}>{}</text>",
            top + 13.0,
            escape(&text)
        );
    }
}

fn colours(style: Style, ground: &str, paper: &str) -> (String, String) {
    let (fg, bg) = (hex(style.fg, paper), hex(style.bg, ground));
    if style.add_modifier.contains(Modifier::REVERSED) { (bg, fg) } else { (fg, bg) }
}

fn hex(colour: Option<Color>, default: &str) -> String {
    match colour {
        Some(Color::Rgb(r, g, b)) => format!("#{r:02x}{g:02x}{b:02x}"),
        _ => default.to_owned(),
    }
}

/// XML text; spaces are kept by no-break ones, which every renderer leaves alone.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            ' ' => out.push('\u{a0}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read() {
        let keys = script("/ \"a b\" enter ctrl-x").unwrap();
        assert_eq!(keys.len(), 6);
        assert!(script("\"open").is_err());
        assert!(script("nokey").is_err());
    }

    #[test]
    fn svg_escapes_what_a_buffer_holds() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 20, 2));
        buf.set_string(0, 0, "<script>&", Style::new().fg(Color::Rgb(1, 2, 3)));
        let text = svg(&buf, &Theme::load("dark", &[]).unwrap());
        assert!(text.contains("&lt;script&gt;&amp;") && !text.contains("<script"));
        assert!(text.contains("#010203"));
    }
}
