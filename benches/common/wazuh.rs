/// A small generator (xorshift64*), so that every run measures the same records.
pub struct Rng(u64);
impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}
const USERS: [&str; 12] = [
    "root",
    "www-data",
    "susan.gregory",
    "bob",
    "alice",
    "svc-backup",
    "jenkins",
    "administrator",
    "k.mueller",
    "oracle",
    "postgres",
    "deploy",
];
const ROLES: [&str; 8] = ["web", "db", "mail", "vpn", "build", "file", "dc", "app"];
pub fn record(rng: &mut Rng, n: u64) -> String {
    let t = 1_750_000_000 + n / 8;
    let (h, m, s) = (t / 3600 % 24, t / 60 % 60, t % 60);
    let day = 1 + t / 86_400 % 28;
    let ms = rng.below(1000);
    let host_no = rng.below(40);
    let host = format!("{}-{:02}", rng.pick(&ROLES), host_no);
    let user = rng.pick(&USERS);
    let ip = format!("10.{}.{}.{}", rng.below(4), rng.below(32), rng.below(254));
    let far = format!("{}.{}.{}.{}", 11 + rng.below(180), rng.below(256), rng.below(256), rng.below(254));
    let port = 1024 + rng.below(60_000);
    let pid = rng.below(90_000);
    let stamp = format!("2025-09-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}+0000");
    let sys = format!("Sep {day:02} {h:02}:{m:02}:{s:02}");
    let id = format!("{t}.{}", 11_000_000 + n);
    let fired = rng.below(3000);
    let head = |level: u32, rule: u32, desc: &str, extra: &str| {
        format!(
            "{{\"timestamp\":\"{stamp}\",\"rule\":{{\"level\":{level},\"description\":\"{desc}\",\"id\":\"{rule}\",{extra},\"firedtimes\":{fired},\"mail\":false,\"pci_dss\":[\"10.2.5\",\"10.2.4\"],\"gpg13\":[\"7.1\",\"7.8\"],\"gdpr\":[\"IV_35.7.d\",\"IV_32.2\"],\"hipaa\":[\"164.312.b\"],\"nist_800_53\":[\"AU.14\",\"AC.7\"],\"tsc\":[\"CC6.1\",\"CC6.8\",\"CC7.2\",\"CC7.3\"]}},\"agent\":{{\"id\":\"{:03}\",\"name\":\"{host}\",\"ip\":\"{ip}\"}},\"manager\":{{\"name\":\"wazuh.manager\"}},\"id\":\"{id}\"",
            host_no
        )
    };
    match rng.below(100) {
        0..=39 => format!(
            "{},\"full_log\":\"{sys} {host} sshd[{pid}]: Failed password for {user} from {far} port {port} ssh2\",\"predecoder\":{{\"program_name\":\"sshd\",\"timestamp\":\"{sys}\",\"hostname\":\"{host}\"}},\"decoder\":{{\"parent\":\"sshd\",\"name\":\"sshd\"}},\"data\":{{\"srcip\":\"{far}\",\"srcport\":\"{port}\",\"dstuser\":\"{user}\"}},\"location\":\"/var/log/auth.log\"}}",
            head(
                5,
                5760,
                "sshd: authentication failed.",
                "\"mitre\":{\"id\":[\"T1110.001\",\"T1021.004\"],\"tactic\":[\"Credential Access\",\"Lateral Movement\"],\"technique\":[\"Password Guessing\",\"SSH\"]},\"groups\":[\"syslog\",\"sshd\",\"authentication_failed\"]"
            )
        ),
        40..=64 => format!(
            "{},\"full_log\":\"{sys} {host} sudo: {user} : TTY=pts/{} ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/systemctl restart unit-{}\",\"predecoder\":{{\"program_name\":\"sudo\",\"timestamp\":\"{sys}\",\"hostname\":\"{host}\"}},\"decoder\":{{\"parent\":\"sudo\",\"name\":\"sudo\",\"ftscomment\":\"First time user executed the sudo command\"}},\"data\":{{\"srcuser\":\"{user}\",\"dstuser\":\"root\",\"tty\":\"pts/0\",\"pwd\":\"/tmp\",\"command\":\"/usr/bin/systemctl restart\"}},\"location\":\"/var/log/auth.log\"}}",
            head(
                3,
                5402,
                "Successful sudo to ROOT executed.",
                "\"mitre\":{\"id\":[\"T1548.003\"],\"tactic\":[\"Privilege Escalation\",\"Defense Evasion\"],\"technique\":[\"Sudo and Sudo Caching\"]},\"groups\":[\"syslog\",\"sudo\"]"
            ),
            rng.below(8),
            rng.below(500)
        ),
        65..=89 => format!(
            "{},\"full_log\":\"{far} - - [{day:02}/Sep/2025:{h:02}:{m:02}:{s:02} +0000] \\\"GET /{}/{}.php?id={} HTTP/1.1\\\" 404 {} \\\"-\\\" \\\"Mozilla/5.0 (X11; Linux x86_64)\\\"\",\"predecoder\":{{}},\"decoder\":{{\"name\":\"web-accesslog\"}},\"data\":{{\"protocol\":\"GET\",\"srcip\":\"{far}\",\"id\":\"404\",\"url\":\"/{}/index.php\"}},\"location\":\"/var/log/nginx/access.log\"}}",
            head(
                5,
                31101,
                "Web server 400 error code.",
                "\"mitre\":{\"id\":[\"T1595.002\"],\"tactic\":[\"Reconnaissance\"],\"technique\":[\"Vulnerability Scanning\"]},\"groups\":[\"web\",\"accesslog\",\"attack\"]"
            ),
            rng.pick(&["wp-admin", "admin", "shop", "api", "cgi-bin"]),
            rng.pick(&["index", "login", "setup", "shell", "config"]),
            rng.below(100_000),
            rng.below(9000),
            rng.pick(&["wp-admin", "admin", "shop"])
        ),
        90..=98 => format!(
            "{},\"full_log\":\"File '/etc/app/conf-{}.yml' modified\\nMode: realtime\\nChanged attributes: size,mtime,md5,sha1,sha256\",\"syscheck\":{{\"path\":\"/etc/app/conf-{}.yml\",\"mode\":\"realtime\",\"size_after\":\"{}\",\"md5_after\":\"{:016x}{:016x}\",\"sha256_after\":\"{:016x}{:016x}{:016x}{:016x}\",\"event\":\"modified\"}},\"decoder\":{{\"name\":\"syscheck_integrity_changed\"}},\"location\":\"syscheck\"}}",
            head(
                7,
                550,
                "Integrity checksum changed.",
                "\"mitre\":{\"id\":[\"T1565.001\"],\"tactic\":[\"Impact\"],\"technique\":[\"Stored Data Manipulation\"]},\"groups\":[\"ossec\",\"syscheck\",\"syscheck_file\"]"
            ),
            rng.below(900),
            rng.below(900),
            rng.below(90_000),
            rng.next(),
            rng.next(),
            rng.next(),
            rng.next(),
            rng.next(),
            rng.next()
        ),
        _ => format!(
            "{},\"full_log\":\"{sys} {host} powershell[{pid}]: Invoke-Mimikatz -DumpCreds by CORP\\\\{user}\",\"predecoder\":{{\"program_name\":\"powershell\",\"timestamp\":\"{sys}\",\"hostname\":\"{host}\"}},\"decoder\":{{\"name\":\"windows_eventchannel\"}},\"data\":{{\"win\":{{\"system\":{{\"eventID\":\"4104\",\"computer\":\"{host}.corp.example\"}},\"eventdata\":{{\"image\":\"C:\\\\Windows\\\\System32\\\\powershell.exe\",\"user\":\"CORP\\\\{user}\"}}}}}},\"location\":\"EventChannel\"}}",
            head(
                13,
                92_057,
                "PowerShell: credential dumping tool was run.",
                "\"mitre\":{\"id\":[\"T1003.001\"],\"tactic\":[\"Credential Access\"],\"technique\":[\"LSASS Memory\"]},\"groups\":[\"windows\",\"powershell\"]"
            )
        ),
    }
}
