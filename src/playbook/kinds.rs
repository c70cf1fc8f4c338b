//! Types of variables: `variable-type-ov` of CACAO 2.0 (section 10.18.4). A value is always a string.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::ids;

pub const ALL: [&str; 15] = [
    "bool",
    "dictionary",
    "float",
    "hexstring",
    "integer",
    "ipv4-addr",
    "ipv6-addr",
    "long",
    "mac-addr",
    "hash",
    "md5-hash",
    "sha256-hash",
    "string",
    "uri",
    "uuid",
];

/// Bytes of one value.
pub const LONGEST: usize = 16 << 10;

/// Whether a text is a value of this type; a type we do not know takes any text.
///
/// # Errors
/// What was expected, in words.
pub fn check(kind: &str, value: &str) -> Result<(), String> {
    if value.len() > LONGEST {
        return Err(format!("{} bytes; a value has at most {LONGEST}", value.len()));
    }
    let hex = |n: usize| value.len() == n && value.bytes().all(|b| b.is_ascii_hexdigit());
    let (ok, wanted) = match kind {
        "bool" => (["true", "false", "0", "1"].contains(&value.to_ascii_lowercase().as_str()), "true or false"),
        "dictionary" => {
            let is = serde_json::from_str::<serde_json::Value>(value).is_ok_and(|v| v.is_object());
            (is, "a JSON object")
        }
        "float" => (value.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
        "hexstring" => {
            (value.len().is_multiple_of(2) && value.bytes().all(|b| b.is_ascii_hexdigit()), "hex digits in pairs")
        }
        "integer" => (value.parse::<i32>().is_ok(), "a whole number of 32 bits"),
        "long" => (value.parse::<i64>().is_ok(), "a whole number of 64 bits"),
        // Examples of the standard give these types networks too.
        "ipv4-addr" => (is_v4(value), "an IPv4 address, or a network such as 10.0.0.0/8"),
        "ipv6-addr" => (is_v6(value), "an IPv6 address, or a network"),
        "mac-addr" => (is_mac(value), "a MAC address such as 00:00:5e:00:53:01"),
        "md5-hash" => (hex(32), "32 hex digits"),
        "sha256-hash" => (hex(64), "64 hex digits"),
        "hash" => ([32, 40, 56, 64, 96, 128].into_iter().any(hex), "the hex digits of a hash"),
        "uri" => (is_uri(value), "a URI such as https://example.org/"),
        "uuid" => (ids::is_uuid(value), "a UUID"),
        _ => return Ok(()),
    };
    if ok { Ok(()) } else { Err(format!("{wanted} was expected")) }
}

fn is_v4(value: &str) -> bool {
    value.parse::<Ipv4Addr>().is_ok() || value.parse::<ipnet::Ipv4Net>().is_ok()
}

fn is_v6(value: &str) -> bool {
    value.parse::<Ipv6Addr>().is_ok() || value.parse::<ipnet::Ipv6Net>().is_ok()
}

fn is_mac(value: &str) -> bool {
    let split = if value.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = value.split(split).collect();
    parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_uri(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let scheme = value.split_once(':').filter(|(s, rest)| !s.is_empty() && !rest.is_empty() && s.chars().all(plain));
    scheme.is_some() && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_type() {
        for (kind, good, bad) in [
            ("bool", "True", "yes"),
            ("dictionary", "{\"a\":1}", "[1]"),
            ("float", "-1.5e3", "inf"),
            ("hexstring", "0aFF", "0aF"),
            ("integer", "-2147483648", "2147483648"),
            ("long", "9223372036854775807", "1.0"),
            ("ipv4-addr", "10.0.0.0/8", "10.0.0.256"),
            ("ipv6-addr", "2001:db8::1", "10.0.0.1"),
            ("mac-addr", "00-00-5E-00-53-01", "00:00:5e:00:53"),
            ("md5-hash", "d41d8cd98f00b204e9800998ecf8427e", "d41d"),
            ("hash", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "zz"),
            ("uri", "urn:x:y", "no uri"),
            ("uuid", "010b0420-db3e-4810-ba75-08a10f473214", "010b0420"),
        ] {
            assert_eq!(check(kind, good), Ok(()), "{kind}");
            assert!(check(kind, bad).is_err(), "{kind}");
        }
        assert!(check("string", &"x".repeat(LONGEST + 1)).is_err());
    }
}
