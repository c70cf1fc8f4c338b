//! `sla.toml`: which services are probed, what was promised of them, and what is owed when it is not kept. See
//! `assets/sla.sample.toml`.

use std::path::Path;

use jiff::tz::TimeZone;

use crate::config::doc::At;
use crate::config::doc::Doc;
use crate::config::doc::Fields;
use crate::config::doc::Table;
use crate::config::fault::Faults;

const INTERVAL: i64 = 60;
const TIMEOUT: i64 = 10;
const TARGET: f64 = 99.5;
const MAX_SERVICES: usize = 500;

/// What was promised, and of which services.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// Months begin and end in it.
    pub zone: TimeZone,
    pub zone_name: String,
    pub services: Vec<Service>,
    /// Lowest bound first.
    pub credits: Vec<Credit>,
}

/// Owed when the uptime of a month is below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Credit {
    /// Share of uptime, 0 to 1.
    pub below: f64,
    /// Of the fee.
    pub percent: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOf {
    /// A GET whose answer has one of these statuses (any 2xx when there are none) and this text in its body. Redirects
    /// are not followed: a redirect is an answer like any other.
    Http { url: String, statuses: Vec<u16>, body: Option<String> },
    /// A connection that is accepted.
    Tcp { address: String },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Letters, digits, `.`, `_` and `-`: the key of its series.
    pub name: String,
    /// What the world may call it.
    pub title: String,
    pub probe: ProbeOf,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    /// Share of uptime promised, 0 to 1.
    pub target: f64,
    /// On the public status page.
    pub public: bool,
}

impl Agreement {
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.name == name)
    }

    /// Reads `sla.toml`.
    ///
    /// # Errors
    /// Every fault of the file, with line and column.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Self::of(&Doc::read(path)?)
    }

    /// As [`Self::load`], of text that was read already.
    pub fn parse(path: &Path, source: &str) -> Result<Self, Faults> {
        Self::of(&Doc::parse(path, source.to_owned())?)
    }

    fn of(doc: &Doc) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut top = Fields::new(doc, &doc.root, "an agreement", &mut faults);
        let zone_name = top.text_opt("time_zone").unwrap_or(At { value: "UTC".into(), at: 0 });
        let zone = TimeZone::get(&zone_name.value).unwrap_or_else(|_| {
            let name = &zone_name.value;
            top.fault(zone_name.at, format!("time_zone: expected an IANA name such as Europe/Berlin, found {name:?}"));
            TimeZone::UTC
        });
        let (services, credits) = (top.tables("services"), top.tables("credits"));
        if services.len() > MAX_SERVICES {
            top.fault(top.at(), format!("more than {MAX_SERVICES} services"));
        }
        top.finish();
        let mut read: Vec<Service> = Vec::new();
        for table in services.into_iter().take(MAX_SERVICES) {
            let Some(one) = service(doc, table, &mut faults) else { continue };
            if read.iter().any(|s| s.name == one.name) {
                faults.add(doc.place(table.at), format!("a second service of the name {:?}", one.name));
            }
            read.push(one);
        }
        let credits = credits_of(doc, &credits, &mut faults);
        faults.sort();
        faults.or(Self { zone, zone_name: zone_name.value, services: read, credits })
    }
}

/// Below 99.5 % 10 %, below 99.0 % 25 %, below 95.0 % 50 %.
fn usual_credits() -> Vec<Credit> {
    [(0.95, 50), (0.99, 25), (0.995, 10)].map(|(below, percent)| Credit { below, percent }).to_vec()
}

fn credits_of(doc: &Doc, tables: &[&Table], faults: &mut Faults) -> Vec<Credit> {
    if tables.is_empty() {
        return usual_credits();
    }
    let mut out: Vec<Credit> = Vec::new();
    for table in tables {
        let mut f = Fields::new(doc, table, "a credit", faults);
        let below = percent(&mut f, "below");
        if table.get("below").is_none() {
            f.fault(table.at, "a credit needs \"below\"");
        }
        let owed = f.integer_opt("percent", 0..=100);
        if table.get("percent").is_none() {
            f.fault(table.at, "a credit needs \"percent\"");
        }
        f.finish();
        if let (Some(below), Some(owed)) = (below, owed) {
            out.push(Credit { below, percent: u32::try_from(owed.value).unwrap_or(100) });
        }
    }
    out.sort_by(|a, b| a.below.total_cmp(&b.below));
    for pair in out.windows(2) {
        if pair[1].percent > pair[0].percent || pair[1].below == pair[0].below {
            let at = tables.first().map_or(0, |t| t.at);
            faults.add(doc.place(at), "credits: a lower uptime must owe at least as much, and each bound stands once");
            break;
        }
    }
    out
}

/// A percentage as a share. The traps: a share where a percent is meant, and a promise nobody can keep.
fn percent(f: &mut Fields<'_, '_>, key: &'static str) -> Option<f64> {
    let At { value, at } = f.number_opt(key)?;
    let wrong = match value {
        v if v > 0.0 && v <= 1.0 => format!("a percent is meant; {v} is a share: write {}", v * 100.0),
        v if v >= 100.0 => "a percent below 100 was expected: nothing is up always".to_owned(),
        v if v < 50.0 => format!("a percent from 50 to below 100 was expected, found {v}"),
        v => return Some(v / 100.0),
    };
    f.fault(at, format!("{key}: {wrong}"));
    None
}

fn service(doc: &Doc, table: &Table, faults: &mut Faults) -> Option<Service> {
    let mut f = Fields::new(doc, table, "a service", faults);
    let name = f.text("name");
    if let Some(At { value, at }) = &name
        && !is_name(value)
    {
        f.fault(*at, "name: expected 1 to 60 letters, digits, '.', '_' or '-', beginning with a letter or digit");
    }
    let title = f.text_opt("title").map(|t| t.value);
    let probe = probe(&mut f);
    let interval = f.integer_opt("interval_seconds", 5..=3_600).map_or(INTERVAL, |i| i.value);
    let timeout = f.integer_opt("timeout_seconds", 1..=300);
    let target = percent(&mut f, "target");
    // One that is wrong was told; one that is left out is the usual one.
    let target = if table.get("target").is_some() { target } else { Some(TARGET / 100.0) };
    let public = f.bool_opt("public").is_none_or(|b| b.value);
    if let Some(At { value, at }) = timeout
        && value >= interval
    {
        f.fault(at, format!("timeout_seconds: expected less than the interval of {interval} s, found {value}"));
    }
    let timeout = timeout.map_or(TIMEOUT.min(interval - 1), |t| t.value);
    f.finish();
    let name = name?.value;
    Some(Service {
        title: title.unwrap_or_else(|| name.clone()),
        name,
        probe: probe?,
        interval_seconds: u32::try_from(interval).ok()?,
        timeout_seconds: u32::try_from(timeout).ok()?,
        target: target?,
        public,
    })
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=60).contains(&text.len()) && text.chars().all(good) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn probe(f: &mut Fields<'_, '_>) -> Option<ProbeOf> {
    let (http, tcp) = (f.text_opt("http"), f.text_opt("tcp"));
    let statuses = f.integers("status", 100..=599);
    let body = f.text_opt("body");
    match (http, tcp) {
        (Some(url), None) => {
            let parsed = reqwest::Url::parse(&url.value).ok();
            let good = parsed.as_ref().is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
            if !good {
                f.fault(url.at, "http: expected a URL such as https://soc.example/healthz");
            } else if parsed.is_some_and(|u| !u.username().is_empty() || u.password().is_some()) {
                f.fault(url.at, "http: no user name and no password in a URL: probe what needs none");
                return None;
            }
            let statuses = statuses.iter().filter_map(|s| u16::try_from(s.value).ok()).collect();
            good.then(|| ProbeOf::Http { url: url.value, statuses, body: body.map(|b| b.value) })
        }
        (None, Some(tcp)) => {
            for at in statuses.iter().map(|s| s.at).chain(body.map(|b| b.at)) {
                f.fault(at, "status and body are for http; tcp only connects");
            }
            let port = tcp.value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            let good = port.is_some_and(|(_, p)| p.parse::<u16>().is_ok_and(|p| p > 0));
            if !good {
                f.fault(tcp.at, "tcp: expected HOST:PORT, such as search.soc.example:9200");
            }
            good.then_some(ProbeOf::Tcp { address: tcp.value })
        }
        (Some(_), Some(tcp)) => {
            f.fault(tcp.at, "either http or tcp, not both");
            None
        }
        (None, None) => {
            let at = f.at();
            f.fault(at, "a service needs \"http\" or \"tcp\"");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Agreement, String> {
        Agreement::parse(Path::new("sla.toml"), text).map_err(|f| f.to_string())
    }

    #[test]
    fn the_sample_is_read() {
        let a = read(include_str!("../../../assets/sla.sample.toml")).unwrap();
        assert_eq!(a.zone_name, "Europe/Berlin");
        assert_eq!(a.services.len(), 3);
        assert_eq!(a.services[0].target, 0.995);
        assert!(matches!(&a.services[1].probe, ProbeOf::Tcp { address } if address.ends_with(":9200")));
        let credits: Vec<_> = a.credits.iter().map(|c| (c.below, c.percent)).collect();
        assert_eq!(credits, [(0.95, 50), (0.99, 25), (0.995, 10)]);
    }

    #[test]
    fn what_is_left_out_is_usual() {
        let a = read("[[services]]\nname = \"api\"\ntcp = \"h:1\"\n").unwrap();
        let s = &a.services[0];
        assert_eq!((s.interval_seconds, s.timeout_seconds, s.target, s.public), (60, 10, 0.995, true));
        assert_eq!((s.title.as_str(), a.zone_name.as_str()), ("api", "UTC"));
        assert_eq!(a.credits, usual_credits());
    }

    #[test]
    fn faults_have_their_line() {
        let cases = [
            ("time_zone = \"Mars/Olympus\"\n", "sla.toml:1:13", "IANA"),
            ("[[services]]\nname = \"a\"\n", "sla.toml:1", "\"http\" or \"tcp\""),
            ("[[services]]\nname = \"a b\"\ntcp = \"h:1\"\n", "sla.toml:2:8", "letters"),
            ("[[services]]\nname = \"a\"\ntcp = \"h\"\n", "sla.toml:3:7", "HOST:PORT"),
            ("[[services]]\nname = \"a\"\nhttp = \"ftp://x/\"\n", "sla.toml:3:8", "URL"),
            ("[[services]]\nname = \"a\"\nhttp = \"https://me:pw@x/\"\n", "sla.toml:3:8", "password"),
            ("[[services]]\nname = \"a\"\ntcp = \"h:1\"\ntarget = 0.995\n", "sla.toml:4:10", "write 99.5"),
            ("[[services]]\nname = \"a\"\ntcp = \"h:1\"\ntarget = 100\n", "sla.toml:4:10", "below 100"),
            ("[[services]]\nname = \"a\"\ntcp = \"h:1\"\ntimeout_seconds = 60\n", "sla.toml:4:19", "less than"),
            ("[[services]]\nname = \"a\"\ntcp = \"h:1\"\nbody = \"x\"\n", "sla.toml:4:8", "for http"),
            ("[[services]]\nname = \"a\"\ntcp = \"h:1\"\nintervall_seconds = 9\n", "sla.toml:4:1", "interval_seconds"),
            ("[[credits]]\nbelow = 99\npercent = 5\n[[credits]]\nbelow = 95\npercent = 1\n", "sla.toml:1", "lower"),
        ];
        for (text, place, word) in cases {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(place) && said.contains(word), "{text}\n{said}");
        }
    }
}
