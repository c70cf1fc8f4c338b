//! Every alert file of the test data is read, record by record, and the records come out byte for byte.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test says what it missed by panicking"
)]

mod streams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use streams::split;
use watchfloor::intake::format::{self, Reader};
use watchfloor::model::alert::{AlertFields, ObservableKind as Kind};
use watchfloor::model::severity::Severity;
use watchfloor::text::Untrusted;

fn data() -> Option<PathBuf> {
    let path = match std::env::var_os("WATCHFLOOR_TEST_DATA") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no test data at {}", path.display());
    None
}

struct Read {
    records: usize,
    dead: Vec<String>,
    alerts: Vec<(String, AlertFields)>,
}

fn read_bytes(bytes: &[u8]) -> Read {
    let records = split(bytes, 1 << 16);
    assert_eq!(records, split(bytes, 7), "the pieces a stream comes in must not matter");
    let mut out = Read { records: records.len(), dead: Vec::new(), alerts: Vec::new() };
    let mut reader = Reader::auto();
    for r in records {
        let at = r.offset as usize;
        assert_eq!(r.bytes, &bytes[at..at + r.bytes.len()], "a record is a slice of the stream");
        match reader.read(&r.bytes) {
            Ok((format, alerts)) => {
                assert!(!alerts.is_empty());
                assert!(!format::leaves(&format, &r.bytes).is_empty());
                out.alerts.extend(alerts.into_iter().map(|a| (format.clone(), a)));
            }
            Err(e) => out.dead.push(e.to_string()),
        }
    }
    out
}

fn read_file(path: &Path) -> Read {
    read_bytes(&std::fs::read(path).expect("readable"))
}

/// Share of alerts for which `has` holds, in percent.
fn rate(read: &Read, has: impl Fn(&AlertFields) -> bool) -> usize {
    read.alerts.iter().filter(|(_, f)| has(f)).count() * 100 / read.alerts.len().max(1)
}

fn s(text: &Option<Untrusted>) -> &str {
    text.as_ref().map(Untrusted::expose).unwrap_or_default()
}

fn one(record: &str) -> (String, AlertFields) {
    let read = read_bytes(record.as_bytes());
    assert_eq!((read.records, read.alerts.len()), (1, 1), "{:?}", read.dead);
    read.alerts.into_iter().next().expect("one")
}

fn has(f: &AlertFields, kind: Kind, value: &str) -> bool {
    f.observables.iter().any(|o| o.kind == kind && o.value.expose() == value)
}

fn ip(text: &str) -> Option<std::net::IpAddr> {
    text.parse().ok()
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

#[test]
fn wazuh_alerts() {
    let Some(data) = data() else { return };
    let read = read_file(&data.join("ait-llm-verdict/wazuh_labelled.ndjson"));
    assert_eq!((read.records, read.alerts.len(), read.dead.len()), (71, 71, 0));
    assert!(read.alerts.iter().all(|(format, _)| format == "wazuh"));
    for full in [
        rate(&read, |f| f.host.is_some()),
        rate(&read, |f| f.rule_id.is_some() && f.rule_name.is_some()),
        rate(&read, |f| f.severity != Severity::Unknown),
        rate(&read, |f| f.t_event.is_some() && f.t_alert.is_some()),
        rate(&read, |f| f.source_id.is_some()),
    ] {
        assert_eq!(full, 100);
    }
    assert!(rate(&read, |f| !f.techniques.is_empty()) >= 50);
    let (_, f) = &read.alerts[0];
    assert_eq!(f.title.expose(), "Dovecot Authentication Success.");
    assert_eq!((s(&f.rule_id), s(&f.source_severity)), ("9701", "level 3 of 15"));
    assert_eq!((f.severity, s(&f.host), s(&f.user)), (Severity::Informational, "wazuh-client", "susan.gregory"));
    assert_eq!((f.src_ip, f.techniques.as_slice()), (ip("192.168.128.170"), &["T1078".to_owned()][..]));
    assert!(has(f, Kind::Host, "jonesmorgan-mail"));
    assert_eq!(f.t_alert, time("2022-01-17T09:58:30Z"));
    let sudo = read.alerts.iter().find(|(_, f)| s(&f.command_line).contains("/etc/shadow")).expect("sudo alert");
    assert_eq!(s(&sudo.1.user), "phopkins");
}

#[test]
fn wazuh_other_files() {
    let Some(data) = data() else { return };
    let read = read_file(&data.join("wazuh/syslog_short.log"));
    assert_eq!((read.records, read.alerts.len()), (50, 50));
    assert_eq!(rate(&read, |f| s(&f.host) == "host01"), 100);
    let (format, f) = &read.alerts[1];
    assert_eq!((format.as_str(), s(&f.user), f.src_ip), ("syslog", "admin", ip("198.51.100.42")));
    assert_eq!((f.severity, s(&f.process), f.src_port), (Severity::Unknown, "sshd", Some(51235)));
    let read = read_file(&data.join("wazuh/test_log.log"));
    assert_eq!((read.records, read.dead.len()), (23, 23));
    assert!(read.dead[0].contains("syslog line, found text that starts with `2019-07-16"), "{}", read.dead[0]);
    let read = read_file(&data.join("wazuh/vd_first_windows.json"));
    assert_eq!((read.records, read.alerts.len()), (1, 1));
    assert_eq!(read.alerts[0].1.severity, Severity::Informational);
}

#[test]
fn aminer_anomalies() {
    let Some(data) = data() else { return };
    let read = read_file(&data.join("ait-llm-verdict/aminer_labelled.ndjson"));
    assert_eq!((read.records, read.alerts.len()), (65, 65));
    let (format, f) = &read.alerts[0];
    assert_eq!((format.as_str(), f.title.expose()), ("aminer", "AMiner: High entropy in DNS domain."));
    assert_eq!((f.severity, s(&f.host), s(&f.rule_id)), (Severity::Unknown, "192.168.255.254", "30"));
    assert!(has(f, Kind::Domain, "youtu.be") && has(f, Kind::Ip, "8.8.8.8"));
    assert_eq!(f.t_event, time("2022-01-17T09:26:33Z"));
    assert_eq!(rate(&read, |f| f.rule_name.is_some() && f.t_alert.is_some()), 100);
    assert!(read.alerts.iter().any(|(_, f)| f.confidence == Some(99)));
}

#[test]
fn a_wrapper_is_taken_off_for_reading_only() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("ait-llm-verdict/wazuh_labelled.ndjson")).expect("readable");
    let first = &split(&bytes, 4096)[0];
    assert!(first.bytes.starts_with(b"{\"label\""));
    let leaves = format::leaves("wazuh", &first.bytes);
    assert!(leaves.iter().all(|l| !l.path.expose().starts_with("label") && !l.path.expose().starts_with("phase")));
    assert!(leaves.iter().any(|l| l.path.expose() == "rule.mitre.id[0]" && l.value.expose() == "T1078"));
}

#[test]
fn suricata_events() {
    let Some(data) = data() else { return };
    for (file, count) in [("first-org-conf-2015.ndjson", 136), ("honeypot-2018.ndjson", 44)] {
        let read = read_file(&data.join("suricata-eve").join(file));
        assert_eq!((read.records, read.alerts.len(), read.dead.len()), (count, count, 0));
        assert_eq!(rate(&read, |f| f.src_ip.is_some() && f.dst_ip.is_some() && f.rule_id.is_some()), 100);
        assert_eq!(rate(&read, |f| f.severity != Severity::Unknown && f.t_event.is_some()), 100);
        let (format, f) = &read.alerts[0];
        assert_eq!((format.as_str(), f.title.expose()), ("suricata", "ET SCAN Potential SSH Scan"));
        assert_eq!((s(&f.rule_id), f.severity, f.dst_port), ("2001219", Severity::Medium, Some(22)));
    }
}

#[test]
fn the_ecs_document() {
    let Some(data) = data() else { return };
    let read = read_file(&data.join("ecs/suricata_alert_ecs.json"));
    assert_eq!((read.records, read.alerts.len()), (1, 1));
    let (format, f) = &read.alerts[0];
    assert_eq!((format.as_str(), f.title.expose()), ("ecs", "ET POLICY curl User-Agent Outbound"));
    assert_eq!((f.severity, s(&f.rule_id), s(&f.product)), (Severity::Medium, "2013028", "Suricata"));
    assert_eq!((f.src_ip, f.src_port), (ip("192.168.1.146"), Some(32858)));
    assert_eq!((f.dst_ip, f.dst_port), (ip("89.160.20.112"), Some(80)));
    assert_eq!((f.t_event, f.t_alert), (time("2018-10-03T14:42:44.836Z"), time("2020-04-28T11:07:58.223Z")));
    assert!(has(f, Kind::Domain, "example.net"));
}

#[test]
fn windows_events() {
    let Some(data) = data() else { return };
    let mut read = Read { records: 0, dead: Vec::new(), alerts: Vec::new() };
    for entry in std::fs::read_dir(data.join("otrf-windows/events")).expect("folder") {
        let one = read_file(&entry.expect("entry").path());
        read.records += one.records;
        read.dead.extend(one.dead);
        read.alerts.extend(one.alerts);
    }
    assert_eq!((read.records, read.alerts.len(), read.dead.len()), (1836, 1836, 0));
    assert!(read.alerts.iter().all(|(format, _)| format == "windows"));
    assert_eq!(rate(&read, |f| f.host.is_some() && f.rule_id.is_some()), 100);
    assert!(rate(&read, |f| f.t_event.is_some()) == 100);
    assert!(rate(&read, |f| f.rule_name.is_some()) >= 95, "{}", rate(&read, |f| f.rule_name.is_some()));
    assert!(rate(&read, |f| f.process.is_some()) >= 80, "{}", rate(&read, |f| f.process.is_some()));
    let psexec = std::fs::read(data.join("otrf-windows/events/cmd_psexec_lsa_secrets_dump.ndjson")).expect("file");
    let psexec = read_bytes(&psexec);
    let created = psexec.alerts.iter().map(|(_, f)| f).find(|f| s(&f.rule_id) == "Sysmon-1").expect("process creation");
    assert_eq!(s(&created.rule_name), "Process created");
    assert!(!s(&created.command_line).is_empty() && s(&created.user).contains("wardog"));
    assert!(created.observables.iter().any(|o| o.kind == Kind::Sha1));
    let net = psexec.alerts.iter().map(|(_, f)| f).find(|f| s(&f.rule_id) == "Sysmon-3").expect("connection");
    assert!(net.src_ip.is_some() && net.dst_port == Some(445));
}

#[test]
fn evtx_events_of_sigma() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("sigma/regression_events.ndjson")).expect("file");
    let mut reader = Reader::auto();
    let mut count = 0;
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let value: serde_json::Value = serde_json::from_slice(line).expect("json");
        for event in value["events"].as_array().expect("events") {
            let (format, alerts) = reader.read(event.to_string().as_bytes()).expect("reads");
            let f = &alerts[0];
            assert_eq!(format, "windows");
            assert!(f.host.is_some() && f.rule_name.is_some() && f.t_event.is_some() && f.source_id.is_some());
            assert!(f.process.is_some() || s(&f.rule_id) != "Sysmon-1");
            count += 1;
        }
    }
    assert_eq!(count, 79);
}

#[test]
fn defender_alerts() {
    let Some(data) = data() else { return };
    let read = read_file(&data.join("secrl-alerts/alerts.ndjson"));
    assert_eq!((read.records, read.alerts.len(), read.dead.len()), (64, 64, 0));
    assert!(read.alerts.iter().all(|(format, _)| format == "defender"));
    assert_eq!(rate(&read, |f| f.severity != Severity::Unknown && f.rule_id.is_some() && f.source_id.is_some()), 100);
    assert_eq!(rate(&read, |f| f.t_event.is_some() && f.t_alert.is_some()), 100);
    assert_eq!(rate(&read, |f| f.host.is_some() || f.user.is_some()), 100);
    let (_, f) = &read.alerts[0];
    assert_eq!(f.title.expose(), "Suspicious System Hardware Discovery");
    assert_eq!((f.severity, s(&f.host)), (Severity::Low, "mb-winclient.internal.niseko.alpineskihouse.co"));
    assert_eq!(s(&f.user), "bjenkins@niseko.alpineskihouse.co");
    assert_eq!(f.techniques, ["T1047", "T1082", "T1497", "T1497.001"]);
    assert!(!s(&f.process).is_empty() && !s(&f.command_line).is_empty());
    assert!(has(f, Kind::Sha1, "e4e3f6bbad17b41a42687b3d75ade4a10b0870ec"));
    assert!(has(f, Kind::Ip, "72.5.72.208"));
    assert_eq!(f.t_event, time("2024-07-02T09:47:31.784654Z"));
}

#[test]
fn defender_columns_that_hold_json_as_text() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("secrl-alerts/alerts.ndjson")).expect("file");
    let mut reader = Reader::auto();
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let mut value: serde_json::Value = serde_json::from_slice(line).expect("json");
        let (_, as_tree) = reader.read(line).expect("reads");
        for column in ["Entities", "ExtendedProperties"] {
            value[column] = value[column].to_string().into();
        }
        let (_, as_text) = reader.read(value.to_string().as_bytes()).expect("reads");
        assert_eq!(as_tree, as_text);
    }
}

#[test]
fn ocsf_files() {
    let Some(data) = data() else { return };
    let mut stack = vec![data.join("ocsf")];
    let mut findings = 0;
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(std::fs::read_dir(&path).expect("folder").map(|e| e.expect("entry").path()));
            continue;
        }
        let bytes = std::fs::read(&path).expect("file");
        let ocsf = String::from_utf8_lossy(&bytes).contains("\"class_uid\"");
        let read = read_bytes(&bytes);
        if !ocsf {
            continue;
        }
        // Three of the published samples are broken JSON.
        for dead in &read.dead {
            assert!(dead.contains("broken JSON"), "{}: {dead}", path.display());
            assert!(read.dead.len() == 1, "{}: {:?}", path.display(), read.dead);
        }
        for (format, f) in &read.alerts {
            assert_eq!(format, "ocsf", "{}", path.display());
            assert!(!f.title.is_empty() && f.t_event.is_some(), "{}", path.display());
        }
        findings += read.alerts.iter().filter(|(_, f)| f.t_alert.is_some()).count();
    }
    assert_eq!(findings, 3);
    let read = read_file(&data.join("ocsf/IBM/QRadar_SIEM/samples/offense.ocsf"));
    let (_, f) = &read.alerts[0];
    assert_eq!((f.severity, s(&f.rule_id)), (Severity::High, "100079"));
    assert_eq!((s(&f.rule_name), f.src_ip), ("Network DoS Attack Detected", ip("99.99.99.99")));
    assert_eq!((f.confidence, s(&f.source_id)), (Some(60), "591"));
    let read = read_file(&data.join("ocsf/AWS/v1.1.0/Security_Hub/Vulnerability_Finding/samples/inspector.ocsf"));
    let (_, f) = &read.alerts[0];
    assert_eq!((f.title.expose(), f.severity), ("CVE-2023-1255 - openssl", Severity::Medium));
    assert_eq!(s(&f.rule_id), "CVE-2023-1255");
    let read = read_file(&data.join("ocsf/AWS/v1.1.0/Security_Hub/Compliance_Finding/samples/sechub-pci.ocsf"));
    let (_, f) = &read.alerts[0];
    assert_eq!((s(&f.rule_id), s(&f.product)), ("Config.1", "Security Hub"));
}

#[test]
fn ocsf_detection_findings_of_several_versions() {
    for version in ["1.0.0", "1.1.0", "1.3.0", "1.5.0", "1.8.0"] {
        let attacks = match version {
            "1.0.0" => r#"[{"technique":{"uid":"T1059"},"tactics":[{"uid":"TA0002"}],"version":"12.1"}]"#,
            _ => r#"[{"technique":{"uid":"T1059"},"sub_technique":{"uid":"T1059.001"},"version":"12.1"}]"#,
        };
        let record = format!(
            r#"{{"class_uid":2004,"category_uid":2,"activity_id":1,"severity_id":5,"severity":"Critical","time":1700000000000,
            "metadata":{{"version":"{version}","product":{{"name":"Acme XDR","vendor_name":"Acme"}},"uid":"evt-1"}},
            "confidence_score":87,"finding_info":{{"uid":"f-1","title":"Encoded PowerShell","created_time":1700000001000,
            "attacks":{attacks},"analytic":{{"uid":"r-9","name":"PS encoded","type_id":1}}}},
            "evidences":[{{"actor":{{"user":{{"name":"bob"}},"process":{{"cmd_line":"explorer.exe"}}}},
            "process":{{"name":"powershell.exe","cmd_line":"powershell -enc AAAA","file":{{"path":"C:\\ps.exe",
            "hashes":[{{"algorithm_id":3,"value":"{hash}"}}]}}}},
            "src_endpoint":{{"ip":"10.1.1.1","port":5555}},"dst_endpoint":{{"ip":"203.0.113.9","port":443}}}}],
            "device":{{"hostname":"ws-7","ip":"10.1.1.1"}}}}"#,
            hash = "a".repeat(64),
        );
        let (format, f) = one(&record);
        assert_eq!((format.as_str(), f.title.expose()), ("ocsf", "Encoded PowerShell"));
        assert_eq!((f.severity, f.confidence, s(&f.rule_id)), (Severity::Critical, Some(87), "r-9"));
        assert_eq!((s(&f.host), s(&f.user), s(&f.command_line)), ("ws-7", "bob", "powershell -enc AAAA"));
        assert_eq!((f.dst_ip, f.dst_port), (ip("203.0.113.9"), Some(443)));
        assert!(f.techniques.contains(&"T1059".to_owned()) && has(&f, Kind::Sha256, &"a".repeat(64)));
        assert_eq!((s(&f.source_id), s(&f.source_severity)), ("f-1", "severity Critical (5)"));
    }
}

#[test]
fn a_cef_field_that_says_nothing_is_absent() {
    let line = "CEF:0|Acme|Shield|1.0|100|Worm stopped|8|src=10.0.0.1 cs1Label=Command Line cs1= suser=bob";
    let (_, alerts) = Reader::auto().read(line.as_bytes()).unwrap();
    assert_eq!(alerts[0].command_line, None);
}

#[test]
fn cef_lines() {
    let line = r"<134>Feb 12 10:00:01 fw1 CEF:0|Acme|Shield\|Pro|1.0|100|Worm \\ stopped|8|src=10.0.0.1 dst=2.1.2.2 spt=1232 dpt=80 suser=bob dhost=web-1 fname=C:\tmp\x.exe request=http://evil.example/a?b\=c cs1Label=MITRE Technique cs1=T1059.001 rt=Feb 12 2024 10:00:00 externalId=77 msg=two words";
    let (format, f) = one(line);
    assert_eq!((format.as_str(), s(&f.product)), ("cef", "Acme Shield|Pro"));
    assert_eq!((f.title.expose(), f.severity), ("Worm \\ stopped", Severity::High));
    assert_eq!((s(&f.rule_id), s(&f.host), s(&f.user)), ("100", "web-1", "bob"));
    assert_eq!((f.src_ip, f.src_port, f.dst_port), (ip("10.0.0.1"), Some(1232), Some(80)));
    assert_eq!((f.techniques.as_slice(), s(&f.source_id)), (&["T1059.001".to_owned()][..], "77"));
    assert!(has(&f, Kind::Url, "http://evil.example/a?b=c") && has(&f, Kind::Domain, "evil.example"));
    assert_eq!(f.t_event, time("2024-02-12T10:00:00Z"));
    let leaves = format::leaves("cef", line.as_bytes());
    assert!(leaves.iter().any(|l| l.path.expose() == "msg" && l.value.expose() == "two words"));
    assert!(leaves.iter().any(|l| l.path.expose() == "host" && l.value.expose() == "fw1"));
    let (_, f) = one("CEF:1|A|B|1|9|Name|Very-High|");
    assert_eq!(f.severity, Severity::Critical);
}

#[test]
fn leef_lines() {
    let one_tab = "LEEF:1.0|Acme|IDS|4|4000|src=192.0.2.0\tdst=172.50.123.1\tsev=5\tcat=anomaly\tsrcPort=81\tusrName=joe\tdevTime=Jan 18 2022 12:06:41";
    let (format, f) = one(one_tab);
    assert_eq!((format.as_str(), f.severity, s(&f.rule_id)), ("leef", Severity::Medium, "4000"));
    assert_eq!((f.src_ip, f.src_port, s(&f.user)), (ip("192.0.2.0"), Some(81), "joe"));
    assert_eq!(f.t_event, time("2022-01-18T12:06:41Z"));
    for (delimiter, c) in [("^", '^'), ("x5E", '^'), ("0x7c", '|'), ("\\x09", '\t'), ("", '\t')] {
        let line = format!(
            "LEEF:2.0|Acme|IDS|4|4000|{delimiter}|src=192.0.2.7{c}sev=9{c}usrName=joe smith{c}identHostName=h1"
        );
        let (_, f) = one(&line);
        assert_eq!((f.src_ip, f.severity), (ip("192.0.2.7"), Severity::Critical), "{line}");
        assert_eq!((s(&f.user), s(&f.host)), ("joe smith", "h1"), "{line}");
    }
    let (format, f) = one("<13>1 2024-01-01T00:00:00Z qr1 - - - - LEEF:2.0|A|B|1|e|^|sev=1^dst=10.0.0.1");
    assert_eq!((format.as_str(), s(&f.host), f.dst_ip), ("leef", "qr1", ip("10.0.0.1")));
}

#[test]
fn syslog_lines() {
    let line = r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 8710 ID47 [exampleSDID@32473 iut="3" eventSource="App\"li\]c" ip="10.0.0.7"][x@1 user="eve"] An application event"#;
    let (format, f) = one(line);
    assert_eq!((format.as_str(), f.title.expose()), ("syslog", "evntslog: An application event"));
    assert_eq!((s(&f.host), s(&f.process), s(&f.rule_id)), ("mymachine.example.com", "evntslog", "ID47"));
    assert_eq!((f.severity, s(&f.source_severity)), (Severity::Informational, "local4.notice"));
    assert_eq!((f.src_ip, s(&f.user), f.t_event), (ip("10.0.0.7"), "eve", time("2003-10-11T22:14:15.003Z")));
    let leaves = format::leaves("syslog", line.as_bytes());
    let source = leaves.iter().find(|l| l.path.expose().contains("eventSource")).expect("structured data");
    assert_eq!(source.value.expose(), "App\"li]c");
    let (_, f) = one("<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8");
    assert_eq!((f.severity, s(&f.host), s(&f.process)), (Severity::High, "mymachine", "su"));
    let (_, f) = one("<189>24: *Mar  1 18:46:11: %SYS-5-CONFIG_I: Configured from console by vty0 (10.34.195.36)");
    assert_eq!((f.title.expose(), s(&f.rule_id)), ("Configured from console by vty0 (10.34.195.36)", "CONFIG_I"));
    assert_eq!(s(&f.product), "Cisco SYS");
    let eve = r#"<13>Jan  2 03:50:11 sensor suricata[9]: {"timestamp":"2019-01-02T03:50:11.315110","event_type":"alert","src_ip":"8.42.77.171","dest_ip":"138.68.3.71","proto":"TCP","alert":{"signature":"ET SCAN","signature_id":1,"severity":1}}"#;
    let (format, f) = one(eve);
    assert_eq!((format.as_str(), f.title.expose(), f.severity), ("syslog", "ET SCAN", Severity::High));
    assert_eq!((s(&f.host), f.src_ip), ("sensor", ip("8.42.77.171")));
    let mut forced = Reader::new(Some("syslog"), &BTreeMap::new()).expect("known");
    let (_, alerts) = forced.read(b"2019-07-16 09:21:56 status unpacked python3-pip").expect("any text");
    assert_eq!(alerts[0].title.expose(), "2019-07-16 09:21:56 status unpacked python3-pip");
}

#[test]
fn an_alertmanager_body_holds_many_alerts() {
    let body = r#"{"receiver":"soc","status":"firing","version":"4","groupKey":"{}:{}","truncatedAlerts":0,
      "commonLabels":{"cluster":"prod"},"commonAnnotations":{"summary":"Something is odd"},"alerts":[
      {"status":"firing","labels":{"alertname":"HighErrorRate","severity":"critical","instance":"web-1:9100","mitre_technique":"T1499"},
       "annotations":{"summary":"5xx over 5 %"},"startsAt":"2024-03-01T10:00:00.5Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"abc"},
      {"status":"resolved","labels":{"alertname":"Watchdog","severity":"none","instance":"10.0.0.3:9090"},
       "startsAt":"2024-03-01T09:00:00Z","endsAt":"2024-03-01T09:30:00Z","fingerprint":"def"}]}"#;
    let read = read_bytes(body.as_bytes());
    assert_eq!((read.records, read.alerts.len()), (1, 2));
    let (format, f) = &read.alerts[0];
    assert_eq!((format.as_str(), f.title.expose(), s(&f.host)), ("alertmanager", "5xx over 5 %", "web-1"));
    assert_eq!((f.severity, s(&f.rule_id)), (Severity::Critical, "HighErrorRate"));
    assert_eq!((s(&f.source_id), f.techniques.len()), ("abc@2024-03-01T10:00:00.5Z", 1));
    let (_, f) = &read.alerts[1];
    assert_eq!((f.title.expose(), s(&f.host)), ("Something is odd", "10.0.0.3"));
    assert_eq!((f.severity, s(&f.source_severity)), (Severity::Informational, "severity none, resolved"));
    assert!(s(&f.source_id).ends_with("/resolved"));
}

#[test]
fn hayabusa_detections() {
    let pretty = r#"{
    "Timestamp": "2021-12-23 00:00:00.000 +09:00",
    "RuleTitle": "Suspicious Service Path",
    "Level": "high",
    "Computer": "ws-1",
    "Channel": "Sys",
    "EventID": 7045,
    "MitreTags": ["T1543.003"],
    "RecordID": 4711,
    "Details": { "Svc": "evil", "Path": "C:\\tmp\\evil.exe", "User": "LocalSystem" },
    "ExtraFieldInfo": { "SrcIP": "10.0.0.9" },
    "RuleID": "ab-1"
}"#;
    let (format, f) = one(pretty);
    assert_eq!((format.as_str(), f.title.expose(), s(&f.host)), ("hayabusa", "Suspicious Service Path", "ws-1"));
    assert_eq!((f.severity, s(&f.user), f.src_ip), (Severity::High, "LocalSystem", ip("10.0.0.9")));
    assert_eq!((f.t_event, f.techniques.as_slice()), (time("2021-12-22T15:00:00Z"), &["T1543.003".to_owned()][..]));
    assert!(has(&f, Kind::File, "C:\\tmp\\evil.exe"));
    let read = read_bytes(format!("{pretty}\n{pretty}\n").as_bytes());
    assert_eq!((read.records, read.alerts.len()), (2, 2));
    let line = r#"{"Timestamp":"2021-12-23 00:00:00.000 +00:00","RuleTitle":"Proc Exec","Level":"info","Computer":"w","Channel":"Sysmon","EventID":1,"RecordID":"9","Details":"Cmdline: cmd /c whoami ¦ Proc: C:\\cmd.exe ¦ User: W\\bob ¦ Hashes: MD5=0123456789abcdef0123456789abcdef"}"#;
    let (_, f) = one(line);
    assert_eq!((s(&f.command_line), s(&f.process), s(&f.user)), ("cmd /c whoami", "C:\\cmd.exe", "W\\bob"));
    assert!(f.severity == Severity::Informational && has(&f, Kind::Md5, "0123456789abcdef0123456789abcdef"));
}

#[test]
fn security_analytics_findings_and_alerts() {
    let finding = r#"{"id":"f1","schema_version":4,"related_doc_ids":["d1"],"monitor_id":"m","monitor_name":"windows-detector","index":"win-1",
      "queries":[{"id":"r1","name":"r1","query":"EventID: 1","tags":["low","windows","attack.execution","attack.t1059"],"fields":[]},
                 {"id":"r2","name":"r2","query":"x","tags":["high","attack.t1003.001"],"fields":[]}],"timestamp":1700000000000,
      "document_list":[{"index":"win-1","id":"d1","found":true,"document":"{\"host\":{\"name\":\"dc1\"},\"user\":{\"name\":\"eve\"},\"source\":{\"ip\":\"10.0.0.4\"}}"}]}"#;
    let (format, f) = one(finding);
    assert_eq!((format.as_str(), f.severity, s(&f.rule_id)), ("opensearch_sa", Severity::High, "r1"));
    assert_eq!((s(&f.host), s(&f.user), f.src_ip), ("dc1", "eve", ip("10.0.0.4")));
    assert_eq!(f.techniques, ["T1059", "T1003.001"]);
    let alert = r#"{"id":"a1","schema_version":4,"monitor_id":"m","monitor_name":"windows-detector","severity":"1","trigger_id":"t","trigger_name":"Credential access","finding_ids":["f1"],"related_doc_ids":["d1|win-1"],"state":"ACTIVE","start_time":1700000000000,"alert_history":[]}"#;
    let (format, f) = one(alert);
    assert_eq!((format.as_str(), f.severity), ("opensearch_sa", Severity::Critical));
    assert_eq!((f.title.expose(), s(&f.source_id)), ("windows-detector: Credential access", "a1"));
    let answer = format!(r#"{{"alerts":[{alert},{alert}],"total_alerts":2,"detectorType":"windows"}}"#);
    assert_eq!(read_bytes(answer.as_bytes()).alerts.len(), 2);
    let correlation = r#"{"id":"c1","correlated_finding_ids":["f1","f2"],"correlation_rule_id":"cr","correlation_rule_name":"Brute force then login","severity":"2","state":"ACTIVE","trigger_name":"t","start_time":"2024-01-01T00:00:00Z"}"#;
    let (_, f) = one(correlation);
    assert_eq!((f.severity, s(&f.rule_name)), (Severity::High, "Brute force then login"));
    let hits = format!(
        r#"{{"took":3,"hits":{{"total":{{"value":2}},"hits":[{{"_index":"i","_id":"x1","_source":{alert}}},
      {{"_index":"i","_id":"x2","_source":{finding}}}]}},"aggregations":{{}}}}"#
    );
    let read = read_bytes(hits.as_bytes());
    assert_eq!((read.records, read.alerts.len()), (2, 2), "{:?}", read.dead);
}

#[test]
fn windows_json_in_its_other_forms() {
    let named = r##"{"Event":{"System":{"Provider":{"@Name":"Microsoft-Windows-Sysmon"},"EventID":{"#text":"3"},"Level":"4","TimeCreated":{"@SystemTime":"2024-01-01T00:00:00Z"},"EventRecordID":"5","Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"w1"},
      "EventData":{"Data":[{"@Name":"Image","#text":"C:\\a.exe"},{"@Name":"DestinationIp","#text":"203.0.113.1"},{"@Name":"User","#text":"W\\bob"}]}}}"##;
    let (format, f) = one(named);
    assert_eq!((format.as_str(), s(&f.rule_id), s(&f.process)), ("windows", "Sysmon-3", "C:\\a.exe"));
    assert_eq!((f.dst_ip, s(&f.user), s(&f.host)), (ip("203.0.113.1"), "W\\bob", "w1"));
    let beat = r#"{"@timestamp":"2024-01-01T00:00:00Z","ecs":{"version":"8.0"},"event":{"kind":"event","code":"4625"},"log":{"level":"information"},"host":{"name":"dc1"},"message":"An account failed to log on.",
      "winlog":{"channel":"Security","provider_name":"Microsoft-Windows-Security-Auditing","event_id":"4625","computer_name":"dc1.corp","record_id":9,"event_data":{"TargetUserName":"eve","IpAddress":"10.9.9.9","IpPort":"0","SubjectUserName":"-"}}}"#;
    let (format, f) = one(beat);
    assert_eq!((format.as_str(), s(&f.rule_id), s(&f.rule_name)), ("windows", "Security-4625", "Logon failed"));
    assert_eq!((s(&f.user), f.src_ip, f.src_port), ("eve", ip("10.9.9.9"), None));
    assert_eq!((f.severity, s(&f.host)), (Severity::Informational, "dc1.corp"));
}

#[test]
fn elastic_security_alerts_nested_and_flat() {
    let flat = r#"{"@timestamp":"2024-05-01T10:00:05Z","kibana.alert.rule.name":"Mimikatz","kibana.alert.rule.rule_id":"rid","kibana.alert.severity":"critical","kibana.alert.risk_score":99,"kibana.alert.uuid":"u1","kibana.alert.original_time":"2024-05-01T10:00:00Z","host.name":"w9","user.name":"bob","process.executable":"C:\\m.exe","process.args":["m.exe","sekurlsa"],"threat.technique.id":["T1003"],"file.hash.sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709","event.kind":"signal"}"#;
    let (format, f) = one(flat);
    assert_eq!((format.as_str(), f.title.expose(), f.severity), ("ecs", "Mimikatz", Severity::Critical));
    assert_eq!((s(&f.host), s(&f.user), s(&f.command_line)), ("w9", "bob", "m.exe sekurlsa"));
    assert_eq!((f.techniques.len(), s(&f.source_id)), (1, "u1"));
    assert_eq!((f.t_event, f.t_alert), (time("2024-05-01T10:00:00Z"), time("2024-05-01T10:00:05Z")));
    assert!(has(&f, Kind::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"));
    let signal = r#"{"@timestamp":"2024-05-01T10:00:05Z","signal":{"rule":{"name":"Old","id":"1","severity":"low","threat":[{"tactic":{"id":"TA0006"},"technique":[{"id":"T1110","subtechnique":[{"id":"T1110.003"}]}]}]}},"event":{"kind":"signal"},"host":{"name":"h"}}"#;
    let (_, f) = one(signal);
    assert_eq!(
        (f.severity, f.techniques.as_slice()),
        (Severity::Low, &["T1110".to_owned(), "T1110.003".to_owned()][..])
    );
}

#[test]
fn unknown_and_broken_records_say_why() {
    let mut reader = Reader::auto();
    let why = |reader: &mut Reader, bytes: &[u8]| reader.read(bytes).expect_err("dead").to_string();
    assert!(why(&mut reader, br#"{"foo":1,"bar":2}"#).contains("keys foo, bar"));
    assert!(why(&mut reader, br#"{"rule":{"level":3,}"#).contains("broken JSON at byte 19 of 20: expected a key"));
    assert!(why(&mut reader, b"hello").contains("starts with `hello`"));
    assert!(why(&mut reader, b"").contains("starts with ``"));
    assert!(
        why(&mut reader, "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()).len()
            > 10
    );
    assert!(Reader::new(Some("wazhu"), &BTreeMap::new()).err().expect("unknown").contains("nearest is `wazuh`"));
    assert!(Reader::new(Some("generic"), &BTreeMap::new()).err().expect("no map").contains("field map"));
}

#[test]
fn a_field_map_reads_what_no_format_knows() {
    let map: BTreeMap<String, String> =
        [("title", "what"), ("host", "where")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let maps = BTreeMap::from([("acme".to_owned(), map)]);
    for format in [None, Some("acme"), Some("generic"), Some("generic:acme")] {
        let mut reader = Reader::new(format, &maps).expect("good");
        let (format, alerts) = reader.read(br#"{"what":"Door open","where":"lab"}"#).expect("reads");
        assert_eq!((format.as_str(), s(&alerts[0].host)), ("generic:acme", "lab"));
    }
    assert_eq!(format::leaves("generic:acme", br#"{"what":"Door open"}"#).len(), 1);
}
