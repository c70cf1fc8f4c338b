//! Signed approvals: `ssh-keygen` and we agree both ways, nothing forged or replayed counts, and what was signed is
//! checked again before it runs. Keys, signatures and agents are those of the real OpenSSH.

use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use signature::Signer as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{KeyData, SkEd25519};
use ssh_key::{Algorithm, PrivateKey, PublicKey, Signature};
use watchfloor::model::action::{Means, RequestBody, Signed};
use watchfloor::model::audit::Head;
use watchfloor::respond::sign::agent;
use watchfloor::respond::sign::allowed::AllowedSigners;
use watchfloor::respond::sign::revoked::Revoked;
use watchfloor::respond::sign::sshsig::Sshsig;
use watchfloor::respond::sign::{Decision, Signers, Statement, Where};

use super::*;

const NAMESPACE: &str = "approve-v1@soc.example";

/// `ssh-keygen` is there.
pub fn has_openssh() -> bool {
    let there = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !there {
        println!("skipped: ssh-keygen is not installed");
    }
    there
}

pub fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Makes a key pair `dir/name`, `dir/name.pub`; gives the public line without its comment.
pub fn keygen(dir: &Path, name: &str, kind: &[&str]) -> String {
    let file = dir.join(name);
    run(Command::new("ssh-keygen").args(["-q", "-N", "", "-C", name, "-t"]).args(kind).arg("-f").arg(&file));
    public(&file)
}

fn public(file: &Path) -> String {
    let line = fs::read_to_string(file.with_extension("pub")).unwrap();
    line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Signs as a person would by hand.
fn by_hand(dir: &Path, key: &str, namespace: &str, text: &str) -> String {
    let file = dir.join("message");
    fs::write(&file, text).unwrap();
    let _ = fs::remove_file(dir.join("message.sig"));
    run(Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(dir.join(key)).arg(&file));
    fs::read_to_string(dir.join("message.sig")).unwrap()
}

/// What `ssh-keygen -Y verify` says.
fn openssh_agrees(dir: &Path, who: &str, namespace: &str, message: &[u8], signature: &str) -> bool {
    fs::write(dir.join("given.sig"), signature).unwrap();
    fs::write(dir.join("given"), message).unwrap();
    Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", who, "-n", namespace, "-f"])
        .arg(dir.join("allowed_signers"))
        .arg("-s")
        .arg(dir.join("given.sig"))
        .stdin(fs::File::open(dir.join("given")).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// A real agent with these keys; gone when dropped.
pub struct Agent {
    pub socket: PathBuf,
    child: Child,
}

impl Agent {
    pub fn start(dir: &Path, keys: &[&str]) -> Self {
        let socket = dir.join("agent.sock");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { socket, child };
        let start = std::time::Instant::now();
        // The socket is there a moment before it can be connected to.
        while std::os::unix::net::UnixStream::connect(&agent.socket).is_err() {
            assert!(start.elapsed() < std::time::Duration::from_secs(150), "no agent at {}", agent.socket.display());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for key in keys {
            run(Command::new("ssh-add").arg("-q").arg(dir.join(key)).env("SSH_AUTH_SOCK", &agent.socket));
        }
        agent
    }

    fn sign(&self, key: &str, namespace: &str, message: &[u8]) -> Result<String, String> {
        let keys = agent::keys(&self.socket).unwrap();
        let want: KeyData = PublicKey::from_openssh(key).unwrap().key_data().clone();
        let with = keys.iter().find(|k| k.key == want && k.certificate.is_none()).unwrap();
        agent::sign(&self.socket, with, namespace, message)?.armour()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let n = self.below(300);
        (0..n).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn a_thousand_messages_and_openssh_agrees_both_ways() {
    if !has_openssh() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let kinds: [(&str, &[&str]); 4] = [
        ("ed", &["ed25519"]),
        ("p256", &["ecdsa", "-b", "256"]),
        ("p384", &["ecdsa", "-b", "384"]),
        ("rsa", &["rsa", "-b", "3072"]),
    ];
    let keys: Vec<String> = kinds.iter().map(|(name, kind)| keygen(d, name, kind)).collect();
    let lines: String = keys.iter().map(|k| format!("alice namespaces=\"{NAMESPACE}\" {k}\n")).collect();
    fs::write(d.join("allowed_signers"), &lines).unwrap();
    let allowed = AllowedSigners::parse(Path::new("a"), &lines).unwrap();
    let agent = Agent::start(d, &["ed", "p256", "p384", "rsa"]);
    let mut random = Random(0x5eed_0001);
    let messages: Vec<Vec<u8>> = (0..1000).map(|_| random.bytes()).collect();

    // Theirs, checked here. One process signs many files.
    for (i, (name, _)) in kinds.iter().enumerate() {
        let mine: Vec<usize> = (0..messages.len()).filter(|n| n % kinds.len() == i).collect();
        let files: Vec<PathBuf> = mine.iter().map(|n| d.join(format!("m{n}"))).collect();
        mine.iter().zip(&files).for_each(|(n, f)| fs::write(f, &messages[*n]).unwrap());
        run(Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(d.join(name))
            .args(&files));
        for (n, f) in mine.iter().zip(&files) {
            let sig = Sshsig::parse(&fs::read_to_string(f.with_extension("sig")).unwrap()).unwrap();
            sig.check(NAMESPACE, &messages[*n]).unwrap();
            allowed.allows("alice", &sig, NAMESPACE, now()).unwrap();
            let mut other = messages[*n].clone();
            other.push(b'!');
            assert!(sig.check(NAMESPACE, &other).is_err());
            assert!(sig.check("drill-v1@soc.example", &messages[*n]).is_err());
        }
    }
    // Ours, through the agent, checked by them.
    for (n, message) in messages.iter().enumerate() {
        let ours = agent.sign(&keys[n % keys.len()], NAMESPACE, message).unwrap();
        assert!(openssh_agrees(d, "alice", NAMESPACE, message, &ours), "message {n}");
        if n % 50 == 0 {
            assert!(!openssh_agrees(d, "alice", NAMESPACE, b"another", &ours));
            assert!(!openssh_agrees(d, "bob", NAMESPACE, message, &ours));
        }
    }
}

/// What a security key would answer: the signature PROTOCOL.u2f describes, over the same bytes.
fn token_signs(key: &Ed25519Keypair, flags: u8, counter: u32, namespace: &str, message: &[u8]) -> (KeyData, String) {
    use sha2::{Digest as _, Sha256};
    let to_sign = Sshsig::to_sign(namespace, message).unwrap();
    let mut data = Sha256::digest(b"ssh:").to_vec();
    data.push(flags);
    data.extend(counter.to_be_bytes());
    data.extend(Sha256::digest(&to_sign));
    let inner: Signature = KeypairData::from(key.clone()).sign(&data);
    let mut raw = inner.as_bytes().to_vec();
    raw.push(flags);
    raw.extend(counter.to_be_bytes());
    let public = KeyData::from(SkEd25519::new(key.public, "ssh:"));
    let signature = Signature::new(Algorithm::SkEd25519, raw).unwrap();
    let armoured = Sshsig::made(public.clone(), None, namespace, signature).armour().unwrap();
    (public, armoured)
}

fn token(dir: &Path) -> Ed25519Keypair {
    keygen(dir, "soft", &["ed25519"]);
    let key = PrivateKey::read_openssh_file(&dir.join("soft")).unwrap();
    key.key_data().ed25519().unwrap().clone()
}

#[test]
fn flags_and_counter_of_a_security_key_are_read_as_openssh_reads_them() {
    if !has_openssh() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let key = token(d);
    for (flags, counter, presence, verification) in
        [(1, 7, true, false), (5, 4_000_000_000, true, true), (0, 1, false, false)]
    {
        let (public, armoured) = token_signs(&key, flags, counter, NAMESPACE, b"hello");
        let line = PublicKey::from(public).to_openssh().unwrap();
        fs::write(d.join("allowed_signers"), format!("alice {line}\n")).unwrap();
        let sig = Sshsig::parse(&armoured).unwrap();
        sig.check(NAMESPACE, b"hello").unwrap();
        let fido = sig.fido().unwrap();
        assert_eq!((fido.presence, fido.verification, fido.counter), (presence, verification, counter));
        assert!(openssh_agrees(d, "alice", NAMESPACE, b"hello", &armoured), "flags {flags}");
    }
}

/// A desk where bob's keys may sign, with a request that waits.
struct Case {
    dir: tempfile::TempDir,
    desk: Desk,
    request: Request,
    bob: String,
}

impl Case {
    async fn new(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        let bob = keygen(d, "bob", &["ed25519"]);
        let alice = keygen(d, "alice", &["ed25519"]);
        fs::write(d.join("allowed_signers"), format!("bob namespaces=\"approve-v1@*\" {bob}\nalice {alice}\n"))
            .unwrap();
        fs::write(d.join("revoked_keys"), "").unwrap();
        let desk = desk(d, DEMO, policy);
        let request = desk.propose(draft("isolate", &["web1"], &[])).await.unwrap();
        Self { dir, desk, request, bob }
    }

    fn statement(&self, place: Where) -> Statement {
        let r = &self.request;
        self.desk.responder.statement(&id("bob"), &r.body.id, &r.digest, None, place, now()).unwrap()
    }

    fn signed(&self, key: &str, namespace: &str, statement: &Statement) -> Signed {
        let statement = String::from_utf8(statement.bytes().unwrap()).unwrap();
        let signature = by_hand(self.dir.path(), key, namespace, &statement);
        Signed { statement, signature }
    }

    fn approve(&self, signed: Signed) -> Result<Request, RespondError> {
        self.desk.responder.approve_signed(&id("bob"), &self.request.body.id, signed, None, now())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_asked_for_recorded_and_checked_again_before_it_runs() {
    if !has_openssh() {
        return;
    }
    let c = Case::new("[tiers.T2]\nsigned = \"agent\"\n").await;
    let (d, r) = (&c.desk, &c.request);
    refused(
        d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()),
        "asks for approval by agent; this is by key press",
    );
    let signed = c.signed("bob", NAMESPACE, &c.statement(Where::Desk));
    let approved = c.approve(signed.clone()).unwrap();
    assert_eq!((approved.state, approved.approvals[0].means), (RequestState::Approved, Means::Agent));
    let record = d.audit.records(&AuditFilter::request(r.body.id.as_str()), 100).unwrap().pop().unwrap();
    assert_eq!((record.kind.as_str(), record.body["means"].as_str()), ("action.approved", Some("agent")));
    // The log alone is proof: anybody with ssh-keygen can check it.
    let (text, sig) = (record.body["signed"]["statement"].as_str(), record.body["signed"]["signature"].as_str());
    assert!(openssh_agrees(c.dir.path(), "bob", NAMESPACE, text.unwrap().as_bytes(), sig.unwrap()));
    // The key is lost between approval and start: what it approved is void.
    fs::write(c.dir.path().join("revoked_keys"), format!("{}\n", c.bob)).unwrap();
    refused(d.execute(&approved).await, "is revoked");
    assert_eq!(d.state(r), RequestState::Stale);

    let c = Case::new("[tiers.T2]\nsigned = \"agent\"\n").await;
    let approved = c.approve(c.signed("bob", NAMESPACE, &c.statement(Where::Desk))).unwrap();
    assert_eq!(c.desk.execute(&approved).await.unwrap().state, RequestState::Done);
    c.desk.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn means_are_ranked_and_a_security_key_never_counts_back() {
    if !has_openssh() {
        return;
    }
    let c = Case::new("[tiers.T2]\nsigned = \"agent touch\"\n").await;
    refused(c.approve(c.signed("bob", NAMESPACE, &c.statement(Where::Desk))), "asks for approval by agent touch");
    let key = token(c.dir.path());
    let by_token = |flags, counter| {
        let statement = c.statement(Where::Desk).bytes().unwrap();
        let (public, signature) = token_signs(&key, flags, counter, NAMESPACE, &statement);
        let line = PublicKey::from(public).to_openssh().unwrap();
        fs::write(c.dir.path().join("allowed_signers"), format!("bob {line}\nbob {}\n", c.bob)).unwrap();
        Signed { statement: String::from_utf8(statement).unwrap(), signature }
    };
    refused(c.approve(by_token(0, 9)), "this is by agent.");
    assert_eq!(c.approve(by_token(1, 10)).unwrap().approvals[0].means, Means::AgentTouch);
    // Another request, the same counter: a copy of the key.
    let again = c.desk.propose(draft("isolate", &["web2"], &[])).await.unwrap();
    let c = Case { request: again, ..c };
    let by_token = |counter| {
        let statement = c.statement(Where::Desk).bytes().unwrap();
        let (_, signature) = token_signs(&key, 1, counter, NAMESPACE, &statement);
        Signed { statement: String::from_utf8(statement).unwrap(), signature }
    };
    refused(c.approve(by_token(10)), "may have been copied");
    assert_eq!(c.approve(by_token(11)).unwrap().state, RequestState::Approved);

    let own = Case::new("[tiers.T2]\nsigned = \"own machine\"\n").await;
    refused(own.approve(own.signed("bob", NAMESPACE, &own.statement(Where::Desk))), "own machine");
    let at_home = own.signed("bob", NAMESPACE, &own.statement(Where::OwnMachine));
    assert_eq!(own.approve(at_home).unwrap().approvals[0].means, Means::OwnMachine);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_worth_too_little_sets_no_budget_aside() {
    if !has_openssh() {
        return;
    }
    let c = Case::new("[tiers.T2]\nsigned = \"agent\"\n[[budget]]\nactions = [\"isolate\"]\n").await;
    let (r, by) = (&c.request, id("carol"));
    let pressed = c.desk.responder.approve_over_budget(&by, &r.body.id, &r.digest, "the canary is fine".into(), now());
    refused(pressed, "this is by key press");
    assert_eq!(c.desk.kinds(&r.body.id), ["action.proposed"]);
    refused(c.approve(c.signed("bob", NAMESPACE, &c.statement(Where::Desk))), "nothing is read here");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_revocation_lists() {
    if !has_openssh() {
        return;
    }
    let c = Case::new("[tiers.T2]\nsigned = \"agent\"\n").await;
    let d = c.dir.path();
    let ca = keygen(d, "ca", &["ed25519"]);
    keygen(d, "laptop", &["ed25519"]);
    let certify = |principals: &str, validity: &str, serial: &str| {
        run(Command::new("ssh-keygen")
            .args(["-q", "-I", "bob@laptop", "-n", principals, "-V", validity, "-z", serial, "-s"])
            .arg(d.join("ca"))
            .arg(d.join("laptop.pub")));
    };
    fs::write(d.join("allowed_signers"), format!("bob,carol cert-authority {ca}\n")).unwrap();
    // With the certificate beside the key, ssh-keygen signs as the certificate.
    let sign = || {
        let statement = String::from_utf8(c.statement(Where::Desk).bytes().unwrap()).unwrap();
        fs::write(d.join("message"), &statement).unwrap();
        let _ = fs::remove_file(d.join("message.sig"));
        run(Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(d.join("laptop-cert.pub"))
            .arg(d.join("message")));
        Signed { statement, signature: fs::read_to_string(d.join("message.sig")).unwrap() }
    };
    certify("carol", "-1d:+1d", "1");
    refused(c.approve(sign()), "does not name bob");
    certify("bob", "-3d:-1d", "2");
    refused(c.approve(sign()), "not valid any more");
    certify("bob", "-1d:+1d", "41");
    let good = sign();
    let krl = |spec: &str| {
        fs::write(d.join("spec"), spec).unwrap();
        run(Command::new("ssh-keygen")
            .args(["-q", "-k", "-s"])
            .arg(d.join("ca.pub"))
            .arg("-f")
            .arg(d.join("revoked_keys"))
            .arg(d.join("spec")));
    };
    for spec in
        ["serial: 41\n", "serial: 40-50\n", "serial: 1\nserial: 41\nserial: 43\nserial: 77\n", "id: bob@laptop\n"]
    {
        krl(spec);
        refused(c.approve(good.clone()), "is revoked");
    }
    run(Command::new("ssh-keygen").args(["-q", "-k", "-f"]).arg(d.join("revoked_keys")).arg(d.join("laptop.pub")));
    refused(c.approve(good.clone()), "is revoked");
    let print = run(Command::new("ssh-keygen").arg("-lf").arg(d.join("laptop.pub")));
    fs::write(d.join("revoked_keys"), print.split(' ').nth(1).unwrap()).unwrap();
    refused(c.approve(good.clone()), "is revoked");
    fs::write(d.join("revoked_keys"), b"SSHKRL\n\0garbage").unwrap();
    assert!(matches!(c.approve(good.clone()), Err(RespondError::Unavailable(w)) if w.contains("cannot be used")));
    krl("serial: 42\n");
    assert_eq!(c.approve(good).unwrap().state, RequestState::Approved);
}

/// Every way to forge or replay, drawn at random ten thousand times.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_forged_or_replayed_approvals_count_nothing() {
    if !has_openssh() {
        return;
    }
    let c = Case::new("").await;
    let d = c.dir.path();
    for name in ["mallory", "alice2", "old", "young", "lost", "drill"] {
        keygen(d, name, &["ed25519"]);
    }
    keygen(d, "weak", &["rsa", "-b", "1024"]);
    let key = |name: &str| public(&d.join(name));
    let lines = format!(
        "bob {}\nbob valid-before=\"20260101Z\" {}\nbob valid-after=\"20990101Z\" {}\nbob {}\nalice {}\nalice {}\n\
         bob namespaces=\"drill-v1@*\" {}\nbob {}\n",
        key("bob"),
        key("old"),
        key("young"),
        key("lost"),
        key("alice"),
        key("alice2"),
        key("drill"),
        key("weak"),
    );
    let signers = Signers {
        organisation: "soc.example".into(),
        desk: "desk".into(),
        allowed: AllowedSigners::parse(Path::new("a"), &lines).unwrap(),
        revoked: Revoked::parse(key("lost").as_bytes()).unwrap(),
    };
    let body: &RequestBody = &c.request.body;
    let verify =
        |s: &Signed, b: &RequestBody, digest: &str, at| signers.verify(s, b, digest, &id("bob"), Decision::Approve, at);
    let right = c.statement(Where::Desk);
    let good = c.signed("bob", NAMESPACE, &right);
    verify(&good, body, &c.request.digest, now()).unwrap();

    // A drill has a namespace, and a decision, of its own: neither signature is worth anything as the other.
    let drill = Statement { decision: Decision::Drill, ..right.clone() };
    let as_drill = |s: &Signed| signers.verify(s, body, &c.request.digest, &id("bob"), Decision::Drill, now());
    let drilled = c.signed("drill", "drill-v1@soc.example", &drill);
    as_drill(&drilled).unwrap();
    assert!(verify(&drilled, body, &c.request.digest, now()).unwrap_err().contains("another decision"));
    assert!(as_drill(&good).is_err() && as_drill(&c.signed("bob", NAMESPACE, &drill)).is_err());
    assert!(as_drill(&c.signed("drill", NAMESPACE, &drill)).is_err());

    // Whole forgeries: every one is refused as it is, and is the start of mutations.
    let other = Statement { request: RequestId::new("01OTHER").unwrap(), ..right.clone() };
    let elsewhere = Statement { desk: "desk-2".into(), ..right.clone() };
    let as_alice = Statement { by: id("alice"), ..right.clone() };
    let early = Statement { at: body.created - SignedDuration::from_hours(1), ..right.clone() };
    let late = Statement { at: now() + SignedDuration::from_hours(1), ..right.clone() };
    let proposed: Head = body.audit_head.parse().unwrap();
    let older = Statement { head: proposed.to_string(), ..right.clone() };
    let headless = Statement { head: "x".into(), ..right.clone() };
    let changed = Statement { digest: "0".repeat(64), ..right.clone() };
    let v2 = Statement { v: 2, ..right.clone() };
    let sign = |key: &str, s: &Statement| c.signed(key, NAMESPACE, s);
    let mut forged: Vec<(&str, Signed)> = vec![
        ("another's key", sign("mallory", &right)),
        ("the requester's key", sign("alice", &right)),
        ("the requester's second key", sign("alice2", &right)),
        ("an expired key", sign("old", &right)),
        ("a key of the future", sign("young", &right)),
        ("a revoked key", sign("lost", &right)),
        ("a short key", sign("weak", &right)),
        ("a drill key", sign("drill", &right)),
        ("the drill namespace", c.signed("bob", "drill-v1@soc.example", &right)),
        ("the checkpoint namespace", c.signed("bob", "checkpoint-v1@soc.example", &right)),
        ("another organisation", c.signed("bob", "approve-v1@other.example", &right)),
        ("git", c.signed("bob", "git", &right)),
        ("another request", sign("bob", &other)),
        ("another desk", sign("bob", &elsewhere)),
        ("another person", sign("alice", &as_alice)),
        ("before it was proposed", sign("bob", &early)),
        ("from the future", sign("bob", &late)),
        ("an older head", sign("bob", &older)),
        ("no head", sign("bob", &headless)),
        ("another digest", sign("bob", &changed)),
        ("another version", sign("bob", &v2)),
    ];
    let spaced = format!(" {}", good.statement);
    forged.push(("not canonical", Signed { signature: by_hand(d, "bob", NAMESPACE, &spaced), statement: spaced }));
    let more = good.statement.replacen('{', "{\"x\":1,", 1);
    forged.push(("more than a statement", Signed { signature: by_hand(d, "bob", NAMESPACE, &more), statement: more }));
    for (what, s) in &forged {
        assert!(verify(s, body, &c.request.digest, now()).is_err(), "{what} counted");
        assert!(c.approve(s.clone()).is_err(), "{what} approved");
    }

    let mut random = Random(0x5eed_0002);
    let blob = |s: &Signed| {
        let inner: String = s.signature.lines().filter(|l| !l.starts_with('-')).collect();
        STANDARD.decode(inner).unwrap()
    };
    let armour =
        |b: &[u8]| format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", STANDARD.encode(b));
    let mut tried = 0;
    for _ in 0..10_000 {
        let from = if random.below(3) == 0 { &forged[random.below(forged.len())].1 } else { &good };
        let mut s = from.clone();
        let mut of = (body.clone(), c.request.digest.clone());
        let how = random.below(5);
        match how {
            // A bit of the signature, the key, the namespace, a length.
            0 => {
                let mut b = blob(&s);
                let at = random.below(b.len());
                b[at] ^= 1 << random.below(8);
                s.signature = armour(&b);
            }
            // Cut short, or with something behind it.
            1 => {
                let mut b = blob(&s);
                if random.below(2) == 0 {
                    b.truncate(random.below(b.len()));
                } else {
                    b.extend(random.bytes());
                    b.push(0);
                }
                s.signature = armour(&b);
            }
            // A byte of the statement.
            2 => {
                let mut b = s.statement.into_bytes();
                let at = random.below(b.len());
                b[at] = b[at].wrapping_add(1 + u8::try_from(random.below(100)).unwrap());
                s.statement = String::from_utf8_lossy(&b).into_owned();
            }
            // Replayed for a request that differs.
            3 => {
                of.0.targets = vec![format!("dc{}", random.below(1000))];
                of.1 = watchfloor::respond::digest::of_request(&of.0).unwrap();
            }
            // The signature of one statement with the text of another.
            _ => {
                let with = &forged[random.below(forged.len())].1;
                if with.signature == s.signature || with.statement == s.statement {
                    continue;
                }
                s.statement = with.statement.clone();
            }
        }
        let counted = verify(&s, &of.0, &of.1, now()).is_ok();
        assert!(!counted, "mutation {how} of {from:?} gave {s:?}");
        tried += 1;
    }
    assert!(tried > 9000, "{tried}");
    // Given too late, by somebody else, and twice.
    assert!(verify(&good, body, &c.request.digest, now() - SignedDuration::from_hours(1)).is_err());
    assert!(signers.verify(&good, body, &c.request.digest, &id("carol"), Decision::Approve, now()).is_err());
    c.approve(good.clone()).unwrap();
    assert!(matches!(c.approve(good), Err(RespondError::Conflict(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_highest_tier_who_asked_does_not_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.propose(draft("wipe", &["web1"], &[])).await.unwrap();
    for who in ["bob", "carol"] {
        d.responder.approve(&id(who), &r.body.id, &r.digest, now()).unwrap();
    }
    refused(d.execute(&r).await, "somebody else must start it");
    assert_eq!(d.state(&r), RequestState::Approved);
    let done = d.responder.execute(&id("bob"), &r.body.id, now()).await.unwrap();
    assert_eq!(done.state, RequestState::Done);
}

/// A head of the log that somebody signed counts in its own namespace only, and finds a log that was cut or rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_checkpoint_is_worth_its_own_namespace_and_finds_a_cut_log() {
    use watchfloor::desk::checkpoint::{Checkpoint, checkpoints};
    if !has_openssh() {
        println!("skipped: no ssh-keygen here");
        return;
    }
    let c = Case::new("").await;
    let d = c.dir.path();
    let keeper = keygen(d, "keeper", &["ed25519"]);
    let mut lines = fs::read_to_string(d.join("allowed_signers")).unwrap();
    lines += &format!("carol namespaces=\"checkpoint-v1@*\" {keeper}\n");
    fs::write(d.join("allowed_signers"), lines).unwrap();
    c.desk.propose(draft("isolate", &["web2"], &[])).await.unwrap();
    let head = c.desk.audit.head().unwrap();
    let said = |head: String, desk: &str| Checkpoint { v: 1, desk: desk.into(), head, by: id("carol"), at: now() };
    let line = |said: &Checkpoint, key: &str, namespace: &str| {
        let mut members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_value(serde_json::to_value(said).unwrap()).unwrap();
        members.sort_keys();
        let statement = serde_json::to_string(&members).unwrap();
        let signature = by_hand(d, key, namespace, &statement);
        serde_json::to_string(&Signed { statement, signature }).unwrap() + "\n"
    };
    let (right, ns) = (said(head.to_string(), "desk"), "checkpoint-v1@soc.example");
    let other_root = format!("{}:{}", head.size, "0".repeat(64));
    let given = [
        line(&right, "keeper", ns),
        line(&right, "keeper", NAMESPACE),
        line(&right, "bob", ns),
        line(&said(head.to_string(), "desk-2"), "keeper", ns),
        line(&right, "keeper", ns).replace(&head.root[..8], "00000000"),
        line(&said(other_root, "desk"), "keeper", ns),
        "{}\n".to_owned(),
    ];
    let audit_dir = d.join("audit");
    fs::write(audit_dir.join("checkpoints.ndjson"), given.concat()).unwrap();
    let found = checkpoints(&audit_dir, &signers(d)).unwrap();
    let good: Vec<bool> = found.iter().map(|f| f.why.is_none()).collect();
    assert_eq!(good, [true, false, false, false, false, true, false], "{found:?}");
    let heads = |at: usize| vec![found[at].head.clone().unwrap()];
    assert!(audit::verify_heads(&audit_dir, None, &heads(0)).unwrap().ok);
    let forked = audit::verify_heads(&audit_dir, None, &heads(5)).unwrap();
    assert!(!forked.ok && forked.faults[0].what.contains("not those of a signed checkpoint"), "{forked:?}");
    // Cut, with the log's own memory of its length gone, too.
    let log = fs::read_to_string(audit_dir.join("log.ndjson")).unwrap();
    fs::write(audit_dir.join("log.ndjson"), log.lines().next().unwrap().to_owned() + "\n").unwrap();
    fs::remove_file(audit_dir.join("checkpoint")).unwrap();
    assert!(audit::verify(&audit_dir, None).unwrap().ok, "by itself it looks whole");
    let cut = audit::verify_heads(&audit_dir, None, &heads(0)).unwrap();
    assert!(!cut.ok && cut.faults[0].what.contains("a signed checkpoint knows of 2"), "{cut:?}");
    // A key that is revoked says nothing any more.
    fs::write(d.join("revoked_keys"), &keeper).unwrap();
    assert!(checkpoints(&audit_dir, &signers(d)).unwrap()[0].why.as_ref().unwrap().contains("revoked"));
}
