//! Real `ansible-playbook`, on this machine.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

/// Two hosts that are both this one, a group, and a host nobody answers for.
const HOSTS: &str = "[web]\nweb1\nweb2\n[gone]\nlost1 ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\n\
    [web:vars]\nansible_connection=local\nansible_python_interpreter=/usr/bin/python3\n";

const ACTIONS: &str = r#"
[[actions]]
name = "quarantine"
title = "Quarantine"
tier = "T1"
targets = { is = { type = "host" } }
params = [{ name = "level", is = { type = "text", max = 80 }, default = "high" }]
executor = { kind = "ansible", playbook = "pb/quarantine.yml", inventory = "pb/hosts.ini", timeout_seconds = 300 }

[[actions]]
name = "ask"
title = "Ask on the terminal"
tier = "T0"
targets = { is = { type = "host" } }
executor = { kind = "ansible", playbook = "pb/ask.yml", inventory = "pb/hosts.ini", timeout_seconds = 300 }

[[actions]]
name = "sleep"
title = "Sleep"
tier = "T1"
targets = { is = { type = "host" } }
executor = { kind = "ansible", playbook = "pb/sleep.yml", inventory = "pb/hosts.ini", timeout_seconds = 300 }
"#;

pub fn ansible_desk(dir: &Path) -> Option<Desk> {
    if Command::new("/usr/bin/ansible-playbook").arg("--version").output().is_err() {
        println!("skipped: ansible is not installed");
        return None;
    }
    let pb = dir.join("pb");
    fs::create_dir_all(&pb).unwrap();
    fs::write(pb.join("hosts.ini"), HOSTS).unwrap();
    let quarantine = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: write the rule\n      ansible.builtin.copy:\n        \
         dest: \"{}/{{{{ inventory_hostname }}}}.conf\"\n        content: \"zone quarantine\\nlevel {{{{ level }}}}\\n\"\n    \
         - name: refuse some\n      ansible.builtin.fail: {{ msg: \"no such level\" }}\n      \
         when: level == 'odd' and inventory_hostname == 'web2'\n",
        dir.display()
    );
    fs::write(pb.join("quarantine.yml"), quarantine).unwrap();
    // A short task first: the long one comes within the same second, and is what is told all the same.
    let sleep = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: short work\n      \
                 ansible.builtin.debug: { msg: short }\n    - name: long work\n      ansible.builtin.command: sleep 274\n";
    fs::write(pb.join("sleep.yml"), sleep).unwrap();
    let ask = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: ask\n      changed_when: false\n      \
               ansible.builtin.shell: (echo HACKED > /dev/tty) 2>&1; echo asked\n";
    fs::write(pb.join("ask.yml"), ask).unwrap();
    Some(desk(dir, ACTIONS, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_mode_diff_approval_live_run_receipts_and_nothing_left_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    let file = dir.path().join("web1.conf");
    let r = d.propose(draft("quarantine", &["web1", "web2"], &[])).await.unwrap();
    assert_eq!(r.preview.len(), 2);
    for p in &r.preview {
        assert_eq!((p.would_change, p.failed), (Some(1), false), "{p:?}");
        assert!(p.diff.expose().contains("+zone quarantine\n+level high"), "{p:?}");
    }
    assert!(!file.exists(), "a dry run changes nothing");
    refused(d.responder.approve(&id("alice"), &r.body.id, &r.digest, now()), "somebody else");
    d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap();
    let done = d.execute(&r).await.unwrap();
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done; 2]), "{done:?}");
    assert!(done.receipts.iter().all(|x| x.changed == Some(1)));
    assert!(receipt(&done, "web1").detail.expose().contains("+level high"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "zone quarantine\nlevel high\n");

    let again = d.approved(draft("quarantine", &["web1", "web2"], &[])).await;
    assert!(again.preview.iter().all(|p| p.would_change == Some(0)), "{:?}", again.preview);
    let done = d.execute(&again).await.unwrap();
    assert!(done.receipts.iter().all(|x| x.changed == Some(0) && x.state == ReceiptState::Done), "{done:?}");
    let intent = d.audit.records(&AuditFilter { kind: Some("action.intent".into()), ..Default::default() }, 1).unwrap();
    let argv = intent[0].body["commands"][0].as_array().unwrap();
    assert!(argv.contains(&"web1,web2".into()), "{argv:?}");
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_approved_hosts_are_touched_and_each_has_its_own_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    refused(d.propose(draft("quarantine", &["web"], &[])).await, "web1, web2 would be touched too");
    refused(d.propose(draft("quarantine", &["web7"], &[])).await, "not in the inventory");
    refused(d.propose(draft("quarantine", &["all"], &[])).await, "every host");
    let template = draft("quarantine", &["web1"], &[("level", "{{ lookup('pipe','touch /tmp/wf-owned') }}")]);
    refused(d.propose(template).await, "not allowed");

    let one = d.approved(draft("quarantine", &["web2"], &[])).await;
    d.execute(&one).await.unwrap();
    assert!(dir.path().join("web2.conf").exists() && !dir.path().join("web1.conf").exists());

    let mixed = d.approved(draft("quarantine", &["web1", "web2", "lost1"], &[("level", "odd")])).await;
    let told = mixed.findings.iter().any(|f| f.text.contains("the dry run failed for web2, lost1"));
    assert!(told, "{:?}", mixed.findings);
    let done = d.execute(&mixed).await.unwrap();
    assert_eq!(done.state, RequestState::Failed);
    assert_eq!(receipt(&done, "web1").state, ReceiptState::Done);
    let failed = receipt(&done, "web2");
    assert!(failed.state == ReceiptState::Failed && failed.detail.expose().contains("no such level"), "{failed:?}");
    let lost = receipt(&done, "lost1");
    assert!(lost.state == ReceiptState::Failed && lost.detail.expose().contains("unreachable"), "{lost:?}");
    assert_eq!(done.note.as_deref(), Some("1 done, 2 failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_or_inventory_edited_after_approval_voids_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    for name in ["pb/quarantine.yml", "pb/hosts.ini", "pb/roles/x/tasks/main.yml", "pb/ansible.cfg"] {
        let r = d.approved(draft("quarantine", &["web1"], &[])).await;
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{before}\n# more\n")).unwrap();
        refused(d.execute(&r).await, "is void");
        assert_eq!(d.state(&r), RequestState::Stale, "{name}");
        assert!(!dir.path().join("web1.conf").exists());
    }
}

/// Processes of this request that do the playbook's long work.
pub fn sleepers(r: &Request) -> usize {
    super::crash::of_request(r.body.id.as_str(), |cmdline| cmdline.starts_with(b"sleep\x00274"))
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(150), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_stops_a_running_playbook_at_once_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    let r = d.approved(draft("sleep", &["web1", "web2"], &[])).await;
    assert_eq!(r.preview[0].would_change, None, "check mode cannot tell what a command does");
    let next = d.approved(draft("sleep", &["web1"], &[])).await;
    let running = tokio::spawn({
        let (responder, id_) = (d.responder.clone(), r.body.id.clone());
        async move { responder.execute(&id("alice"), &id_, now()).await }
    });
    until("both sleep", || sleepers(&r) == 2).await;
    let told = |t: &str| {
        let under_way = d.store.request(&r.body.id).unwrap().unwrap();
        let at = under_way.receipts.iter().find(|x| x.target == t).cloned();
        at.is_some_and(|x| (x.state, x.detail.expose()) == (ReceiptState::Pending, "at: long work"))
    };
    until("what they are at is told", || told("web1") && told("web2")).await;
    // From another process's point of view: its own store connection.
    let other = open(dir.path());
    let before = Instant::now();
    other.responder.kill(&id("alice"), true, now()).unwrap();
    let done = running.await.unwrap().unwrap();
    let took = before.elapsed();
    println!("stopped after {took:.1?}");
    // Well within a second where nothing else goes on; it would sleep for minutes.
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(super::crash::marked(&r), 0, "the whole family is gone");
    assert_eq!((done.state, states(&done)), (RequestState::Failed, vec![ReceiptState::Unknown; 2]));
    let detail = receipt(&done, "web1").detail.expose();
    assert!(detail.contains("kill switch was set by alice\nit was at: long work"), "{detail}");
    drop((d, other));
    let d = open(dir.path());
    refused(d.execute(&next).await, "kill switch was set by alice");
    assert!(matches!(d.responder.kill(&id("alice"), false, now()), Err(RespondError::Refused(_))));
    d.responder.kill(&id("bob"), false, now()).unwrap();
    assert!(d.store.kill_switch().unwrap().is_none());
    assert_eq!(d.state(&next), RequestState::Approved);
    d.verify();
}

/// The log breaks between the last check and the record of the intent.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_intent_cannot_be_recorded_nothing_is_started() {
    let dir = tempfile::tempdir().unwrap();
    if ansible_desk(dir.path()).is_none() {
        return;
    }
    // The guards are the last that is asked before Ansible is; the log was found well by then.
    let (log, kept) = (dir.path().join("audit/log.ndjson"), dir.path().join("kept"));
    let breaks = Arc::new(AtomicBool::new(false));
    let (now_breaks, of) = (breaks.clone(), log.clone());
    let guards: Guards = Arc::new(move |_, _, _, _| {
        if now_breaks.swap(false, Ordering::SeqCst) {
            fs::rename(&of, &kept).unwrap();
            fs::create_dir(&of).unwrap();
        }
        Default::default()
    });
    let d = open_guarded(dir.path(), no_clusters(), guards);
    assert_eq!(d.audit.log_path(), log);
    let r = d.approved(draft("quarantine", &["web1"], &[])).await;
    breaks.store(true, Ordering::SeqCst);
    let e = d.execute(&r).await;
    assert!(!breaks.load(Ordering::SeqCst), "it was asked");
    assert!(
        matches!(&e, Err(RespondError::Unavailable(w)) if w.contains("not run: the audit log cannot be written")),
        "{e:?}"
    );
    let r = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!((r.state, states(&r)), (RequestState::Failed, vec![ReceiptState::Skipped]));
    assert!(!dir.path().join("web1.conf").exists());
}

#[test]
fn the_sample_playbooks_are_well_formed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/playbooks-ansible");
    let mut n = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let run = Command::new("/usr/bin/ansible-playbook").args(["--syntax-check", "-i", "h,"]).arg(&path).output();
        let Ok(out) = run else { return println!("skipped: ansible is not installed") };
        assert!(out.status.success(), "{path:?}: {}", String::from_utf8_lossy(&out.stderr));
        n += 1;
    }
    assert!(n >= 3);
}

/// The executing process has a terminal; what it runs must not.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_runs_can_reach_the_terminal() {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    let r = d.propose(draft("ask", &["web1"], &[])).await.unwrap();
    let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 200, pixel_width: 0, pixel_height: 0 }).unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::helper_that_executes", "--test-threads=1", "--nocapture"]);
    command.env("WF_TEST_CRASH_DIR", dir.path());
    command.env("WF_TEST_CRASH_ID", r.body.id.as_str());
    let mut child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let seen = std::thread::spawn(move || {
        let mut out = Vec::new();
        // A closed terminal is an error on Linux.
        let _ = std::io::Read::read_to_end(&mut reader, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    });
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    let seen = seen.join().unwrap();
    assert_eq!(d.state(&r), RequestState::Done, "{seen}");
    assert!(seen.contains("helper_that_executes"), "the helper has this terminal: {seen}");
    assert!(!seen.contains("HACKED"), "{seen}");
    let done = d.store.request(&r.body.id).unwrap().unwrap();
    let detail = receipt(&done, "web1").detail.expose();
    assert!(detail.contains("ok: ask") && detail.ends_with("asked"), "what it printed is the receipt: {detail}");
}

/// Variables in Ansible's vault: the password comes by reference, and is nowhere afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_vault_is_read_with_a_password_by_reference() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_) = ansible_desk(dir.path()) else { return };
    let pb = dir.path().join("pb");
    let (vars, word) = (pb.join("secret.yml"), dir.path().join("word"));
    fs::write(&vars, "level: from-the-vault\n").unwrap();
    fs::write(&word, "s3cr3t-t0ken-0042").unwrap();
    let sealed =
        Command::new("ansible-vault").args(["encrypt", "--vault-password-file"]).args([&word, &vars]).output().unwrap();
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    assert!(fs::read_to_string(&vars).unwrap().starts_with("$ANSIBLE_VAULT"));
    let play = format!(
        "- hosts: all\n  gather_facts: false\n  vars_files: [secret.yml]\n  tasks:\n    - ansible.builtin.copy:\n        \
         dest: \"{}/{{{{ inventory_hostname }}}}.conf\"\n        content: \"{{{{ level }}}}\"\n",
        dir.path().display()
    );
    fs::write(pb.join("sealed.yml"), play).unwrap();
    let action = |name: &str, more: &str| {
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"Sealed\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"host\" }} }}\n\
             executor = {{ kind = \"ansible\", playbook = \"pb/sealed.yml\", inventory = \"pb/hosts.ini\"{more} }}\n"
        )
    };
    let actions = action("opened", ", vault_password = \"keyring:soar\"") + &action("closed", "");
    let d = desk(dir.path(), &actions, "");
    let r = d.approved(draft("opened", &["web1"], &[])).await;
    assert!(
        r.body.commands[0].argv.contains(&"--vault-password-file=keyring:soar".to_owned()),
        "{:?}",
        r.body.commands
    );
    let done = d.execute(&r).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    assert_eq!(fs::read_to_string(dir.path().join("web1.conf")).unwrap(), "from-the-vault");
    let closed = d.propose(draft("closed", &["web1"], &[])).await;
    let said = format!("{closed:?}");
    assert!(said.contains("ault"), "without the password it says what is missing: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_hosts_are_checked_whatever_an_inventory_says() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = ansible_desk(dir.path()) else { return };
    let inventory = dir.path().join("pb/hosts.ini");
    fs::write(&inventory, format!("{HOSTS}ansible_ssh_common_args=\"-o StrictHostKeyChecking=no\"\n")).unwrap();
    refused(d.propose(draft("quarantine", &["web1"], &[])).await, "would let any host in");
    fs::write(&inventory, HOSTS).unwrap();
    fs::write(dir.path().join("pb/ansible.cfg"), "[defaults]\nhost_key_checking = False\n").unwrap();
    refused(d.propose(draft("quarantine", &["web1"], &[])).await, "would let any host in");
}
