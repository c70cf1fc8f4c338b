//! What a server's `/metrics` page says: Prometheus text format of vLLM or llama.cpp.
//!
//! Rates are of what happened since the last look, for a server's counters begin when it does. When nothing happened, the
//! last known rate stays.

use std::collections::{BTreeMap, VecDeque};

/// First tokens of our own that are remembered per server.
const OWN_MAX: usize = 100;

/// One look at a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    pub kv_cache: Option<f32>,
    pub prefix_hits: Option<f32>,
    pub ttft_p95_ms: Option<u64>,
}

/// Counters of one look.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    /// Prompt tokens found in the prefix cache, and looked for.
    prefix: Option<(f64, f64)>,
    /// Cumulative counts by upper bound in seconds (as bits, for the order), the last one infinite.
    ttft: BTreeMap<u64, f64>,
}

/// Remembers the last look at one server.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Counters,
    prefix_hits: Option<f32>,
    ttft_p95_ms: Option<u64>,
    own: VecDeque<u64>,
}

impl Meter {
    /// Our own measurement of a first token, for servers that have none.
    pub(super) fn first_token(&mut self, ms: u64) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(ms);
    }

    pub(super) fn own_p95_ms(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.own.iter().copied().collect();
        all.sort_unstable();
        let rank = (all.len() * 95).div_ceil(100);
        all.get(rank.checked_sub(1)?).copied()
    }

    pub(super) fn read(&mut self, page: &str) -> Reading {
        let page = Page::parse(page);
        let first = |names: &[&str]| names.iter().find_map(|n| page.sum(n));
        let whole = |n: f64| n.clamp(0.0, f64::from(u32::MAX)) as u32;
        let now = Counters { prefix: prefix(&page), ttft: page.buckets("vllm:time_to_first_token_seconds_bucket") };
        if let Some((hits, looked)) = now.prefix {
            let (h, l) = self.last.prefix.filter(|(h, l)| *h <= hits && *l <= looked).unwrap_or_default();
            if looked - l > 0.0 {
                self.prefix_hits = Some(((hits - h) / (looked - l)).clamp(0.0, 1.0) as f32);
            }
        }
        if let Some(seconds) = p95(&self.last.ttft, &now.ttft) {
            self.ttft_p95_ms = Some((seconds * 1000.0).round() as u64);
        }
        self.last = now;
        Reading {
            running: first(&["vllm:num_requests_running", "llamacpp:requests_processing"]).map(whole),
            waiting: first(&["vllm:num_requests_waiting", "llamacpp:requests_deferred"]).map(whole),
            kv_cache: page
                .most("vllm:kv_cache_usage_perc")
                .or_else(|| page.most("vllm:gpu_cache_usage_perc"))
                .or_else(|| page.most("llamacpp:kv_cache_usage_ratio"))
                .map(|v| v.clamp(0.0, 1.0) as f32),
            prefix_hits: self.prefix_hits,
            ttft_p95_ms: self.ttft_p95_ms.or_else(|| self.own_p95_ms()),
        }
    }
}

fn prefix(page: &Page<'_>) -> Option<(f64, f64)> {
    let vllm = ["vllm:prefix_cache", "vllm:gpu_prefix_cache"].iter().find_map(|n| {
        let of = |what: &str| page.sum(&format!("{n}_{what}_total")).or_else(|| page.sum(&format!("{n}_{what}")));
        Some((of("hits")?, of("queries")?))
    });
    vllm.or_else(|| {
        // Prompt tokens of llama.cpp leave out those that were cached.
        let cached = page.sum("llamacpp:prompt_tokens_cached_total")?;
        Some((cached, cached + page.sum("llamacpp:prompt_tokens_total")?))
    })
}

/// The 95th percentile of what came between two looks, in seconds, as Prometheus's `histogram_quantile` has it: linear
/// inside a bucket, the last finite bound when it lies beyond.
fn p95(before: &BTreeMap<u64, f64>, now: &BTreeMap<u64, f64>) -> Option<f64> {
    // A server that began anew counts from nothing.
    let fresh = now.iter().any(|(le, n)| before.get(le).is_some_and(|b| b > n));
    let new: Vec<(f64, f64)> = now
        .iter()
        .map(|(le, n)| (f64::from_bits(*le), if fresh { *n } else { n - before.get(le).unwrap_or(&0.0) }))
        .collect();
    let total = new.last().filter(|(le, _)| le.is_infinite())?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = 0.95 * total;
    let at = new.iter().position(|(_, n)| *n >= rank)?;
    let (le, n) = new[at];
    let (low, below) = at.checked_sub(1).map_or((0.0, 0.0), |i| new[i]);
    if le.is_infinite() {
        return (at > 0).then_some(low);
    }
    let inside = n - below;
    Some(if inside > 0.0 { low + (le - low) * (rank - below) / inside } else { le })
}

/// Samples of a page by name; comments and lines that are none are left out.
struct Page<'a>(Vec<(&'a str, &'a str, f64)>);

impl<'a> Page<'a> {
    fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    fn of<'b>(&'b self, name: &'b str) -> impl Iterator<Item = (&'a str, f64)> + 'b {
        self.0.iter().filter(move |s| s.0 == name && s.2.is_finite() && s.2 >= 0.0).map(|s| (s.1, s.2))
    }

    /// Over all label sets.
    fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).map(|s| s.1).reduce(|a, b| a + b)
    }

    fn most(&self, name: &str) -> Option<f64> {
        self.of(name).map(|s| s.1).reduce(f64::max)
    }

    fn buckets(&self, name: &str) -> BTreeMap<u64, f64> {
        let mut out = BTreeMap::new();
        for (labels, n) in self.of(name) {
            let le = labels.split("le=\"").nth(1).and_then(|l| l.split('"').next());
            let le = match le {
                Some("+Inf") => Some(f64::INFINITY),
                Some(le) => le.parse().ok().filter(|le: &f64| *le > 0.0),
                None => None,
            };
            if let Some(le) = le {
                // Bits of positive numbers are in the order of the numbers.
                *out.entry(le.to_bits()).or_insert(0.0) += n;
            }
        }
        out
    }
}

/// `name{labels} value [time]`.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty() && !name.starts_with('#')).then_some((name, labels, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: &str = "# HELP llamacpp:prompt_tokens_total Number\nllamacpp:prompt_tokens_total 41\nllamacpp:prompt_tokens_cached_total 27\nllamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n";

    fn vllm(counts: [u32; 4], hits: u32, looked: u32) -> String {
        let [a, b, c, all] = counts;
        let l = "engine=\"0\",model_name=\"a}b c\"";
        format!(
            "vllm:num_requests_running{{{l}}} 2.0\nvllm:num_requests_waiting{{engine=\"0\"}} 1.0\nvllm:num_requests_waiting{{engine=\"1\"}} 3\nvllm:kv_cache_usage_perc{{{l}}} 0.25\n\
             vllm:prefix_cache_queries_total{{{l}}} {looked}\nvllm:prefix_cache_hits_total{{{l}}} {hits}\n\
             vllm:time_to_first_token_seconds_bucket{{{l},le=\"0.1\"}} {a}\nvllm:time_to_first_token_seconds_bucket{{le=\"0.5\",{l}}} {b}\n\
             vllm:time_to_first_token_seconds_bucket{{le=\"1.0\",{l}}} {c}\nvllm:time_to_first_token_seconds_bucket{{le=\"+Inf\",{l}}} {all}\nnonsense\nx{{ 3\nvllm:bad NaN\n"
        )
    }

    #[test]
    fn a_page_of_vllm_and_what_changed_since_the_last() {
        let mut m = Meter::default();
        let r = m.read(&vllm([0, 100, 100, 100], 300, 400));
        assert_eq!((r.running, r.waiting, r.kv_cache, r.prefix_hits), (Some(2), Some(4), Some(0.25), Some(0.75)));
        assert_eq!(r.ttft_p95_ms, Some(480), "95 of 100 between 0.1 and 0.5 s");
        let r = m.read(&vllm([0, 100, 120, 120], 300, 500));
        assert_eq!((r.prefix_hits, r.ttft_p95_ms), (Some(0.0), Some(975)));
        let r = m.read(&vllm([0, 100, 120, 120], 300, 500));
        assert_eq!((r.prefix_hits, r.ttft_p95_ms), (Some(0.0), Some(975)), "nothing new: as it was");
        let r = m.read(&vllm([10, 10, 10, 10], 5, 10));
        assert_eq!((r.prefix_hits, r.ttft_p95_ms), (Some(0.5), Some(95)), "it began anew");
        let r = m.read(&vllm([10, 10, 10, 30], 5, 10));
        assert_eq!(r.ttft_p95_ms, Some(1000), "beyond the last bound");
    }

    #[test]
    fn a_page_of_llama_cpp_has_no_first_tokens_so_ours_count() {
        let mut m = Meter::default();
        let r = m.read(LLAMA);
        assert_eq!((r.running, r.waiting, r.kv_cache, r.ttft_p95_ms), (Some(1), Some(4), None, None));
        assert!((r.prefix_hits.unwrap() - 27.0 / 68.0).abs() < 1e-6);
        (1..=200).for_each(|n| m.first_token(n));
        assert_eq!(m.read(LLAMA).ttft_p95_ms, Some(195));
    }

    #[test]
    fn a_page_that_is_none_says_nothing() {
        assert_eq!(Meter::default().read("<html>not found</html>"), Reading::default());
    }

    proptest::proptest! {
        #[test]
        fn any_page_is_survived(page in "\\PC{0,200}", lines in proptest::collection::vec("vllm:[a-z_]{0,40}(\\{[le=\"+Inf0-9.,}]{0,20})? ?[0-9eE.+-]{0,9}", 0..9)) {
            let mut m = Meter::default();
            let r = m.read(&page);
            proptest::prop_assert!(r.kv_cache.is_none_or(|v| (0.0..=1.0).contains(&v)));
            m.read(&lines.join("\n"));
        }
    }
}
