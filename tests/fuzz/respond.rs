//! What those we speak to answer, and what the catalogue says of hosts.

use bolero::check;
use watchfloor::respond::cab;
use watchfloor::respond::execute::ssh;
use watchfloor::respond::retry_after;

use super::Mutant;

fn text(mutant: &Mutant, sample: &str) -> String {
    String::from_utf8_lossy(&mutant.changed(sample)).into_owned()
}

#[test]
fn answers_of_a_change_board() {
    check!().with_iterations(2000).with_type::<Mutant>().for_each(|m| {
        let text = text(m, r#"{"ticket":"CHG0042","state":"pending","reason":"why"}"#);
        if let Ok(a) = cab::read(&text) {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            assert!(!a.ticket.is_empty() && a.ticket.len() <= 64 && a.ticket.bytes().all(good));
        }
    });
}

#[test]
fn waits_a_server_asks_for() {
    let now = "1994-11-06T08:49:30Z".parse().expect("a time");
    check!().with_iterations(2000).with_type::<Mutant>().for_each(|m| {
        for sample in ["120", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            let _ = retry_after(&text(m, sample), now);
        }
    });
}

#[test]
fn hosts_of_a_catalogue() {
    check!().with_iterations(2000).with_type::<Mutant>().for_each(|m| {
        for sample in ["web01", "db01=10.0.3.7:2222", "six=[::1]:22"] {
            let text = text(m, sample);
            if let Ok(h) = ssh::Host::parse(&text, 22) {
                // Neither can be read as an option, or as anything else.
                let good = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:%".contains(&b));
                assert!(
                    good(h.name) && good(h.address) && !h.name.starts_with('-') && !h.address.starts_with('-'),
                    "{text:?}"
                );
            }
        }
    });
}
