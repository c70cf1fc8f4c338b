//! One record of every format, with as many of its fields filled as the format has.

/// Format id and record.
pub fn all() -> Vec<(&'static str, &'static str)> {
    vec![
        ("wazuh", WAZUH),
        ("suricata", SURICATA),
        ("aminer", AMINER),
        ("ecs", ECS),
        ("ocsf", OCSF),
        ("windows", WINDOWS_FLAT),
        ("windows", WINDOWS_EVTX),
        ("windows", WINDOWS_BEAT),
        ("hayabusa", HAYABUSA),
        ("alertmanager", ALERTMANAGER),
        ("defender", DEFENDER),
        ("opensearch_sa", SA_FINDING),
        ("opensearch_sa", SA_ALERT),
        ("opensearch_sa", SA_CORRELATION),
        ("cef", CEF),
        ("leef", LEEF),
        ("syslog", SYSLOG_3164),
        ("syslog", SYSLOG_5424),
    ]
}

pub const WAZUH: &str = r#"{"timestamp":"2025-09-22T11:13:22.359+0000","rule":{"level":12,"description":"First time user executed sudo.","id":"5403","mitre":{"id":["T1548.003"],"tactic":["Privilege Escalation"]},"groups":["syslog","sudo"]},"agent":{"id":"002","name":"videoserver","ip":"172.17.100.121"},"manager":{"name":"wazuh"},"id":"1758539602.11495177","full_log":"Sep 22 11:13:21 videoserver sudo: www-data : TTY=pts/0 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/dmesg -H","predecoder":{"program_name":"sudo","timestamp":"Sep 22 11:13:21","hostname":"relay"},"data":{"srcuser":"www-data","dstuser":"root","srcip":"192.0.2.1","dstip":"192.0.2.2:443","command":"/usr/bin/dmesg -H","url":"/x","win":{"system":{"computer":"w1"},"eventdata":{"image":"C:\\a.exe","hashes":"SHA1=DA39A3EE5E6B4B0D3255BFEF95601890AFD80709","targetObject":"HKLM\\x"}}},"syscheck":{"path":"/etc/passwd","sha1_after":"da39a3ee5e6b4b0d3255bfef95601890afd80709"},"location":"/var/log/auth.log"}"#;

pub const SURICATA: &str = r#"{"timestamp":"2015-03-29T11:01:38.221126-0600","flow_id":1,"event_type":"alert","src_ip":"222.186.56.46","src_port":4904,"dest_ip":"192.168.0.2","dest_port":22,"proto":"TCP","host":"sensor-1","alert":{"signature_id":2001219,"signature":"ET SCAN Potential SSH Scan","category":"Attempted Information Leak","severity":2,"metadata":{"mitre_technique_id":["T1110"],"confidence":["High"]}},"http":{"hostname":"evil.example","url":"/a"},"dns":{"query":[{"rrname":"q.example"}]},"tls":{"sni":"s.example"},"fileinfo":{"filename":"/f.bin","sha256":"aa"},"email":{"from":"a@b.example","to":["c@d.example"]}}"#;

pub const AMINER: &str = r#"{"AnalysisComponent":{"AnalysisComponentIdentifier":30,"AnalysisComponentType":"EntropyDetector","AnalysisComponentName":"AMiner: High entropy","Message":"Value entropy anomaly","AffectedLogAtomPaths":["/model/domain"],"AffectedLogAtomValues":["youtu.be"]},"LogData":{"RawLogData":["Jan 17 09:26:33 dnsmasq[14460]: forwarded youtu.be to 8.8.8.8"],"Timestamps":[1642411593],"DetectionTimestamp":[1642411593],"LogResources":["/var/log/dnsmasq.log"]},"AMiner":{"ID":"192.168.255.254"}}"#;

pub const ECS: &str = r#"{"@timestamp":"2024-05-01T10:00:05Z","ecs":{"version":"8.11.0"},"event":{"kind":"alert","id":"e1","severity":2,"module":"suricata"},"rule":{"id":"7","name":"Bad thing"},"host":{"name":"w9"},"user":{"name":"bob"},"process":{"executable":"/bin/sh","command_line":"sh -c id","hash":{"md5":"d41d8cd98f00b204e9800998ecf8427e"}},"source":{"ip":"192.0.2.1","port":1},"destination":{"ip":"192.0.2.2","port":2,"domain":"d.example"},"url":{"full":"http://u.example/x"},"file":{"path":"/tmp/f"},"registry":{"path":"HKLM\\x"},"email":{"from":{"address":"a@b.example"}},"threat":{"technique":{"id":["T1003"]}},"related":{"user":["eve"],"hosts":["h2.example"],"ip":["192.0.2.3"],"hash":["aa"]},"message":"m"}"#;

pub const OCSF: &str = r#"{"class_uid":2004,"category_uid":2,"severity_id":5,"severity":"Critical","time":1700000000000,"metadata":{"version":"1.5.0","product":{"name":"Acme XDR"},"uid":"evt-1"},"finding_info":{"uid":"f-1","title":"Encoded PowerShell","attacks":[{"technique":{"uid":"T1059"}}],"analytic":{"uid":"r-9","name":"PS encoded"}},"evidences":[{"actor":{"user":{"name":"bob"}},"process":{"name":"powershell.exe","cmd_line":"powershell -enc AAAA","file":{"path":"C:\\ps.exe","hashes":[{"value":"aa"}]}},"src_endpoint":{"ip":"10.1.1.1"},"dst_endpoint":{"ip":"203.0.113.9","hostname":"c2.example"},"url":{"url_string":"http://c2.example/"}}],"device":{"hostname":"ws-7"},"observables":[{"name":"x","type_id":21,"value":"eve"}],"resources":[{"name":"bucket","uid":"arn"}]}"#;

pub const WINDOWS_FLAT: &str = r#"{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","SourceName":"Microsoft-Windows-Sysmon","Hostname":"WS5","UtcTime":"2020-10-19 07:30:42.056","Level":"4","RecordNumber":7,"Image":"C:\\cmd.exe","CommandLine":"cmd /c whoami","User":"WS5\\bob","Hashes":"SHA1=DA39A3EE5E6B4B0D3255BFEF95601890AFD80709","ParentImage":"C:\\explorer.exe","TargetFilename":"C:\\x","TargetObject":"HKU\\x","RuleName":"technique_id=T1059,technique_name=x","QueryName":"q.example","SourceIp":"192.0.2.1","DestinationIp":"192.0.2.2","Message":"Process Create"}"#;

pub const WINDOWS_EVTX: &str = r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Windows Defender"}},"EventID":1116,"Level":3,"TimeCreated":{"#attributes":{"SystemTime":"2025-12-06T21:11:02.649150Z"}},"EventRecordID":67583,"Channel":"Microsoft-Windows-Windows Defender/Operational","Computer":"host"},"EventData":{"Threat Name":"Trojan:Win32/X","Severity Name":"Severe","Path":"file:_C:\\x.exe","Process Name":"C:\\y.exe","Detection User":"W\\bob"}}}"##;

pub const WINDOWS_BEAT: &str = r#"{"@timestamp":"2024-01-01T00:00:00Z","host":{"name":"dc1"},"message":"An account failed to log on.","winlog":{"channel":"Security","provider_name":"Microsoft-Windows-Security-Auditing","event_id":"4625","computer_name":"dc1.corp","record_id":9,"event_data":{"TargetUserName":"eve","IpAddress":"10.9.9.9","WorkstationName":"WS1"}}}"#;

pub const HAYABUSA: &str = r#"{"Timestamp":"2021-12-23 00:00:00.000 +09:00","RuleTitle":"Suspicious Service Path","Level":"high","Computer":"ws-1","Channel":"Sys","EventID":7045,"MitreTags":["T1543.003"],"RecordID":4711,"Details":{"Svc":"evil","Path":"C:\\tmp\\evil.exe","User":"LocalSystem","Cmdline":"x","Proc":"p"},"ExtraFieldInfo":{"SrcIP":"10.0.0.9"},"RuleID":"ab-1"}"#;

pub const ALERTMANAGER: &str = r#"{"receiver":"soc","status":"firing","version":"4","groupKey":"k","commonLabels":{"cluster":"prod"},"commonAnnotations":{"summary":"Something is odd"},"alerts":[{"status":"firing","labels":{"alertname":"HighErrorRate","severity":"critical","instance":"web-1:9100","user":"bob","process":"nginx","job":"j","mitre":"T1499"},"annotations":{"summary":"5xx over 5 %"},"startsAt":"2024-03-01T10:00:00Z","fingerprint":"abc"}]}"#;

pub const DEFENDER: &str = r#"{"TimeGenerated":"2024-07-04 22:35:00+00:00","DisplayName":"Suspicious discovery","AlertName":"Suspicious discovery","AlertSeverity":"Low","ProviderName":"MDATP","SystemAlertId":"394a","AlertType":"WindowsDefenderAtp","StartTime":"2024-07-02 09:47:31+00:00","ExtendedProperties":{"DetectorId":"d1","MitreTechniques":"T1047","ThreatName":"Malgent"},"Entities":[{"$id":"2","Name":"bjenkins","NTDomain":"NISEKO","Type":"account"},{"$id":"3","Address":"72.5.72.208","Type":"ip"},{"$id":"4","CommandLine":"svchost.exe -k","ImageFile":{"$id":"5","Directory":"C:\\Windows","Name":"svchost.exe","FileHashes":[{"$id":"6","Algorithm":"SHA1","Value":"aa","Type":"filehash"}],"Type":"file"},"Type":"process"},{"$ref":"5"},{"$id":"7","HostName":"mb","FQDN":"mb.niseko.example","Type":"host"},{"$id":"8","Url":"http://u.example/","Type":"url"},{"$id":"9","Sender":"a@b.example","Recipient":"c@d.example","Type":"mailMessage"},{"$id":"10","Hive":"HKLM","Key":"x","Type":"registry-key"}],"ProductName":"Microsoft Defender","CompromisedEntity":"mb","Tactics":"Discovery","Techniques":"[\"T1047\"]"}"#;

pub const SA_FINDING: &str = r#"{"id":"f1","related_doc_ids":["d1"],"monitor_id":"m","monitor_name":"windows-detector","index":"win-1","queries":[{"id":"r1","name":"rule one","query":"x","tags":["high","attack.t1059"]}],"timestamp":1700000000000,"document_list":[{"document":"{\"host\":{\"name\":\"dc1\"},\"user\":{\"name\":\"eve\"}}"}]}"#;

pub const SA_ALERT: &str = r#"{"id":"a1","monitor_id":"m","monitor_name":"windows-detector","severity":"1","trigger_id":"t","trigger_name":"Credential access","finding_ids":["f1"],"state":"ACTIVE","start_time":1700000000000,"error_message":"e","agg_alert_content":{"bucket_key":"192.0.2.1"}}"#;

pub const SA_CORRELATION: &str = r#"{"id":"c1","correlated_finding_ids":["f1","f2"],"correlation_rule_id":"cr","correlation_rule_name":"Brute force then login","severity":"2","state":"ACTIVE","trigger_name":"t","start_time":"2024-01-01T00:00:00Z"}"#;

pub const CEF: &str = r"<134>Feb 12 10:00:01 fw1 CEF:0|Acme|Shield|1.0|100|Worm stopped|8|src=10.0.0.1 dst=2.1.2.2 spt=1232 suser=bob dhost=web-1 sproc=p fname=C:\\x.exe fileHash=aa request=http://evil.example/a cs1Label=MITRE cs1=T1059 cs2Label=cmd cs2=whoami externalId=77 msg=words";

pub const LEEF: &str = "LEEF:2.0|Acme|IDS|4|4000|^|src=192.0.2.0^dst=172.50.123.1^sev=5^cat=anomaly^usrName=joe^identHostName=h1^fileName=f^url=http://u.example/^commandLine=c^process=p";

pub const SYSLOG_3164: &str =
    "<34>Oct 11 22:14:15 mymachine sshd[12]: Failed password for invalid user admin from 198.51.100.42 port 51235 ssh2";

pub const SYSLOG_5424: &str =
    r#"<165>1 2003-10-11T22:14:15.003Z mymachine evntslog 8710 ID47 [x@32473 iut="3" user="eve"] An application event"#;
