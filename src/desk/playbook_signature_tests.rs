#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "it runs the real ssh-keygen, and says what it skips"
)]

use std::process::Command;
use std::process::Stdio;

use super::*;
use crate::desk::playbook::load;

/// Keys and signatures are those of the real OpenSSH. `None`, said aloud, where it is not installed.
fn keygen(dir: &Path, args: &[&str]) -> Option<()> {
    let out = Command::new("ssh-keygen").current_dir(dir).args(args).stdin(Stdio::null()).output();
    match out {
        Err(_) => {
            println!("skipped: ssh-keygen is not installed");
            None
        }
        Ok(out) => {
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
            Some(())
        }
    }
}

const SPACE: &str = "playbook-v1@soc.example";

#[test]
fn a_signature_says_who_or_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for key in ["alice", "mallory"] {
        if keygen(at, &["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", key]).is_none() {
            return;
        }
    }
    let file = at.join("lost-laptop.toml");
    let text = "key = \"lost-laptop\"\ntitle = \"Lost laptop\"\ncreated = \"2026-01-31T09:00:00.000Z\"\n\n[[steps]]\n\
                key = \"lock\"\ndo = \"Lock it.\"\n";
    std::fs::write(&file, text).unwrap();
    let hash = load(&file).unwrap().hash().to_owned();
    let public = std::fs::read_to_string(at.join("alice.pub")).unwrap();
    std::fs::write(at.join("allowed"), format!("alice namespaces=\"{SPACE}\" {public}")).unwrap();
    let now = Timestamp::now();
    let vouch = |allowed: Option<&str>, revoked: Option<&str>| Vouch {
        signers: SignerFiles {
            organisation: "soc.example".into(),
            desk: "d".into(),
            allowed: allowed.map(|a| at.join(a)),
            revoked: revoked.map(|r| at.join(r)),
        },
    };
    let all = vouch(Some("allowed"), None);
    assert_eq!(all.namespace(), SPACE);
    assert_eq!(all.of_file(&file, &hash, now), Signature::Unsigned);
    let sign = |key: &str, space: &str| {
        let _ = std::fs::remove_file(at.join("lost-laptop.toml.sig"));
        keygen(at, &["-q", "-Y", "sign", "-n", space, "-f", key, "lost-laptop.toml"]).unwrap();
    };
    let bad = |v: &Vouch, why: &str| match v.of_file(&file, &hash, now) {
        Signature::Bad { why: e } => assert!(e.contains(why), "{e}"),
        other => panic!("{why}: {other:?}"),
    };
    sign("alice", SPACE);
    let Signature::Good { by, key } = all.of_file(&file, &hash, now) else { panic!("not good") };
    assert!(by == "alice" && key.starts_with("SHA256:"));
    assert_eq!(vouch(None, None).of_file(&file, &hash, now), Signature::Unknown { key });
    std::fs::write(at.join("revoked"), &public).unwrap();
    bad(&vouch(Some("allowed"), Some("revoked")), "revoked");
    bad(&vouch(Some("gone"), None), "cannot be read");
    // The file, the key, the purpose and the signature itself.
    std::fs::write(&file, text.replace("Lock it.", "Wipe it.")).unwrap();
    let other = load(&file).unwrap().hash().to_owned();
    assert!(matches!(all.of_file(&file, &other, now), Signature::Bad { why: e } if e.contains("does not fit")));
    bad(&all, "changed while");
    std::fs::write(&file, text).unwrap();
    sign("mallory", SPACE);
    bad(&all, "nobody's in the file of allowed signers");
    sign("alice", "approve-v1@soc.example");
    bad(&all, "signed for");
    std::fs::write(at.join("lost-laptop.toml.sig"), "no signature").unwrap();
    bad(&all, "a signature begins with");
}
