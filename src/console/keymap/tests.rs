use super::*;

#[test]
fn every_bundled_keymap_loads() {
    for (name, _) in BUNDLED {
        let map = Keymap::load(name, &[]).unwrap_or_else(|e| panic!("{e}"));
        for must in [Do::Quit, Do::Help, Do::Palette, Do::Claim, Do::Close, Do::Undo, Do::Back, Do::FormSubmit] {
            assert!(map.all().any(|(_, _, a)| a == must), "{name} lacks {}", must.word());
        }
    }
}

#[test]
fn keys_read_and_write_the_same() {
    for text in ["ctrl-x", "alt-enter", "shift-tab", "space", "f5", "?", "G", "-", "ctrl--", "pagedown", "esc"] {
        let key = parse_key(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(key.to_string(), text);
    }
    assert_eq!(parse_key("C-x"), parse_key("ctrl-x"));
    assert_eq!(parse_key("M-x"), parse_key("alt-x"));
    assert_eq!(parse_key("shift-g"), parse_key("G"));
    for bad in ["", "ctrl-", "xy", "f99", "\u{1b}"] {
        assert!(parse_chord(bad).is_none() || bad == "f99" || bad == "ctrl-", "{bad:?}");
    }
}

fn load(toml: &str) -> Result<Keymap, String> {
    Keymap::load("mine", &[("mine".into(), toml.into())]).map_err(|e| e.to_string())
}

#[test]
fn faults_name_both_sides() {
    let e = load("[queue]\n\"ctrl-a\" = \"claim\"\n\"C-a\" = \"close\"\n").unwrap_err();
    assert!(e.contains("ctrl-a") && e.contains("C-a"), "{e}");
    let e = load("[queue]\n\"g\" = \"claim\"\n\"g g\" = \"close\"\n").unwrap_err();
    assert!(e.contains("claim") && e.contains("close"), "{e}");
    let e = load("[queue]\n\"a\" = \"clam\"\n").unwrap_err();
    assert!(e.contains("clam") && e.contains("\"claim\""), "{e}");
    assert!(load("[kitchen]\n").unwrap_err().contains("no such scope"));
    assert!(load("[queue]\n\"notakey\" = \"claim\"\n").unwrap_err().contains("no such key"));
    assert!(load("inherits = \"mine\"\n").unwrap_err().contains("itself"));
}

#[test]
fn chords_wait_for_their_end() {
    let map = load("[queue]\n\"g g\" = \"top\"\n\"g e\" = \"bottom\"\n[global]\n\"q\" = \"quit\"\n").unwrap();
    let scopes = [Scope::Queue, Scope::Global];
    let g = Key::char('g');
    match map.look_up(&scopes, &[g]) {
        Lookup::Pending(next) => assert_eq!(next.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(map.look_up(&scopes, &[g, g]), Lookup::Found(Do::Top));
    assert_eq!(map.look_up(&scopes, &[Key::char('q')]), Lookup::Found(Do::Quit));
    assert_eq!(map.look_up(&scopes, &[g, Key::char('z')]), Lookup::Nothing);
}

#[test]
fn own_keys_override_inherited_ones() {
    let map = load("inherits = \"default\"\n[alert]\n\"c\" = \"close\"\n\"x\" = \"none\"\n").unwrap();
    assert_eq!(map.look_up(&[Scope::Alert], &[Key::char('c')]), Lookup::Found(Do::Close));
    assert_eq!(map.look_up(&[Scope::Alert], &[Key::char('x')]), Lookup::Nothing);
}

#[test]
fn releases_and_repeats_are_ignored() {
    let mut e = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::empty());
    assert!(Key::from_event(&e).is_some());
    e.kind = KeyEventKind::Repeat;
    assert!(Key::from_event(&e).is_none());
    e.kind = KeyEventKind::Release;
    assert!(Key::from_event(&e).is_none());
}
