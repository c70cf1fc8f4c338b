//! What a frame costs: 200x60 on a desk of a thousand and of N alerts, beside a bare ratatui table of the same rows.
//!
//! `cargo bench --bench frame`. `WATCHFLOOR_BENCH_N` (default 1,000,000) is the larger desk. Goals: the larger desk at
//! most 1.1 times the smaller one, the whole frame (header, list, alert, footer) at most 1.5 times the bare table.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints and stops at the first fault"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Constraint;
use ratatui::layout::Rect;
use ratatui::widgets::Row;
use ratatui::widgets::Table;
use ratatui::widgets::Widget as _;
use watchfloor::config;
use watchfloor::console::shot;
use watchfloor::console::state::State;
use watchfloor::console::view;
use watchfloor::desk::Desk;
use watchfloor::text::clean;

mod common;

const AREA: Rect = Rect::new(0, 0, 200, 60);
const ROUNDS: usize = 60;
const FRAMES: u32 = 50;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let n: usize = common::env("WATCHFLOOR_BENCH_N", 1_000_000);
    let small = state(common::desk_with(1_000));
    let large = state(common::desk_with(n));
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut buf = Buffer::empty(AREA);
    // Turn by turn, so that a busy machine is busy for all of them.
    for _ in 0..ROUNDS {
        times[0].push(time(|| frame(&small, &mut buf)));
        times[1].push(time(|| frame(&large, &mut buf)));
        times[2].push(time(|| bare(&large, &mut buf)));
    }
    let [small, large, bare] = times.map(common::median);
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    println!("frame 200x60, 1000 alerts: {:.0} us", us(small));
    println!("frame 200x60, {n} alerts: {:.0} us, {:.2} of the smaller desk's", us(large), us(large) / us(small));
    println!(
        "bare ratatui table of the visible rows: {:.0} us; the whole frame is {:.2} of it",
        us(bare),
        us(large) / us(bare)
    );
}

fn time(mut what: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..FRAMES {
        what();
    }
    begin.elapsed() / FRAMES
}

/// A console in the middle of the desk's queue, its alert loaded. Both desks begin with the same thousand alerts, so
/// that by age both show the same ones and only the size of the desk differs.
fn state(dir: PathBuf) -> State {
    let over = config::Overrides { data_dir: Some(dir), ..config::Overrides::default() };
    let loaded = config::load(&over, &config::Env::process()).expect("settings");
    let desk = Arc::new(Desk::configured(&loaded).expect("a desk"));
    shot::state(&desk, AREA.width, AREA.height, "o \"oldest\" enter pagedown pagedown pagedown").expect("a console")
}

fn frame(state: &State, buf: &mut Buffer) {
    buf.reset();
    view::draw(black_box(state), buf);
}

/// The same rows and columns as words in a table of ratatui's own.
fn bare(state: &State, buf: &mut Buffer) {
    buf.reset();
    let q = &state.queue;
    let rows = q.rows.iter().skip(q.scroll).take(usize::from(AREA.height)).map(|r| {
        let text = |t: &Option<watchfloor::text::Untrusted>| {
            t.as_ref().map_or_else(|| "-".to_owned(), |t| clean(t).as_str().to_owned())
        };
        Row::new([
            r.priority.word().to_owned(),
            r.t_ingest.as_second().to_string(),
            r.severity.short().to_owned(),
            clean(&r.title).as_str().to_owned(),
            text(&r.host),
            text(&r.user),
            r.count.to_string(),
            r.status.word().to_owned(),
        ])
    });
    let widths = [2, 5, 6, 100, 24, 22, 4, 9].map(Constraint::Length);
    Table::new(rows, widths).render(AREA, black_box(buf));
}
