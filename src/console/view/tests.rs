//! What stands on the screen: cells and styles, on small and large screens, with and without colour.

use ratatui::buffer::Buffer;
use ratatui::style::Style;

use super::super::shot::buffer;
use super::super::state::{Live, Overlay, State, Tab};
use super::super::update::tests::{HOSTILE, answer, bare, detail, loaded, look, now, press, record, type_text};
use super::super::update::{Msg, update};
use super::super::words::say;
use crate::model::ids::AlertId;

/// The cells as lines, then the styles: one letter a cell, with a legend.
fn picture(buf: &Buffer) -> String {
    let mut styles: Vec<Style> = Vec::new();
    let (mut text, mut letters) = (String::new(), String::new());
    for y in 0..buf.area.height {
        let (mut line, mut marks) = (String::new(), String::new());
        let mut skip = 0;
        for x in 0..buf.area.width {
            let cell = &buf[(x, y)];
            if skip == 0 {
                line.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1);
            }
            skip -= 1;
            let style = cell.style();
            let at = styles.iter().position(|s| *s == style).unwrap_or_else(|| {
                styles.push(style);
                styles.len() - 1
            });
            marks.push(char::from_u32('a' as u32 + at as u32).unwrap());
        }
        text.push_str(line.trim_end());
        text.push('\n');
        letters.push_str(&runs(&marks));
        letters.push('\n');
    }
    let legend: Vec<String> = styles
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let letter = char::from_u32('a' as u32 + i as u32).unwrap();
            format!("{letter}: {:?} on {:?} {:?}", s.fg.unwrap_or_default(), s.bg.unwrap_or_default(), s.add_modifier)
        })
        .collect();
    format!("{text}--- styles ---\n{letters}--- legend ---\n{}\n", legend.join("\n"))
}

/// `aaab` as `a3b1`.
fn runs(marks: &str) -> String {
    let mut out = String::new();
    let mut chars = marks.chars().peekable();
    while let Some(c) = chars.next() {
        let mut n = 1;
        while chars.next_if_eq(&c).is_some() {
            n += 1;
        }
        out.push_str(&format!("{c}{n}"));
    }
    out
}

pub fn text(state: &State) -> String {
    let all = picture(&buffer(state));
    all.split("--- styles ---").next().unwrap().to_owned()
}

fn each(name: &str, make: impl Fn(&mut State)) {
    each_of(&[("dark", false), ("mono", true), ("deuteranopia", false)], name, make);
}

pub fn each_of(looks: &[(&str, bool)], name: &str, make: impl Fn(&mut State)) {
    for (theme, ascii) in looks.iter().copied() {
        for size in [(80, 24), (160, 45)] {
            let mut s = loaded(size, look(theme, ascii));
            make(&mut s);
            insta::assert_snapshot!(format!("{name}_{theme}_{}x{}", size.0, size.1), picture(&buffer(&s)));
        }
    }
}

#[test]
fn queue() {
    each("queue", |s| {
        press(s, "j j");
        s.queue.new_above = 14;
    });
}

#[test]
fn alert_in_full() {
    each("alert", |s| {
        press(s, "enter");
    });
}

#[test]
fn close_form() {
    each("close", |s| {
        press(s, "x");
        type_text(s, "ffamiliar scanner");
    });
}

#[test]
fn decision() {
    each("decide", |s| {
        press(s, "3 enter");
        let later = s.now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        update(s, later, Msg::Tick);
    });
}

/// Requests as they come to an inbox: asked back, on the ladder, run alone and not reviewed, a draft.
fn inbox(s: &mut State) {
    use crate::model::action::RequestState;
    use crate::model::course::{BreakGlass, Message, MessageKind, Rung};
    use crate::model::ids::{PersonId, RequestId};
    let ago = |s: i64| now().checked_sub(jiff::SignedDuration::from_secs(s)).unwrap();
    let who = |n: &str| PersonId::new(n).unwrap();
    let first = s.requests.rows.iter().find(|r| r.state == RequestState::Pending).unwrap().clone();
    let make = |id: &str| {
        let mut r = first.clone();
        r.body.id = RequestId::new(id).unwrap();
        r
    };
    let mut asked = make("01JASKED");
    let said = |by: &str, at, kind, text: &str| Message { by: who(by), at: ago(at), kind, text: text.into() };
    asked.course.thread = vec![
        said("carol", 240, MessageKind::Question, "is the backup of today there?"),
        said("bob", 180, MessageKind::Answer, "yes, since 04:00"),
        said("carol", 60, MessageKind::Question, HOSTILE),
    ];
    asked.course.ticket = Some("CHG0042".into());
    let rung = |n: u8, at, whom: &str| Rung { number: n, at: ago(at), to: vec![who("carol")], whom: whom.into() };
    let mut silent = make("01JSILENT");
    silent.course.rungs = vec![rung(1, 200, "leads"), rung(2, 100, "commanders")];
    let glass = |due: i64| BreakGlass {
        by: who("carol"),
        at: ago(90_000),
        digest: first.digest.clone(),
        reason: HOSTILE.into(),
        means: crate::model::action::Means::AgentTouch,
        signed: None,
        review_due: ago(due),
        review: None,
    };
    let mut overdue = make("01JOVERDUE");
    (overdue.state, overdue.course.glass) = (RequestState::Done, Some(glass(3600)));
    let mut open = make("01JOPEN");
    (open.state, open.course.glass) = (RequestState::Failed, Some(glass(-7200)));
    let mut draft = make("01JDRAFT");
    (draft.state, draft.body.requester, draft.digest) = (RequestState::Draft, who("alice"), String::new());
    (draft.preview, draft.findings) = (vec![], vec![]);
    draft.body.commands.clear();
    draft.body.approve_by = now().checked_add(jiff::SignedDuration::from_hours(6 * 24 + 3)).unwrap();
    draft.body.reason = "spread to 3 subnets".into();
    let at = s.now;
    update(s, at, Msg::Requests(Ok(vec![asked, silent, overdue, open, draft])));
}

#[test]
fn inbox_list() {
    each("inbox", |s| {
        inbox(s);
        press(s, "3");
    });
}

#[test]
fn a_draft_of_ones_own_and_the_form_that_edits_it() {
    let looks = [("dark", false), ("mono", true)];
    let at = |s: &mut State| {
        inbox(s);
        press(s, "3");
        s.requests.cursor = crate::model::ids::RequestId::new("01JDRAFT");
    };
    each_of(&looks, "kept_list", at);
    let open = |s: &mut State| {
        at(s);
        press(s, "enter");
        let later = s.now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        update(s, later, Msg::Tick);
    };
    each_of(&looks, "kept_open", open);
    each_of(&looks, "kept_refused", |s| {
        open(s);
        press(s, "s");
        let why = say!("protected: fin-ws-014 (the till of the canteen: ask Finance first); 2 targets of at most 1");
        update(s, s.now, Msg::Decided { what: "submitted", result: Err(why) });
    });
    each_of(&looks, "kept_edit", |s| {
        open(s);
        press(s, "e");
    });
    each_of(&looks, "kept_taken_back", |s| {
        inbox(s);
        press(s, "3");
        let mine = crate::model::ids::RequestId::new("01JASKED");
        for r in &mut s.requests.rows {
            if Some(&r.body.id) == mine.as_ref() {
                r.body.requester = crate::model::ids::PersonId::new("alice").unwrap();
                r.body.reason = "spread to 3 subnets".into();
                r.state = crate::model::action::RequestState::Approved;
                r.approvals = vec![crate::model::action::Approval {
                    by: crate::model::ids::PersonId::new("carol").unwrap(),
                    at: now(),
                    digest: r.digest.clone(),
                    means: crate::model::action::Means::KeyPress,
                    signed: None,
                }];
            }
        }
        s.requests.cursor = mine;
        press(s, "e");
    });
    each_of(&looks, "kept_propose", |s| {
        press(s, "p enter");
    });
}

#[test]
fn a_request_with_its_thread_and_one_that_ran_alone() {
    for (name, id) in [("asked", "01JASKED"), ("alone", "01JOVERDUE")] {
        each(name, |s| {
            inbox(s);
            press(s, "3");
            s.requests.cursor = crate::model::ids::RequestId::new(id);
            press(s, "enter");
        });
    }
}

#[test]
fn status() {
    each("status", |s| {
        press(s, "8");
    });
}

#[test]
fn other_panes_show_what_they_hold() {
    let mut s = loaded((100, 30), look("dark", false));
    press(&mut s, "2");
    assert!(text(&s).contains("#118"));
    press(&mut s, "3");
    let t = text(&s);
    assert!(t.contains("isolate-host") && t.contains("pending") && t.contains("needs 1"));
    press(&mut s, "9");
    assert!(text(&s).contains("owner:me"));
    press(&mut s, "9");
    assert!(text(&s).contains("nothing is suppressed"));
    press(&mut s, "1 ?");
    assert!(text(&s).contains("Take it."));
}

#[test]
fn every_pane_has_its_empty_loading_and_broken_words() {
    for tab in Tab::ALL {
        let mut s = bare((80, 24), look("dark", false));
        s.tab = tab;
        if tab == Tab::Status {
            assert!(text(&s).contains("none configured"));
            continue;
        }
        if tab == Tab::Triage || tab.is_platform() {
            // Tested with their figures.
            continue;
        }
        assert!(text(&s).contains("loading"), "{tab:?}: {}", text(&s));
        let e = say!("disk I/O error");
        let broken = match tab {
            Tab::Cases => Msg::Cases(Err(e)),
            Tab::Playbooks => Msg::Runs(Err(e)),
            Tab::Approvals => Msg::Requests(Err(e)),
            Tab::Views => Msg::Views(Err(e)),
            Tab::Suppressions => Msg::Suppressions(Err(e)),
            _ => Msg::Rows { generation: 0, page: crate::model::query::Page::First, limit: 1, result: Err(e) },
        };
        update(&mut s, now(), broken);
        let t = text(&s);
        assert!(t.contains("disk I/O error") && t.contains("last good") | t.contains("not worked yet"), "{tab:?}: {t}");
        let empty = match tab {
            Tab::Cases => Msg::Cases(Ok(vec![])),
            Tab::Playbooks => Msg::Runs(Ok(vec![])),
            Tab::Approvals => Msg::Requests(Ok(vec![])),
            Tab::Views => Msg::Views(Ok(vec![])),
            Tab::Suppressions => Msg::Suppressions(Ok(vec![])),
            _ => Msg::Rows { generation: 0, page: crate::model::query::Page::First, limit: 1, result: Ok((vec![], 0)) },
        };
        update(&mut s, now(), empty);
        let t = text(&s);
        assert!(!t.contains("disk I/O error") && !t.contains("loading the"), "{tab:?}: {t}");
    }
}

#[test]
fn a_small_screen_says_so_and_nothing_else() {
    let s = loaded((59, 15), look("dark", false));
    let t = text(&s);
    assert!(t.contains("at least 60x15"));
    assert_eq!(t.trim().lines().count(), 1);
}

#[test]
fn nothing_hostile_reaches_a_cell() {
    for size in [(60, 15), (80, 24), (160, 45)] {
        for keys in [
            "j",
            "e",
            "enter e e",
            "enter f e",
            "7",
            "-",
            "a",
            "enter",
            "j j enter",
            "x",
            "3 enter",
            "3 j j enter",
            "2",
            "m",
            "p",
            "f",
            "Y",
            "i",
            "enter R",
            ":",
        ] {
            let mut s = loaded(size, look("dark", false));
            press(&mut s, keys);
            s.notice = None;
            update(&mut s, now(), Msg::Detail { id: AlertId(3), result: Ok(Some(Box::new(detail(3)))) });
            update(&mut s, now(), Msg::Raw { id: AlertId(1), result: Ok(Some(record().into())) });
            update(&mut s, now(), Msg::Answered { id: AlertId(1), result: Ok(Box::new(answer())) });
            s.notice = None;
            let buf = buffer(&s);
            for cell in buf.content() {
                for c in cell.symbol().chars() {
                    let bad = c.is_control()
                        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}'..='\u{200f}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}');
                    assert!(!bad, "{size:?} {keys}: {c:?} is on screen");
                }
            }
        }
    }
    // And something is seen of it.
    let mut s = loaded((160, 45), look("dark", false));
    press(&mut s, "j j");
    assert!(text(&s).contains("<U+202E>"), "{}", text(&s));
    assert!(HOSTILE.contains('\u{202e}'));
}

#[test]
fn what_the_requester_wrote_stays_in_its_fence() {
    let mut s = loaded((80, 24), look("mono", true));
    press(&mut s, "3 enter");
    let t = text(&s);
    for line in t.lines().filter(|l| l.contains("APPROVED BY POLICY") || l.contains("spread to 3")) {
        assert!(line.trim_start().starts_with('|'), "{line}");
    }
    assert!(t.contains("spread to 3"));
}

#[test]
fn ascii_means_ascii() {
    for keys in ["j", "enter", "x", "3 enter", "4", "5", "6", "7", "8", "9", "-", "a", "?", ":", "2"] {
        let mut s = loaded((80, 24), look("mono", true));
        // Alert text itself may hold any letter; here it does not.
        for r in &mut s.queue.rows {
            r.title = "plain".into();
            r.host = None;
        }
        s.detail.shown = None;
        s.cases.rows.clear();
        s.requests.rows.iter_mut().for_each(|r| r.body.reason = "plain".into());
        press(&mut s, keys);
        assert!(text(&s).is_ascii(), "{keys}: {:?}", text(&s).chars().find(|c| !c.is_ascii()));
    }
}

#[test]
fn the_header_tells_stale_paused_kill_switch_and_a_drill() {
    let mut s = loaded((120, 24), look("dark", false));
    s.exercise = Some(say!("EXERCISE ransomware-1  nothing here is real"));
    s.live = Live::Stale { since: now(), why: say!("the disk is gone") };
    s.facts.kill = Some((crate::model::ids::PersonId::new("bob").unwrap(), now()));
    s.facts.outside = vec![("policy", now())];
    let t = text(&s);
    for words in [
        "STALE since 09:00",
        "KILL SWITCH by bob",
        "policy CHANGED OUTSIDE",
        "EXERCISE ransomware-1",
        "the disk is gone",
        "PROD-EU",
    ] {
        assert!(t.contains(words), "{words}: {t}");
    }
}

#[test]
fn an_overdue_clock_is_reversed_with_and_without_colour() {
    use ratatui::style::Modifier;
    for theme in ["dark", "mono"] {
        let s = loaded((80, 24), look(theme, false));
        let buf = buffer(&s);
        let y = (0..24).find(|y| (0..80).map(|x| buf[(x, *y)].symbol()).collect::<String>().contains("-6m")).unwrap();
        let line: String = (0..80).map(|x| buf[(x, y)].symbol()).collect();
        let at = line.chars().position(|c| c == '-').unwrap() as u16;
        assert!(buf[(at, y)].style().add_modifier.contains(Modifier::REVERSED), "{theme}: {line}");
    }
}

#[test]
fn the_last_overlay_is_what_is_seen() {
    let mut s = loaded((80, 24), look("dark", false));
    press(&mut s, "r");
    assert!(matches!(s.overlays.last(), Some(Overlay::Raw(_))));
    assert!(text(&s).contains("loading the bytes"));
    let bytes = std::sync::Arc::new(b"{\"a\": \"\x1b[2J\xff\"}".to_vec());
    update(&mut s, now(), Msg::Raw { id: AlertId(1), result: Ok(Some(bytes)) });
    assert!(text(&s).contains("{\"a\": \"^[[2J<xff>\"}"), "{}", text(&s));
    press(&mut s, "h");
    assert!(text(&s).contains("7b 22 61 22"));
}
