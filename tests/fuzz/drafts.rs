//! What a model answers when it is asked for a playbook: any bytes at all are read or refused, and whatever is made of
//! them can be checked, written in the short form, and read again as the same document.

use bolero::check;
use watchfloor::playbook::draft;
use watchfloor::playbook::draft::Origin;
use watchfloor::playbook::draft::Scope;
use watchfloor::playbook::draft::answer;
use watchfloor::playbook::short;

use super::Mutant;

const ANSWER: &str = r#"{"title":"Look into it","summary":"Find out what ran.","steps":[{"kind":"do","name":"Read the record","phase":"analyze","text":"Read the alert.","action":"none","targets":[],"only_if":"always"},{"kind":"ask","name":"Is it ours?","phase":"analyze","text":"Is it a known tool?","only_if":"always"},{"kind":"act","name":"Isolate","phase":"contain","text":"Propose it.","action":"isolate-host","targets":["fin-ws-014","10.0.0.1"],"only_if":"no"},{"kind":"do","name":"Thank them","phase":"improve","text":"Thank the owner.","only_if":"yes"}]}"#;

#[test]
fn an_answer_of_a_model() {
    let scope = Scope::default();
    let from =
        Origin { key: "draft-1".into(), at: jiff::Timestamp::UNIX_EPOCH, model: "m".into(), prompt: "ab".repeat(32) };
    let mut read = 0_u64;
    check!().with_iterations(2000).with_type::<Mutant>().for_each(|m| {
        let text = String::from_utf8_lossy(&m.changed(ANSWER)).into_owned();
        let Ok(sketch) = answer::read(&text) else { return };
        // What cannot be a document is said so; what can goes all the way.
        let Ok(doc) = draft::expand(&sketch, &scope, &from) else { return };
        read += 1;
        let _ = draft::review(&doc, &scope, &|_| false);
        assert!(doc.view("d").generated.is_some(), "the mark is there");
        let toml = short::to_toml(&doc).expect("it can be written");
        let again = short::from_toml(std::path::Path::new("d.toml"), &toml).expect("and read again");
        assert_eq!(again.hash(), doc.hash());
    });
    assert!(read > 0, "no input got past the reader");
}
