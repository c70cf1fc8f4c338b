//! The ssh executor on a real sshd.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::sign::{has_openssh, keygen, run};
use super::*;

/// A server on loopback that stands for several hosts, and a key that may log in.
pub struct Sshd {
    pub port: u16,
    server: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.sessions() {
            let _ = Command::new("kill").args(["-s", "KILL", &pid]).stderr(Stdio::null()).status();
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Sshd {
    pub fn start(d: &Path) -> Option<Self> {
        if !has_openssh() || !Path::new("/usr/sbin/sshd").exists() {
            println!("skipped: no sshd here");
            return None;
        }
        let key = keygen(d, "login", &["ed25519"]);
        keygen(d, "host", &["ed25519"]);
        fs::write(d.join("authorized_keys"), format!("{key}\n")).unwrap();
        if run(Command::new("id").arg("-un")).trim() == "root" {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (server, port) = serve(d, "");
        Some(Self { port, server })
    }

    /// Processes of the server that serve somebody, and theirs.
    pub fn sessions(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut next = vec![self.server.id().to_string()];
        while let Some(pid) = next.pop() {
            let out = Command::new("pgrep").args(["-P", &pid]).output().unwrap();
            let children: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
            all.extend(children.iter().cloned());
            next.extend(children);
        }
        all
    }
}

/// An sshd with the keys `host` and `authorized_keys` on a port of its own: one that somebody else took before it could
/// is given up for another.
pub fn serve(d: &Path, more: &str) -> (Child, u16) {
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/authorized_keys\n\
             MaxStartups 100\n{more}",
            d.display()
        );
        fs::write(d.join("sshd_config"), config).unwrap();
        let mut server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(d.join("sshd_config"))
            .stderr(fs::File::create(d.join("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let said = || fs::read_to_string(d.join("sshd.log")).unwrap();
        // Not that something listens there, but that it is this one.
        while !said().contains(&format!("Server listening on 127.0.0.1 port {port}.")) {
            if server.try_wait().unwrap().is_some() {
                assert!(said().contains("in use"), "sshd does not run: {}", said());
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(150), "sshd does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        if server.try_wait().unwrap().is_none() {
            return (server, port);
        }
    }
    panic!("no port is free: {}", fs::read_to_string(d.join("sshd.log")).unwrap());
}

/// Hosts web1 to web3, and far1 to far5, are that server; web4 is known by another key, web5 by none. `quiet` takes connections and says
/// nothing.
pub fn site(d: &Path, sshd: &Sshd, quiet: u16) -> Desk {
    let host = fs::read_to_string(d.join("host.pub")).unwrap();
    let other = keygen(d, "other", &["ed25519"]);
    let far = ["far1", "far2", "far3", "far4", "far5"];
    let known = ["web1", "web2", "web3", "quiet"].iter().chain(&far).map(|n| format!("{n} {host}")).collect::<String>();
    fs::write(d.join("known_hosts"), format!("{known}web4 {other}\n")).unwrap();
    let tool = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(d.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(d.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    // The arguments, each ended by a NUL, in a file named by the first.
    tool(
        "show",
        "f=$1; for w; do printf '%s\\0' \"$w\"; done > \"$(dirname \"$0\")/$f.args\"; echo \"hello from $f\"; echo warned >&2",
    );
    tool("some", "case $1 in web2) echo broken >&2; exit 3;; esac; echo \"$SSH_CONNECTION\"");
    tool("hang", "echo begun; touch \"$(dirname \"$0\")/$1.begun\"; exec sleep 61");
    tool("late", "exit 255");
    tool("flood", "exec cat /dev/zero");
    let names = ["web1", "web2", "web3", "web4", "web5"];
    let hosts = names.iter().chain(&far).map(|h| format!("\"{h}=127.0.0.1:{}\"", sshd.port));
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    let action = |name: &str, argv: &str, limit: u64| {
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"x\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"host\" }} }}\n\
             params = [{{ name = \"a\", is = {{ type = \"text\", max = 200 }}, default = \"\" }}, \
             {{ name = \"b\", is = {{ type = \"text\", max = 200 }}, default = \"\" }}]\n\
             [actions.executor]\nkind = \"ssh\"\nargv = [\"{0}/{argv}]\nhosts = [{hosts}, \"quiet=127.0.0.1:{quiet}\"]\n\
             user = \"{1}\"\nknown_hosts = \"known_hosts\"\nidentity_file = \"login\"\ntimeout_seconds = {limit}\n",
            d.display(),
            run(Command::new("id").arg("-un")).trim()
        )
    };
    let actions = [
        action(
            "show",
            "show\", \"{{target}}\", \"--\", \"{{param.a}}\", \"fixed $HOME 'x'\", \"{{ param.b }}\", \"{{request.id}}\"",
            100,
        ),
        action("some", "some\", \"{{target}}\"", 100),
        // Long enough to log in on a slow machine, and far shorter than it hangs.
        action("hang", "hang\", \"{{target}}\"", 8),
        action("cut", "hang\", \"{{target}}\"", 600),
        action("late", "late\"", 100),
        action("flood", "flood\"", 600),
    ];
    desk(d, &actions.join("\n"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_program_gets_exactly_the_approved_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = Sshd::start(dir.path()) else { return };
    let d = site(dir.path(), &sshd, 1);
    let hostile = [
        "it's; touch pwned `id` $(touch pwned)",
        "a|b>c<d&e \"q\" \\ \\' * ~ {x,y} #no !! ${IFS}",
        "-rf --no-preserve-root",
        "",
        "ünïcode ✓",
        "''",
    ];
    for pair in hostile.chunks(2) {
        let r = d.approved(draft("show", &["web1"], &[("a", pair[0]), ("b", pair[1])])).await;
        let done = d.execute(&r).await.unwrap();
        let got = receipt(&done, "web1");
        assert_eq!((done.state, got.state), (RequestState::Done, ReceiptState::Done), "{got:?}");
        let text = got.detail.expose();
        assert!(
            text.contains("hello from web1") && text.contains("warned") && !text.contains("Authenticated"),
            "{text}"
        );
        let args = fs::read_to_string(dir.path().join("web1.args")).unwrap();
        let args: Vec<&str> = args.trim_end_matches('\0').split('\0').collect();
        assert_eq!(args, ["web1", "--", pair[0], "fixed $HOME 'x'", pair[1], r.body.id.as_str()]);
    }
    assert!(!dir.path().join("pwned").exists());
    let home = directories::BaseDirs::new().unwrap();
    assert!(!home.home_dir().join("pwned").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_has_its_own_receipt_and_strangers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = Sshd::start(dir.path()) else { return };
    let d = site(dir.path(), &sshd, 1);
    let asked = d.propose(draft("some", &["web1", "web2", "web3", "web4", "web5", "quiet"], &[])).await.unwrap();
    let known = |t: &str| !asked.preview.iter().find(|p| p.target == t).unwrap().failed;
    assert_eq!((known("web1"), known("web4"), known("web5")), (true, true, false), "{:?}", asked.preview);
    assert!(asked.findings.iter().any(|f| f.text.contains("holds no key of web5")), "{:?}", asked.findings);
    let r = d.responder.approve(&id("bob"), &asked.body.id, &asked.digest, now()).unwrap();
    let done = d.execute(&r).await.unwrap();
    let state = |t: &str| (receipt(&done, t).state, receipt(&done, t).detail.expose().to_owned());
    let says = |t: &str, wanted: ReceiptState, words: &str| {
        let (state, text) = state(t);
        assert!(state == wanted && text.contains(words), "{t}: {state:?} {text}");
    };
    assert_eq!(done.state, RequestState::Failed);
    says("web1", ReceiptState::Done, "127.0.0.1");
    says("web2", ReceiptState::Failed, "exit status 3\nbroken");
    says("web3", ReceiptState::Done, "exit status 0");
    // A server that shows another key, one that nobody knows, and a port where nobody listens.
    says("web4", ReceiptState::Failed, "nothing ran");
    says("web4", ReceiptState::Failed, "Host key verification failed");
    says("web5", ReceiptState::Failed, "Host key verification failed");
    says("quiet", ReceiptState::Failed, "nothing ran");

    let stranger = d.propose(draft("some", &["web6"], &[])).await;
    refused(stranger, "web6 is not among the hosts of some");
    // Who changes the keys after the approval changes what was approved.
    let r = d.approved(draft("some", &["web1"], &[])).await;
    fs::write(dir.path().join("known_hosts"), "").unwrap();
    refused(d.execute(&r).await, "known_hosts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_or_is_cut_off_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = Sshd::start(dir.path()) else { return };
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let d = site(dir.path(), &sshd, silent.local_addr().unwrap().port());
    let r = d.approved(draft("hang", &["web1", "quiet"], &[])).await;
    let before = Instant::now();
    let done = d.execute(&r).await.unwrap();
    // The limit of each, side by side, and what a slow machine takes besides; it hangs for a minute.
    assert!(before.elapsed() < Duration::from_secs(50), "{:?}", before.elapsed());
    let (hung, quiet) = (receipt(&done, "web1"), receipt(&done, "quiet"));
    assert_eq!((hung.state, quiet.state), (ReceiptState::Unknown, ReceiptState::Failed), "{done:?}");
    assert!(hung.detail.expose().contains("begun") && hung.detail.expose().contains("may go on"), "{hung:?}");
    assert!(quiet.detail.expose().contains("nothing ran"), "{quiet:?}");

    // Ends of its own with 255 look as if the connection was lost.
    let r = d.approved(draft("late", &["web1"], &[])).await;
    assert_eq!(states(&d.execute(&r).await.unwrap()), [ReceiptState::Unknown]);

    // The other machine stops in the middle: the network is there, and nobody answers.
    let r = d.approved(draft("cut", &["web2"], &[])).await;
    let running = tokio::spawn({
        let (responder, which) = (d.responder.clone(), r.body.id.clone());
        async move { responder.execute(&id("alice"), &which, now()).await }
    });
    super::ansible::until("it runs over there", || dir.path().join("web2.begun").exists()).await;
    for pid in sshd.sessions() {
        let _ = Command::new("kill").args(["-s", "STOP", &pid]).status();
    }
    let before = Instant::now();
    let done = running.await.unwrap().unwrap();
    println!("a silent peer was noticed after {:?}", before.elapsed());
    assert!(before.elapsed() < Duration::from_secs(200), "its limit is ten minutes");
    let cut = receipt(&done, "web2");
    assert_eq!(cut.state, ReceiptState::Unknown, "{cut:?}");
    assert!(cut.detail.expose().contains("the connection was lost"), "{cut:?}");
    d.verify();
}
