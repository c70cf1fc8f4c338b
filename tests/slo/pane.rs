//! What the pane holds and shows is what `slo status --json` says and what sums over the written events give.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use watchfloor::console::shot;
use watchfloor::desk::Desk;

use super::{DAYS, Planted, close, status};

/// A console on the desk after a reading, its list and the detail of its one objective.
fn screen(desk: &Arc<Desk>) -> (watchfloor::model::slo::SloStatus, String) {
    let state = shot::state(desk, 170, 60, "4").unwrap();
    let (_, held) = state.platform.slos.first().expect("one objective").clone();
    let buffer = shot::buffer(&state);
    let width = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(width).map(|row| row.iter().map(|c| c.symbol()).collect::<String>());
    (held, lines.collect::<Vec<_>>().join("\n"))
}

/// `desk` is a folder of settings for the program; its objective is read from the server at `url`.
pub fn agrees(desk: &Path, url: &str, planted: &Planted) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = super::gate::open(desk, url, "bob");
    let mut tries = 0;
    let (held, shown, said) = loop {
        runtime.block_on(opened.refresh_slos()).unwrap();
        let (held, shown) = screen(&opened);
        let said = status(desk);
        if said["at"] == held.at.to_string() {
            break (held, shown, said);
        }
        // The minute ended in between: once more, from the beginning of one.
        tries += 1;
        assert!(tries < 4, "a reading takes more than a minute");
        super::wait_until(super::this_minute() + super::MINUTE);
    };
    compare(&said, &serde_json::to_value(&held).unwrap(), "status");
    let at = held.at.as_second();
    let (good, bad) = planted.between(at - DAYS * 86_400, at);
    let left = 1.0 - bad / (good + bad) / (1.0 - 0.995);
    assert!(close(held.left.unwrap(), left), "{:?} {left}", held.left);
    assert!(close(held.sli.unwrap(), good / (good + bad)));
    let burn = |seconds: i64| {
        let (good, bad) = planted.between(at - seconds, at);
        bad / (good + bad) / (1.0 - 0.995)
    };
    // To the digits it shows.
    for expected in [
        format!(" {} % of 99.5 % promised", digits(good / (good + bad) * 100.0, 4)),
        format!("] {} %", digits(left * 100.0, 1)),
        format!(" {}/{} ", digits(burn(3_600), 1), digits(burn(21_600), 1)),
        format!(" {} ", digits(burn(300), 2)),
        format!(" {} ", digits(burn(1_800), 2)),
        format!(" {} ", digits(burn(86_400), 2)),
        format!(" {} ", digits(burn(259_200), 2)),
    ] {
        assert!(shown.contains(&expected), "{expected} is not on the screen:\n{shown}");
    }
}

/// As the panes write numbers: rounded, no zeros at the end.
fn digits(x: f64, places: usize) -> String {
    let text = format!("{x:.places$}");
    if places == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// Every number of one tree beside the same of the other.
fn compare(a: &Value, b: &Value, path: &str) {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!(close(a, b), "{path}: {a} {b}");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| compare(a, b, &format!("{path}[{i}]")));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().for_each(|(k, v)| compare(v, &b[k], &format!("{path}.{k}")));
        }
        _ => assert_eq!(a, b, "{path}"),
    }
}
