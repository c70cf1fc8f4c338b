use super::*;

/// The smallest file that is a model: a header with nothing in it.
const EMPTY: &[u8] = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn registry(dir: &Path) -> Registry {
    Registry::new(&LocalSettings { dir: Some(dir.to_owned()), ..LocalSettings::default() }, Path::new("/nowhere"))
}

#[test]
fn names_are_safe_file_names() {
    for good in ["a", "qwen3-8b", "granite-3.3-8b", "A_b.C-1", &"x".repeat(96)] {
        assert!(good_name(good), "{good}");
    }
    let long = "x".repeat(97);
    for bad in
        ["", ".", "..", "../x", "a/b", "-x", ".x", "_x", "a.", "a b", "a\u{1b}[2J", "a\n", "\u{e9}", "x.gguf", &long]
    {
        assert!(!good_name(bad), "{bad:?}");
        assert!(matches!(registry(Path::new("/nowhere")).get(&format!("{bad}\0")), Err(ModelError::Usage(_))));
    }
}

#[test]
fn a_folder_that_is_not_there_holds_nothing() {
    let none = registry(Path::new("/nowhere/at/all"));
    assert_eq!((none.list().unwrap(), none.current()), (Vec::new(), None));
    let e = none.get("x").unwrap_err();
    assert!(e.to_string().contains("none yet"), "{e}");
    let other = Registry::new(&LocalSettings::default(), Path::new("/data"));
    assert_eq!(other.dir(), Path::new("/data/models"));
}

#[test]
fn what_is_no_model_is_listed_as_such_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("good.gguf", EMPTY), ("bad.gguf", b"<html>".as_slice()), ("good.toml", b"x = "), ("n.txt", b"")]
    {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    fs::create_dir(dir.path().join("folder.gguf")).unwrap();
    let r = registry(dir.path());
    let list = r.list().unwrap();
    assert_eq!(list.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["bad", "good"]);
    assert!(list[0].header.as_ref().unwrap_err().contains("no GGUF file"));
    assert_eq!(list[0].fit, Fit::Unknown, "unknown is not fit");
    assert!(list[1].entry.as_ref().unwrap_err().contains("good.toml:1"), "{:?}", list[1].entry);
    assert!(r.choose("bad", true).is_err());
    assert_eq!(r.choose("good", true).unwrap().name, "good");
}

#[test]
fn the_one_in_use_is_not_removed_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let r = registry(dir.path());
    fs::write(dir.path().join("a.gguf"), EMPTY).unwrap();
    fs::write(dir.path().join("b.gguf"), EMPTY).unwrap();
    assert!(r.choose("a.gguf", true).unwrap().current);
    assert_eq!(fs::read_to_string(dir.path().join(CURRENT)).unwrap(), "a\n");
    assert!(matches!(r.remove("a", false), Err(ModelError::Refused(_))));
    r.remove("b", false).unwrap();
    assert!(matches!(r.remove("b", false), Err(ModelError::No(_))));
    fs::write(dir.path().join("a.gguf.part"), "x").unwrap();
    r.remove("a", true).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left, `current` included");
}

#[test]
fn the_settings_beat_what_was_chosen() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(format!("{name}.gguf")), EMPTY).unwrap();
    }
    registry(dir.path()).choose("a", true).unwrap();
    let with = |model: &str| {
        let s = LocalSettings { dir: Some(dir.path().to_owned()), model: model.into(), ..LocalSettings::default() };
        let list = Registry::new(&s, Path::new("/nowhere")).list().unwrap();
        list.into_iter().filter(|m| m.current).map(|m| m.name).collect::<Vec<_>>()
    };
    assert_eq!(with(""), ["a"]);
    assert_eq!(with("b"), ["b"]);
    assert_eq!(with(dir.path().join("b.gguf").to_str().unwrap()), ["b"]);
    assert!(with("/elsewhere/x.gguf").is_empty());
    fs::write(dir.path().join(CURRENT), "../../etc/passwd\n").unwrap();
    assert_eq!(registry(dir.path()).current(), None, "a name is not a way out of the folder");
}

#[test]
fn one_process_at_a_time_has_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let r = registry(dir.path());
    let held = Part::open(&r, "a").unwrap();
    assert!(matches!(Part::open(&r, "a"), Err(ModelError::Refused(_))));
    Part::open(&r, "b").unwrap();
    // It becomes the model while another waits: that one gets a file of its own.
    fs::rename(&held.path, r.file("a")).unwrap();
    let next = Part::open(&r, "a").unwrap();
    assert!(next.path.exists());
    assert_eq!(fs::metadata(r.file("a")).unwrap().len(), 0);
}

#[test]
fn a_record_is_read_back_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let r = registry(dir.path());
    fs::write(dir.path().join("a.gguf"), EMPTY).unwrap();
    let entry = Entry {
        source: "https://h.example/a.gguf".into(),
        sha256: "0".repeat(64).parse().unwrap(),
        pinned: Pin::Hub,
        bytes: 24,
        licence: Some("apache-2.0\n[x]\u{1b}".into()),
        architecture: None,
        parameters: Some(u64::MAX / 4),
        quantisation: Some("Q4_K_M".into()),
        context_length: Some(4096),
        added_at: Timestamp::UNIX_EPOCH,
    };
    r.write_entry("a", &entry).unwrap();
    let m = r.get("a").unwrap();
    assert_eq!(m.entry.as_ref().unwrap().as_ref(), Some(&entry));
    assert_eq!(m.licence(), entry.licence.as_ref());
    assert_ne!(r.digest("a", &mut |_| {}).unwrap(), entry.sha256);
}
