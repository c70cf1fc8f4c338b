//! Targets: a percent and a share are told apart, and what leaves no budget or nothing to keep is refused.

use super::words::number;

/// Between 1 and 100, both excluded, as a share. `as_ratio` says how this dialect would write a share, if it can.
pub fn percent(x: f64, as_ratio: Option<&str>) -> Result<f64, String> {
    if x == 100.0 {
        return Err("a target of 100 % leaves no error budget; a percent below 100 was expected".into());
    }
    if x <= 0.0 {
        return Err(format!("a target of {} % promises nothing; a percent between 0 and 100 was expected", number(x)));
    }
    if x > 100.0 {
        return Err(format!("{x} is no percent between 0 and 100"));
    }
    if x <= 1.0 {
        let or = as_ratio.map_or(String::new(), |r| format!(", or {r}: {x}"));
        let meant = if x == 1.0 {
            "a share of 1 would leave no error budget".to_owned()
        } else {
            format!("write {}{or}", number(x * 100.0))
        };
        return Err(format!("{x} looks like a share, and a percent is expected here: {meant}"));
    }
    Ok(share(x))
}

/// A share between 0 and 1, both excluded.
pub fn ratio(x: f64, as_percent: &str) -> Result<f64, String> {
    if x == 1.0 {
        return Err("a target of 1 leaves no error budget; a share below 1 was expected".into());
    }
    if x <= 0.0 {
        return Err(format!("a target of {x} promises nothing; a share between 0 and 1 was expected"));
    }
    if x == 100.0 {
        return Err("a target of 100 % leaves no error budget; a share below 1 was expected".into());
    }
    if x > 1.0 && x < 100.0 {
        return Err(format!(
            "{x} looks like a percent, and a share is expected here: write {}, or {as_percent}: {x}",
            number_long(x / 100.0)
        ));
    }
    if x > 1.0 {
        return Err(format!("{x} is no share between 0 and 1"));
    }
    Ok(x)
}

/// `99.9` as `0.999` and not `0.9990000000000001`: what people wrote has few digits.
pub fn share(percent: f64) -> f64 {
    format!("{:.12}", percent / 100.0).parse().unwrap_or(percent / 100.0)
}

fn number_long(x: f64) -> String {
    let text = format!("{x:.8}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
