//! What a log line in plain words says about who, from where and with what: the lines every Unix host writes (sshd,
//! sudo, PAM, cron, dovecot, iptables, web servers). Only fields still open are filled; addresses found on the way
//! become observables.

use super::draft::{self, Draft, keep};
use crate::model::alert::ObservableKind as Kind;

/// How much of a line is read.
const SCANNED: usize = 4096;
const MAX_IPS: usize = 16;

/// Reads one log message.
pub fn message(text: &str, d: &mut Draft) {
    let text = crate::text::front(text, SCANNED);
    sshd(text, d);
    sudo(text, d);
    cron(text, d);
    pairs(text, d);
    web(text, d);
    if d.f.user.is_none()
        && let Some(user) = after(text, "for user ").or_else(|| after(text, "acct=\""))
    {
        d.f.user = user_name(user);
    }
    addresses(text, d);
}

/// The word after a marker, up to a delimiter.
fn after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let rest = &text[memchr::memmem::find(text.as_bytes(), marker.as_bytes())? + marker.len()..];
    let end = rest.find([' ', ',', ';', '"', '>', '\'', ')', '\n', '\t']).unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

fn user_name(word: &str) -> Option<crate::text::Untrusted> {
    let name = word.split_once("(uid=").map_or(word, |(n, _)| n).trim_matches(['<', '>', '\'', '"', '[', ']', '(']);
    (!name.is_empty() && !super::json::is_nothing(name)).then(|| keep(name))
}

/// `Failed password for invalid user admin from 198.51.100.42 port 51235 ssh2` and its relatives.
fn sshd(text: &str, d: &mut Draft) {
    const MARKERS: [&str; 8] = [
        " for invalid user ",
        "Invalid user ",
        "invalid user ",
        "Accepted password for ",
        "Accepted publickey for ",
        "Failed password for ",
        "authenticating user ",
        "Disconnected from user ",
    ];
    let Some(from) = ["from ", "by "].iter().find_map(|m| after_ip(text, m)) else { return };
    d.source(Some(from), after(text, " port ").and_then(|p| p.parse().ok()).filter(|p| *p > 0));
    if d.f.user.is_none() {
        d.f.user = MARKERS.iter().find_map(|m| after(text, m)).and_then(user_name);
    }
}

/// The address after the first `marker` that is followed by one.
fn after_ip(text: &str, marker: &str) -> Option<std::net::IpAddr> {
    memchr::memmem::find_iter(text.as_bytes(), marker.as_bytes()).find_map(|i| {
        let rest = &text[i + marker.len()..];
        let end = rest.find([' ', ',', ';', ')', ']']).unwrap_or(rest.len());
        draft::ip(&rest[..end])
    })
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/apt update`
fn sudo(text: &str, d: &mut Draft) {
    let Some((head, command)) = text.split_once("COMMAND=") else { return };
    if d.f.command_line.is_none() {
        d.f.command_line = Some(keep(command));
    }
    if let Some((who, _)) = head.split_once(" : ") {
        let who = who.rsplit([' ', ':']).next().unwrap_or_default();
        if d.f.user.is_none() {
            d.f.user = user_name(who);
        }
        if let Some(target) = after(head, "USER=") {
            d.observe(Kind::User, target);
        }
    }
}

/// `(root) CMD (run-parts /etc/cron.hourly)`
fn cron(text: &str, d: &mut Draft) {
    let Some((who, command)) = text.split_once(") CMD (") else { return };
    if d.f.user.is_none() {
        d.f.user = who.rsplit_once('(').and_then(|(_, u)| user_name(u));
    }
    if d.f.command_line.is_none() {
        d.f.command_line = Some(keep(command.trim_end_matches(')')));
    }
}

/// `user=<susan>, rip=192.0.2.1, lip=..`, `SRC=.. DST=.. SPT=.. DPT=..`, `rhost=..`.
fn pairs(text: &str, d: &mut Draft) {
    if !text.contains('=') {
        return;
    }
    let ip = |keys: &[&str]| keys.iter().find_map(|k| draft::ip(after(text, k)?));
    let port = |keys: &[&str]| keys.iter().find_map(|k| after(text, k)?.parse().ok()).filter(|p| *p > 0);
    d.source(ip(&["SRC=", "rip=", "rhost=", "srcip=", "src="]), port(&["SPT=", "srcport="]));
    d.destination(ip(&["DST=", "lip=", "dstip=", "dst="]), port(&["DPT=", "dstport="]));
    if d.f.user.is_none() {
        d.f.user = ["user=<", " user=", "logname="].iter().find_map(|m| after(text, m)).and_then(user_name);
    }
}

/// `192.0.2.1 - bob [18/Jan/2022:12:18:01 +0000] "GET /x HTTP/1.1" 404 146 "-" "agent"`
fn web(text: &str, d: &mut Draft) {
    let Some((head, rest)) = text.split_once(" [") else { return };
    let mut words = head.split(' ');
    let Some(ip) = words.next().and_then(draft::ip) else { return };
    let Some((_, request)) = rest.split_once("] \"") else { return };
    d.source(Some(ip), None);
    if d.f.user.is_none() {
        d.f.user = words.nth(1).and_then(user_name);
    }
    if let Some(path) = request.split(' ').nth(1) {
        d.observe(Kind::Url, path);
    }
}

fn addresses(text: &str, d: &mut Draft) {
    let mut found = 0;
    for word in text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':')) {
        let word = word.trim_matches(['.', ':']);
        if word.len() < 7 || !(word.contains('.') || word.matches(':').count() > 1) {
            continue;
        }
        if let (Some(ip), _) = draft::ip_port(word) {
            d.observe_ip(&ip.to_string());
            found += 1;
            if found >= MAX_IPS {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> crate::model::alert::AlertFields {
        let mut d = Draft::default();
        message(text, &mut d);
        d.done("x")
    }

    fn user(text: &str) -> String {
        scan(text).user.map(|u| u.into_exposed()).unwrap_or_default()
    }

    #[test]
    fn users_and_addresses_of_common_lines() {
        let f = scan("Failed password for invalid user admin from 198.51.100.42 port 51235 ssh2");
        assert_eq!(f.user.as_ref().map(|u| u.expose()), Some("admin"));
        assert_eq!((f.src_ip, f.src_port), ("198.51.100.42".parse().ok(), Some(51235)));
        assert_eq!(user("Accepted password for root from 10.0.0.5 port 51234 ssh2"), "root");
        let f = scan("imap-login: Login: user=<susan.gregory>, method=PLAIN, rip=192.168.128.170, lip=192.168.128.171");
        assert_eq!(f.user.as_ref().map(|u| u.expose()), Some("susan.gregory"));
        assert_eq!((f.src_ip, f.dst_ip), ("192.168.128.170".parse().ok(), "192.168.128.171".parse().ok()));
        let f = scan("Sep 22 11:13:21 h sudo: www-data : TTY=pts/0 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/dmesg -H");
        assert_eq!(f.user.as_ref().map(|u| u.expose()), Some("www-data"));
        assert_eq!(f.command_line.as_ref().map(|u| u.expose()), Some("/usr/bin/dmesg -H"));
        assert_eq!(user("(root) CMD (   cd / && run-parts /etc/cron.hourly)"), "root");
        assert_eq!(user("pam_unix(sudo:session): session opened for user root(uid=0) by (uid=33)"), "root");
        let f = scan("172.17.130.196 - - [18/Jan/2022:12:18:01 +0000] \"HEAD /wp HTTP/1.1\" 404 146");
        assert_eq!((f.src_ip, f.user), ("172.17.130.196".parse().ok(), None));
    }

    #[test]
    fn times_are_no_addresses() {
        assert!(scan("at 12:30:45 version 1.2.3 done").observables.is_empty());
        assert_eq!(scan("forwarded youtu.be to 8.8.8.8").observables.len(), 1);
    }
}
