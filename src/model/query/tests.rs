use proptest::prelude::*;

use super::*;
use crate::model::ids::PersonId;

fn ok(text: &str) -> Query {
    parse(text, None).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn err(text: &str) -> QueryError {
    parse(text, None).err().unwrap_or_else(|| panic!("{text} parsed"))
}

fn t(term: Term) -> Query {
    Query::Term(term)
}

fn text(s: &str) -> Query {
    t(Term::Text(s.into()))
}

#[test]
fn the_documented_example_reads_as_written() {
    let q = ok("sev>=high host:web-* user:bob status:new rule:9701 tech:T1059 age<2h not src:10.0.0.0/8");
    let Query::And(parts) = q else { panic!("not a conjunction") };
    assert_eq!(parts.len(), 8);
    assert_eq!(parts[0], t(Term::Severity(Cmp::Ge, Severity::High)));
    assert_eq!(parts[1], t(Term::Match(TextField::Host, "web-*".into())));
    assert_eq!(parts[6], t(Term::Age(Cmp::Lt, 7200)));
    assert_eq!(parts[7], Query::Not(Box::new(t(Term::Net(NetField::Src, "10.0.0.0/8".parse().unwrap())))));
}

#[test]
fn words_quotes_and_connectives() {
    assert_eq!(ok("  "), Query::All);
    assert_eq!(ok("*"), Query::All);
    assert_eq!(ok("mimikatz"), text("mimikatz"));
    assert_eq!(ok(r#""a \"b\" \\ or""#), text(r#"a "b" \ or"#));
    assert_eq!(ok("a or b c"), Query::Or(vec![text("a"), Query::And(vec![text("b"), text("c")])]));
    assert_eq!(ok("(a or b) and c"), Query::And(vec![Query::Or(vec![text("a"), text("b")]), text("c")]));
    for q in ["not a", "-a", "!a", "NOT a"] {
        assert_eq!(ok(q), Query::Not(Box::new(text("a"))), "{q}");
    }
    assert_eq!(ok("10.0.0.1:80"), text("10.0.0.1:80"));
    assert_eq!(ok("orange"), text("orange"));
    assert_eq!(
        ok("status:new,claimed"),
        Query::Or(vec![t(Term::Status(Status::New)), t(Term::Status(Status::Claimed))])
    );
    assert_eq!(ok("source:file:/var/*"), t(Term::Match(TextField::Source, "file:/var/*".into())));
    assert_eq!(ok("pri!=P1"), t(Term::Priority(Cmp::Ne, Priority::P1)));
    assert_eq!(ok("age>1h30m"), t(Term::Age(Cmp::Gt, 5400)));
    assert_eq!(ok("src:10.1.2.3/8"), ok("src:10.0.0.0/8"));
}

#[test]
fn me_is_who_asks() {
    let bob = PersonId::new("bob").unwrap();
    assert_eq!(parse("owner:me", Some(&bob)).unwrap(), t(Term::Owner(Some("bob".into()))));
    assert_eq!(ok("owner:none"), t(Term::Owner(None)));
    assert_eq!(ok("owner:\"none\""), t(Term::Owner(Some("none".into()))));
    assert_eq!(err("owner:me").column, 7);
}

#[test]
fn errors_point_at_the_fault() {
    for (q, column, says) in [
        ("sev>=hgh", 6, "high"),
        ("hots:web", 1, "`host:`"),
        ("severty:high", 1, "`severity:`"),
        ("a (b", 3, "never closed"),
        ("a b)", 4, "closes"),
        ("é \"x", 3, "never closed"),
        ("host>5", 1, "no order"),
        ("host:", 6, "value"),
        ("age:2h", 1, "age<2h"),
        ("age<2x", 5, "duration"),
        ("age<99999999999999999999h", 5, "duration"),
        ("src:300.1.1.1", 5, "network"),
        ("dport:70000", 7, "65535"),
        ("tech:1059", 6, "T1059"),
        ("sev>low,high", 8, "one value"),
        ("or a", 1, "before"),
        ("a or", 5, "missing"),
        ("not", 4, "missing"),
        ("()", 2, "missing"),
        ("status:nwe", 8, "claimed"),
        ("verdict:bad", 9, "true_positive"),
        (">5", 1, "field name"),
        ("http://evil", 1, "quote"),
    ] {
        let e = err(q);
        assert_eq!(e.column, column, "{q}: {e}");
        assert!(e.message.contains(says), "{q}: {e}");
    }
    // So many terms that SQL could not be made of them.
    for many in [format!("id:1{}", ",2".repeat(300)), "a ".repeat(300), "host:x or ".repeat(300) + "y"] {
        assert!(err(&many).message.contains("256 terms"));
    }
    assert!(parse(&format!("id:1{}", ",2".repeat(255)), None).is_ok());
    assert!(parse(&"(".repeat(100_000), None).is_err());
    assert!(parse(&"-".repeat(100_000), None).is_err());
}

#[test]
fn unknown_severity_is_neither_high_nor_low() {
    use Severity::*;
    assert!(severity_holds(Cmp::Ge, Critical, High));
    assert!(!severity_holds(Cmp::Lt, Unknown, High));
    assert!(!severity_holds(Cmp::Ge, Unknown, Low));
    assert!(severity_holds(Cmp::Eq, Unknown, Unknown));
    assert!(severity_holds(Cmp::Ne, Unknown, Low));
    assert!(!severity_holds(Cmp::Ge, High, Unknown));
}

#[test]
fn globs() {
    for (pattern, value, want) in [
        ("web-*", "WEB-01", true),
        ("web-*", "aweb-01", false),
        ("*.exe", "cmd.EXE", true),
        ("a*b*c", "a--b--c", true),
        ("a*b*c", "a--c--b", false),
        ("ab*ba", "aba", false),
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
        ("**x**", "x", true),
        ("é*", "éa", true),
    ] {
        assert_eq!(Glob::new(pattern).is_match(value), want, "{pattern} {value}");
    }
    assert!(contains_fold(b"xxABCxx", b"abc"));
    assert!(contains_fold(b"abc", b"abc"));
    assert!(!contains_fold(b"ab", b"abc"));
    assert!(TextField::Process.value_matches(&Glob::new("cmd.exe"), r"C:\Windows\cmd.exe"));
    assert!(TextField::Title.value_matches(&Glob::new("brute"), "SSH Brute force"));
    assert!(!TextField::Host.value_matches(&Glob::new("web"), "web-01"));
    assert!(technique_is("T1059.001", "t1059"));
    assert!(!technique_is("T10590", "T1059"));
}

fn any_cmp() -> impl Strategy<Value = Cmp> {
    prop::sample::select(vec![Cmp::Lt, Cmp::Le, Cmp::Eq, Cmp::Ne, Cmp::Ge, Cmp::Gt])
}

fn any_side() -> impl Strategy<Value = NetField> {
    prop::sample::select(vec![NetField::Src, NetField::Dst, NetField::Any])
}

pub(crate) fn any_term() -> impl Strategy<Value = Term> {
    use TextField::*;
    let field = prop::sample::select(vec![
        Title, Rule, Host, User, Process, Format, Source, Product, Observable, Group, Identity,
    ]);
    let net = (any::<u32>(), 0u8..=32).prop_map(|(ip, n)| ipnet::Ipv4Net::new(ip.into(), n).unwrap().trunc().into());
    let net6 = (any::<u128>(), 0u8..=128).prop_map(|(ip, n)| ipnet::Ipv6Net::new(ip.into(), n).unwrap().trunc().into());
    prop_oneof![
        any::<String>().prop_map(Term::Text),
        (any_cmp(), prop::sample::select(Severity::ALL.to_vec())).prop_map(|(c, s)| Term::Severity(c, s)),
        (any_cmp(), prop::sample::select(Priority::ALL.to_vec())).prop_map(|(c, s)| Term::Priority(c, s)),
        prop::sample::select(Status::ALL.to_vec()).prop_map(Term::Status),
        prop::sample::select(Disposition::ALL.to_vec()).prop_map(Term::Disposition),
        (field, any::<String>()).prop_map(|(f, s)| Term::Match(f, s)),
        (any_side(), net).prop_map(|(s, n)| Term::Net(s, n)),
        (any_side(), net6).prop_map(|(s, n)| Term::Net(s, n)),
        (any_side(), any_cmp(), any::<u16>()).prop_map(|(s, c, p)| Term::Port(s, c, p)),
        (0u32..9999, prop::option::of(0u32..999)).prop_map(|(a, b)| Term::Technique(match b {
            Some(b) => format!("T{a:04}.{b:03}"),
            None => format!("T{a:04}"),
        })),
        (any_cmp(), 0i64..1_000_000_000).prop_map(|(c, s)| Term::Age(c, s)),
        prop::option::of("[A-Za-z0-9._@:-]{1,12}").prop_map(Term::Owner),
        any::<i64>().prop_map(|n| Term::Case(CaseId(n))),
        any::<bool>().prop_map(Term::InCase),
        any::<i64>().prop_map(|n| Term::Id(AlertId(n))),
        prop::sample::select(vec!["any", "true_positive", "needs_investigation"]).prop_map(|w| Term::Verdict(w.into())),
        (any_cmp(), any::<u32>()).prop_map(|(c, n)| Term::Count(c, n)),
    ]
}

fn any_query() -> impl Strategy<Value = Query> {
    let leaf = prop_oneof![9 => any_term().prop_map(Query::Term), 1 => Just(Query::All)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Query::Or),
            inner.prop_map(|q| Query::Not(Box::new(q))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(q in any_query()) {
        let shown = q.to_string();
        prop_assert_eq!(parse(&shown, None).map_err(|e| format!("{shown}: {e}")), Ok(q));
    }

    #[test]
    fn nothing_typed_panics(text in any::<String>()) {
        if let Err(e) = parse(&text, None) {
            prop_assert!(e.column >= 1 && e.column <= text.chars().count() + 1);
            prop_assert!(e.len >= 1);
        }
    }

    #[test]
    fn almost_queries_do_not_panic(text in r#"[a-z:<>=!()"*, .0-9/-]{0,40}"#) {
        let _ = parse(&text, None);
    }
}
