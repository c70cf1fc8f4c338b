//! Approving over a real sshd with a real, forwarded ssh-agent, and on the approver's own machine with `watchfloor
//! sign`: each time the real program, and a real Ansible action that then runs.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

use super::ansible::ansible_desk;
use super::sign::{Agent, has_openssh, keygen, run};
use super::*;

const SSHD: &str = "/usr/sbin/sshd";

/// A desk with two people who are the same account, each by settings of their own, behind a server on loopback.
struct Site {
    dir: tempfile::TempDir,
    port: u16,
    user: String,
    server: Child,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Site {
    fn start() -> Option<Self> {
        if !has_openssh() {
            return None;
        }
        if !Path::new(SSHD).exists() {
            println!("skipped: {SSHD} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        ansible_desk(d)?;
        let bob = keygen(d, "bob_key", &["ed25519"]);
        keygen(d, "host", &["ed25519"]);
        fs::write(d.join("allowed_signers"), format!("bob namespaces=\"approve-v1@soc.example\" {bob}\n")).unwrap();
        fs::write(d.join("authorized_keys"), format!("{bob}\n")).unwrap();
        fs::write(d.join("policy.toml"), "[tiers.T1]\nsigned = \"agent\"\n").unwrap();
        for me in ["alice", "bob"] {
            settings_of(d, me);
        }
        let user = run(Command::new("id").arg("-un")).trim().to_owned();
        if user == "root" {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (server, port) = super::remote::serve(d, "AllowAgentForwarding yes\n");
        let site = Self { dir, port, user, server };
        let known = fs::read_to_string(site.path("host.pub")).unwrap();
        fs::write(site.path("known_hosts"), format!("[127.0.0.1]:{port} {known}")).unwrap();
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program on the desk's machine, as one of them.
    fn words(&self, me: &str, args: &[&str]) -> Vec<String> {
        let mut all = vec![env!("CARGO_BIN_EXE_watchfloor").to_owned(), "--config".to_owned()];
        all.push(self.path(&format!("{me}/config.toml")).display().to_string());
        all.extend(args.iter().map(|a| (*a).to_owned()));
        all
    }

    /// Alice sits at the desk's machine.
    fn alice(&self, args: &[&str]) -> serde_json::Value {
        let words = self.words("alice", args);
        let out = Command::new(&words[0]).args(&words[1..]).arg("--json").env_remove("SSH_AUTH_SOCK").output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Bob comes over the network, with his agent forwarded or not.
    fn bob(&self, agent: &Agent, forward: bool, args: &[&str], input: &str) -> Output {
        let mut ssh = Command::new("ssh")
            .args(["-F", "none", "-o", "IdentitiesOnly=no", "-o", "BatchMode=yes"])
            .args(["-o", &format!("UserKnownHostsFile={}", self.path("known_hosts").display())])
            .args(["-o", "StrictHostKeyChecking=yes", "-p", &self.port.to_string(), if forward { "-A" } else { "-a" }])
            .arg(format!("{}@127.0.0.1", self.user))
            .arg(self.words("bob", args).join(" "))
            .env("SSH_AUTH_SOCK", &agent.socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        ssh.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        ssh.wait_with_output().unwrap()
    }

    /// `watchfloor sign` on bob's own machine, which knows nothing of the desk.
    fn sign(&self, agent: &Agent, asked: &str) -> Output {
        let mut sign = Command::new(env!("CARGO_BIN_EXE_watchfloor"))
            .args(["--config", "/dev/null", "--data-dir"])
            .arg(self.path("home"))
            .args(["sign", "-", "--yes"])
            .env("SSH_AUTH_SOCK", &agent.socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sign.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
        sign.wait_with_output().unwrap()
    }

    /// Alice asks for something to be done to this host; its id and digest.
    fn proposed(&self, host: &str) -> (String, String) {
        let r = self.alice(&["propose", "quarantine", "--target", host, "--reason", "it beacons"]);
        (r["body"]["id"].as_str().unwrap().to_owned(), r["digest"].as_str().unwrap().to_owned())
    }
}

fn settings_of(d: &Path, me: &str) {
    let dir = d.join(me);
    fs::create_dir_all(&dir).unwrap();
    let whole = format!(
        "[desk]\ndata_dir = \"{0}/data\"\n[respond]\ncatalogue = \"{0}/actions.toml\"\npolicy = \"{0}/policy.toml\"\n\
         allowed_signers = \"{0}/allowed_signers\"\norganisation = \"soc.example\"\n",
        d.display()
    );
    fs::write(dir.join("config.toml"), whole).unwrap();
    let uid = run(Command::new("id").arg("-u"));
    let person = |name: &str, roles: &str| {
        let uids = if name == me { uid.trim() } else { "" };
        format!("[[people]]\nid = \"{name}\"\nname = \"{name}\"\nuids = [{uids}]\nroles = [{roles}]\n")
    };
    let people = person("alice", "\"analyst\"") + &person("bob", "\"lead\", \"approver\"");
    fs::write(dir.join("roster.toml"), people).unwrap();
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn means(out: &Output) -> String {
    assert!(out.status.success(), "{}", said(out));
    let r: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    r["approvals"][0]["means"].as_str().unwrap().to_owned()
}

#[test]
fn a_forwarded_agent_approves_a_real_ansible_action_over_a_real_sshd() {
    let Some(site) = Site::start() else { return };
    let agent = Agent::start(site.dir.path(), &["bob_key"]);
    let (id, digest) = site.proposed("web1");
    let approve = ["approve", &id, "--digest", &digest, "--json"];

    let without = site.bob(&agent, false, &approve, "");
    assert_eq!(without.status.code(), Some(4), "{}", said(&without));
    assert!(said(&without).contains("asks for approval by agent; this is by key press"), "{}", said(&without));
    assert_eq!(means(&site.bob(&agent, true, &approve, "")), "agent");
    let done = site.alice(&["execute", &id]);
    assert_eq!(done["state"], "done", "{done}");
    assert!(site.path("web1.conf").exists(), "the playbook ran");

    // A key bound to destinations logs in, and signs nothing else.
    run(Command::new("ssh-add").args(["-q", "-D"]).env("SSH_AUTH_SOCK", &agent.socket));
    run(Command::new("ssh-add")
        .args(["-q", "-h", &format!("{}@[127.0.0.1]:{}", site.user, site.port), "-H"])
        .arg(site.path("known_hosts"))
        .arg(site.path("bob_key"))
        .env("SSH_AUTH_SOCK", &agent.socket));
    let (id, digest) = site.proposed("web2");
    let bound = site.bob(&agent, true, &["approve", &id, "--digest", &digest], "");
    assert_eq!(bound.status.code(), Some(4), "{}", said(&bound));
    assert!(said(&bound).contains("bound to destinations by ssh-add -h is not offered"), "{}", said(&bound));
    assert!(!site.path("web2.conf").exists());
}

#[test]
fn the_approvers_own_machine_shows_signs_and_is_a_witness() {
    let Some(site) = Site::start() else { return };
    fs::write(site.path("policy.toml"), "[tiers.T1]\nsigned = \"own machine\"\n").unwrap();
    let agent = Agent::start(site.dir.path(), &["bob_key"]);
    let (id, digest) = site.proposed("web1");
    let forwarded = site.bob(&agent, true, &["approve", &id, "--digest", &digest], "");
    assert!(said(&forwarded).contains("asks for approval by own machine; this is by agent"), "{}", said(&forwarded));

    let asked = site.bob(&agent, false, &["approve", &id, "--ask"], "");
    assert!(asked.status.success(), "{}", said(&asked));
    let asked = String::from_utf8(asked.stdout).unwrap();
    let forged = site.sign(&agent, &asked.replace("\"web1\"", "\"web2\""));
    assert_eq!(forged.status.code(), Some(4), "{}", said(&forged));
    assert!(said(&forged).contains("the digest differs"), "{}", said(&forged));
    let signed = site.sign(&agent, &asked);
    assert!(signed.status.success(), "{}", said(&signed));
    let shown = String::from_utf8_lossy(&signed.stderr).into_owned();
    for part in ["quarantine.yml", "targets  web1", "+zone quarantine", "it beacons", &digest] {
        assert!(shown.contains(part), "{part} is not shown:\n{shown}");
    }
    let signed = String::from_utf8(signed.stdout).unwrap();
    assert_eq!(means(&site.bob(&agent, false, &["approve", &id, "--signed", "-", "--json"], &signed)), "own machine");
    let done = site.alice(&["execute", &id]);
    assert_eq!(done["state"], "done", "{done}");

    // The next time his machine wants proof that the log goes on from what it saw.
    let (id, _) = site.proposed("web2");
    let ask = |more: &[&str]| {
        let mut args = vec!["approve", id.as_str(), "--ask"];
        args.extend(more);
        String::from_utf8(site.bob(&agent, false, &args, "").stdout).unwrap()
    };
    let unproved = site.sign(&agent, &ask(&[]));
    let why = said(&unproved);
    assert_eq!(unproved.status.code(), Some(4), "{why}");
    let since = why.split("--since ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let proved = ask(&["--since", &since]);
    assert!(site.sign(&agent, &proved).status.success());
    // A log that was cut and grown again differently cannot be proved.
    let log = site.path("data/audit/log.ndjson");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("it beacons", "it is fine", 1)).unwrap();
    let rewritten = ask(&["--since", &since]);
    assert!(!site.sign(&agent, &rewritten).status.success(), "{rewritten}");
}
