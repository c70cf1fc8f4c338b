//! The queue, acts and forms.

use super::*;

#[test]
fn a_new_console_asks_for_its_queue_before_its_lists() {
    let mut s = bare((80, 24), look("dark", false));
    let effects = start(&mut s);
    assert!(matches!(&effects[..], [Effect::Parse { text, apply: true }] if text == "not status:closed"));
    update(&mut s, now(), Msg::Parsed { text: "not status:closed".into(), apply: true, result: Ok(Query::All) });
    let rows = || Msg::Rows { generation: 1, page: Page::First, limit: 120, result: Ok((rows(), 0)) };
    assert!(update(&mut s, now(), rows()).contains(&Effect::Requests));
    assert!(!update(&mut s, now(), rows()).contains(&Effect::Requests));
}

#[test]
fn the_cursor_holds_an_id_and_order_freezes_under_it() {
    let mut s = ready();
    assert!(s.queue.follow);
    press(&mut s, "j j");
    assert_eq!(s.queue.cursor, Some(AlertId(3)));
    assert!(!s.queue.follow);
    // New alerts: nothing is loaded into the list, only counted.
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(99)], overflow: false, others: false });
    assert!(effects.iter().any(|e| matches!(e, Effect::Count { cursor: Some(AlertId(3)), .. })), "{effects:?}");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Rows { .. })));
    let count = Count { n: 16, exact: true };
    let generation = s.queue.generation;
    update(
        &mut s,
        now(),
        Msg::Counted { generation, cursor: Some(AlertId(3)), result: Ok((Count { n: 162, exact: true }, Some(count))) },
    );
    assert_eq!(s.queue.new_above, 14);
    assert_eq!(s.queue.new_below, 0);
    let more = (Count { n: 170, exact: true }, Some(count));
    update(&mut s, now(), Msg::Counted { generation, cursor: Some(AlertId(3)), result: Ok(more) });
    assert_eq!((s.queue.new_above, s.queue.new_below), (14, 8));
    assert!(!s.queue.at_end, "what came below can be scrolled to");
    assert_eq!(s.queue.rows.len(), 8);
}

#[test]
fn at_the_top_it_follows_and_a_key_waits_for_eyes() {
    let mut s = ready();
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(99)], overflow: false, others: false });
    let generation = s.queue.generation;
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { page: Page::First, .. })));
    let mut new = rows();
    new.insert(0, row(99, "brand new", Severity::Fatal, 1));
    update(&mut s, now(), Msg::Rows { generation, page: Page::First, limit: 120, result: Ok((new, 0)) });
    assert_eq!(s.queue.cursor, Some(AlertId(99)));
    // The alert under the cursor has just changed: the first press is not taken for it.
    let soon = now().checked_add(SignedDuration::from_millis(200)).unwrap();
    let effects = update(&mut s, soon, Msg::Key(Key::char('c')));
    assert!(acts(&effects).is_empty());
    assert!(notice(&s).contains("look"));
    let effects = update(&mut s, soon, Msg::Key(Key::char('c')));
    assert_eq!(acts(&effects).len(), 1);
}

#[test]
fn changed_rows_are_refreshed_in_their_place() {
    let mut s = ready();
    press(&mut s, "j");
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(5)], overflow: false, others: false });
    assert!(effects.contains(&Effect::Refresh(vec![AlertId(5)])));
    let mut changed = rows()[4].clone();
    changed.status = Status::Closed;
    update(&mut s, now(), Msg::Refreshed(Ok(vec![changed])));
    assert_eq!(s.queue.index_of(AlertId(5)), Some(4));
    assert!(s.queue.gone.contains(&AlertId(5)));
}

#[test]
fn paused_means_paused() {
    let mut s = ready();
    press(&mut s, "P");
    assert_eq!(s.live, Live::Paused);
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(1)], overflow: true, others: false });
    assert!(effects.is_empty(), "{effects:?}");
    let effects = press(&mut s, "P");
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { .. })));
}

#[test]
fn old_answers_are_dropped() {
    let mut s = ready();
    let old = s.queue.generation;
    press(&mut s, "g");
    update(&mut s, now(), Msg::Rows { generation: old, page: Page::First, limit: 120, result: Ok((vec![], 0)) });
    assert_eq!(s.queue.rows.len(), 8);
}

#[test]
fn the_window_grows_at_its_edges_and_forgets_its_far_end() {
    let mut s = ready();
    let many: Vec<AlertRow> = (0..120).map(|i| row(1000 + i, "x", Severity::Low, 10)).collect();
    let generation = s.queue.generation;
    update(&mut s, now(), Msg::Rows { generation, page: Page::First, limit: 120, result: Ok((many, 0)) });
    let mut next = 1120;
    let mut pages = 0;
    for _ in 0..600 {
        for e in press(&mut s, "pagedown") {
            if let Effect::Rows { generation, page: page @ Page::After(after), limit, .. } = e {
                pages += 1;
                assert_eq!(after, s.queue.rows.last().unwrap().id);
                let more: Vec<AlertRow> = (next..next + 120).map(|i| row(i, "x", Severity::Low, 10)).collect();
                next += 120;
                update(&mut s, now(), Msg::Rows { generation, page, limit, result: Ok((more, 0)) });
            }
        }
    }
    assert!(pages > 10);
    assert!(s.queue.rows.len() <= super::super::super::state::queue::WINDOW + super::super::super::state::queue::PAGE);
    assert!(!s.queue.at_top && s.queue.base > 0);
    assert!(s.queue.cursor_index().is_some());
}

#[test]
fn after_closing_one_stands_on_the_next_at_the_same_line() {
    let mut s = ready();
    press(&mut s, "j j x");
    assert!(matches!(s.overlays.last(), Some(Overlay::Form(_))));
    type_text(&mut s, "f");
    type_text(&mut s, "scanner");
    let effects = press(&mut s, "enter");
    let sent = acts(&effects);
    assert_eq!(sent.len(), 1);
    assert!(matches!(sent[0].0, Act::Close { disposition: Disposition::FalsePositive, comment: None, .. }));
    assert_eq!(sent[0].1, [AlertId(3)]);
    let act = sent[0].0.clone();
    let effects = update(&mut s, now(), Msg::Acted { act, result: Ok(report(&[3])) });
    assert!(s.overlays.is_empty(), "the form is gone once the desk has answered");
    assert_eq!(s.queue.cursor, Some(AlertId(4)));
    let Some(Effect::Rows { generation, page, limit, .. }) = effects.iter().find(|e| matches!(e, Effect::Rows { .. }))
    else {
        panic!("{effects:?}")
    };
    let left: Vec<AlertRow> = rows().into_iter().filter(|r| r.id.0 != 3).collect();
    update(&mut s, now(), Msg::Rows { generation: *generation, page: *page, limit: *limit, result: Ok((left, 0)) });
    assert_eq!(s.queue.cursor, Some(AlertId(4)));
    assert_eq!(s.queue.cursor_index().unwrap() - s.queue.scroll, 2, "the same line of the screen");
    assert!(notice(&s).contains("closed as false positive") && notice(&s).contains("takes it back"));
}

#[test]
fn a_refused_form_keeps_its_text() {
    let mut s = ready();
    press(&mut s, "j x");
    type_text(&mut s, "tmy reason");
    let effects = press(&mut s, "enter");
    let act = acts(&effects)[0].0.clone();
    update(&mut s, now(), Msg::Acted { act, result: Err(say!("the store is busy")) });
    match s.overlays.last() {
        Some(Overlay::Form(f)) => {
            assert_eq!(f.text_of("reason"), "my reason");
            assert!(f.busy.is_none() && f.error.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_form_says_what_is_missing() {
    let mut s = ready();
    press(&mut s, "x ctrl-s");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert!(f.error.as_ref().unwrap().as_str().contains("disposition")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_claimer_is_told_who_has_it() {
    let mut s = ready();
    press(&mut s, "c");
    let bob = PersonId::new("bob").unwrap();
    let refused = vec![Refused { id: AlertId(1), why: Refusal::HeldBy { person: bob, since: ago(60) } }];
    update(&mut s, now(), Msg::Acted { act: Act::Claim, result: Ok(ActReport { refused, ..ActReport::default() }) });
    assert!(notice(&s).contains("with bob since 08:59"), "{}", notice(&s));
}

#[test]
fn marks_are_what_acts_reach() {
    let mut s = ready();
    press(&mut s, "space space");
    assert_eq!(s.queue.marks.len(), 2);
    let effects = press(&mut s, "c");
    assert_eq!(acts(&effects)[0].1, [AlertId(1), AlertId(2)]);
    press(&mut s, "esc");
    assert!(s.queue.marks.is_empty());
    let generation = s.queue.generation;
    update(&mut s, now(), Msg::AllIds { generation, result: Ok(((1..=8).map(AlertId).collect(), true)) });
    assert_eq!(s.queue.marks.len(), 8);
    assert!(notice(&s).contains("of more"));
}

#[test]
fn undo_goes_to_where_it_happened() {
    let mut s = ready();
    let effects = press(&mut s, "u");
    assert!(effects.iter().any(|e| matches!(e, Effect::Undo { .. })));
    let effects = update(&mut s, now(), Msg::Undone(Ok(("close".into(), report(&[42])))));
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { page: Page::Around(AlertId(42)), .. })), "{effects:?}");
}

#[test]
fn the_filter_shows_faults_while_typing_and_keeps_a_history() {
    let mut s = ready();
    press(&mut s, "/ ctrl-u");
    let effects = type_text(&mut s, "sev>=hi");
    assert!(matches!(effects.last(), Some(Effect::Parse { apply: false, text }) if text == "sev>=hi"));
    let fault = QueryError { column: 6, len: 2, message: "expected high".into() };
    update(&mut s, now(), Msg::Parsed { text: "sev>=hi".into(), apply: false, result: Err(fault.clone()) });
    press(&mut s, "enter");
    update(&mut s, now(), Msg::Parsed { text: "sev>=hi".into(), apply: true, result: Err(fault) });
    assert!(matches!(s.overlays.last(), Some(Overlay::Filter(_))), "a filter that cannot be read stays open");
    type_text(&mut s, "gh");
    press(&mut s, "enter");
    update(&mut s, now(), Msg::Parsed { text: "sev>=high".into(), apply: true, result: Ok(Query::All) });
    assert!(s.overlays.is_empty());
    assert_eq!(s.queue.text, "sev>=high");
    press(&mut s, "/ up");
    match s.overlays.last() {
        Some(Overlay::Filter(f)) => assert_eq!(f.input.text(), "sev>=high"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_letters_in_a_text_field_are_text() {
    let mut s = ready();
    press(&mut s, "n");
    type_text(&mut s, "q?:/jkgG1");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert_eq!(f.text_of("note"), "q?:/jkgG1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paste_goes_to_the_focused_text_only() {
    let mut s = ready();
    let effects = update(&mut s, now(), Msg::Paste("c\nx\n".into()));
    assert!(effects.is_empty() && s.overlays.is_empty());
    press(&mut s, "n");
    update(&mut s, now(), Msg::Paste(HOSTILE.into()));
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert!(!f.text_of("note").contains(['\u{1b}', '\u{202e}'])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn read_only_takes_danger_away() {
    let mut s = ready();
    s.read_only = true;
    for keys in ["c", "x", "z", "p", "u", "t", "s"] {
        let effects = press(&mut s, keys);
        assert!(s.overlays.is_empty() && effects.is_empty(), "{keys}: {effects:?}");
        assert!(notice(&s).contains("read-only"), "{keys}: {}", notice(&s));
    }
    press(&mut s, ":");
    match s.overlays.last() {
        Some(Overlay::Picker(p)) => {
            assert!(
                !p.items.iter().any(|i| matches!(i.pick, super::super::super::state::overlay::Pick::Run(Do::Close)))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn someone_outside_the_roster_reads_only() {
    let mut s = ready();
    s.me = None;
    assert!(press(&mut s, "c").is_empty());
    assert!(notice(&s).contains("roster"));
    s.me = Some(person("eve", "Eve", Role::Auditor));
    assert!(press(&mut s, "c").is_empty());
    assert!(notice(&s).contains("auditor"));
}

#[test]
fn every_action_is_total() {
    // Whatever the state, no action panics; most panes, sizes and emptinesses.
    for size in [(80, 24), (20, 5)] {
        for filled in [true, false] {
            for tab in Tab::ALL {
                for act in Do::ALL {
                    let mut s =
                        if filled { loaded(size, look("dark", false)) } else { bare(size, look("dark", false)) };
                    s.tab = tab;
                    let mut out = Vec::new();
                    super::super::keys::run(&mut s, *act, &mut out);
                    update(&mut s, now(), Msg::Tick);
                    let _ = super::super::super::shot::buffer(&s);
                    for keys in ["down", "enter", "x", "ctrl-s", "esc", "esc"] {
                        press(&mut s, keys);
                    }
                    let _ = super::super::super::shot::buffer(&s);
                }
            }
        }
    }
}

#[test]
fn one_detail_is_loaded_at_a_time_and_the_newest_wish_wins() {
    let mut s = ready();
    let effects = press(&mut s, "j j j");
    let loads: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Detail(_))).collect();
    assert_eq!(loads, [&Effect::Detail(AlertId(2))]);
    let effects = update(&mut s, now(), Msg::Detail { id: AlertId(2), result: Ok(Some(Box::new(detail(2)))) });
    assert!(effects.contains(&Effect::Detail(AlertId(4))), "{effects:?}");
}

#[test]
fn what_changes_while_it_is_loaded_is_loaded_again() {
    let mut s = ready();
    let changed = || Msg::Changed { alerts: vec![AlertId(1)], overflow: false, others: false };
    let loads = |effects: &[Effect]| effects.iter().filter(|e| **e == Effect::Detail(AlertId(1))).count();
    let answer = || Msg::Detail { id: AlertId(1), result: Ok(Some(Box::new(detail(1)))) };
    assert_eq!(loads(&update(&mut s, now(), changed())), 1);
    // It changes again, and what answers was read before that.
    for _ in 0..3 {
        assert_eq!(loads(&update(&mut s, now(), changed())), 0, "one at a time");
    }
    assert_eq!(loads(&update(&mut s, now(), answer())), 1, "once more, however often it changed");
    assert_eq!(loads(&update(&mut s, now(), answer())), 0);
    assert!(s.detail.loading.is_none());
}

#[test]
fn where_an_alert_opens_does_not_depend_on_when_it_was_loaded() {
    let load = |s: &mut State| {
        update(s, now(), Msg::Detail { id: AlertId(2), result: Ok(Some(Box::new(detail(2)))) });
    };
    // Asked for in the list, opened, and only then loaded: from its top, as if it had been there before.
    let mut s = ready();
    press(&mut s, "j t enter");
    load(&mut s);
    assert_eq!((s.full, s.detail.scroll), (true, 0));
    // The key that leads to the opinion, pressed before there is one to be seen.
    let mut early = ready();
    press(&mut early, "j enter o");
    load(&mut early);
    let seen = |s: &State| s.detail.scroll..s.detail.scroll + super::super::super::layout::detail_rows(s);
    assert!(early.full && seen(&early).contains(&early.detail.gap), "{:?} {}", seen(&early), early.detail.gap);
    let mut late = ready();
    press(&mut late, "j enter");
    load(&mut late);
    assert!(!seen(&late).contains(&late.detail.gap), "it is not to be seen by itself");
}

#[test]
fn a_row_read_before_the_one_on_screen_does_not_take_its_place() {
    let mut s = ready();
    let new = AlertRow { rev: 9, status: Status::Claimed, ..s.queue.rows[0].clone() };
    let old = AlertRow { rev: 8, ..s.queue.rows[0].clone() };
    update(&mut s, now(), Msg::Refreshed(Ok(vec![new])));
    update(&mut s, now(), Msg::Refreshed(Ok(vec![old])));
    assert_eq!((s.queue.rows[0].rev, s.queue.rows[0].status), (9, Status::Claimed));
}

#[test]
fn a_store_that_does_not_answer_is_stale_and_comes_back() {
    let mut s = ready();
    update(&mut s, now(), Msg::Link(Err(say!("disk gone"))));
    let later = now().checked_add(SignedDuration::from_secs(30)).unwrap();
    update(&mut s, later, Msg::Link(Err(say!("disk gone"))));
    assert!(matches!(&s.live, Live::Stale { since, .. } if *since == now()));
    update(&mut s, later, Msg::Link(Ok(())));
    assert_eq!(s.live, Live::Live);
}

#[test]
fn snooze_and_priority_send_one_act_each() {
    let mut s = ready();
    press(&mut s, "z");
    type_text(&mut s, "4");
    let effects = press(&mut s, "enter");
    assert!(
        matches!(acts(&effects)[0].0, Act::Snooze { until, .. } if until.as_second() - s.now.as_second() <= 4 * 3600)
    );
    let mut s = ready();
    press(&mut s, "!");
    type_text(&mut s, "0");
    type_text(&mut s, "crown jewels");
    let effects = press(&mut s, "enter");
    assert!(matches!(acts(&effects)[0].0, Act::Prioritise { to: Priority::P0, .. }));
}

#[test]
fn proposing_takes_targets_from_the_alert() {
    let mut s = ready();
    press(&mut s, "p enter");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert_eq!(f.text_of("targets"), "fin-ws-014"),
        other => panic!("{other:?}"),
    }
    type_text(&mut s, "spreads");
    let effects = press(&mut s, "enter");
    match effects.last() {
        Some(Effect::Propose { draft, .. }) => {
            assert_eq!(draft.action, "isolate-host");
            assert_eq!(draft.targets, ["fin-ws-014"]);
            assert_eq!(draft.alerts, [AlertId(1)]);
        }
        other => panic!("{other:?}"),
    }
    let made = Box::new(request("R9", Tier::T2, RequestState::Pending));
    update(&mut s, now(), Msg::Proposed(Ok(made)));
    assert!(matches!(s.overlays.as_slice(), [Overlay::Decide(_)]));
}

#[test]
fn of_two_filters_the_last_that_was_typed_holds() {
    let mut s = ready();
    let typed = |s: &mut State, text: &str| {
        press(s, "/ ctrl-u");
        type_text(s, text);
        press(s, "enter")
    };
    let first = typed(&mut s, "sev:high");
    let second = typed(&mut s, "sev:low");
    let asks =
        |out: &[Effect], of: &str| out.iter().any(|e| matches!(e, Effect::Parse { text, apply: true } if text == of));
    assert!(asks(&first, "sev:high") && asks(&second, "sev:low"), "{first:?} {second:?}");
    for text in ["sev:low", "sev:high"] {
        let result = Ok(Query::All);
        update(&mut s, now(), Msg::Parsed { text: text.into(), apply: true, result });
    }
    assert_eq!(s.queue.text, "sev:low", "the answer to the first came late");
}
