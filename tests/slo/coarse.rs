//! History that is read coarsely, because there is much of it, loses nothing around resets.

use std::sync::Arc;

use watchfloor::config::settings::{OperateSettings, PrometheusSettings};
use watchfloor::operate::slo::source::Reader;
use watchfloor::operate::slo::spec::Folder;
use watchfloor::store::sqlite::SqliteStore;

/// More objectives of thirty days than are read by the minute; all ask the same.
const MANY: usize = 60;

pub fn agrees(url: &str) {
    let one = |i: usize| {
        format!(
            "[[slo]]\nservice = \"s\"\nname = \"n{i:02}\"\ntarget = \"99.5%\"\nwindow = \"30d\"\n\
             bad = 'http_requests_total{{code=~\"5..\"}}'\ntotal = 'http_requests_total'\n"
        )
    };
    let slos = Folder::parse(vec![("a.toml".into(), (0..MANY).map(one).collect())]).unwrap();
    let mut settings = OperateSettings::default();
    let server = PrometheusSettings { url: url.into(), ..PrometheusSettings::default() };
    settings.prometheus.insert("main".into(), server);
    let store = Arc::new(SqliteStore::open_temporary().unwrap());
    let reader = Reader::new(&settings, Arc::new(|_| Err("no secrets".into())), store);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let judged = runtime.block_on(reader.refresh(&slos, jiff::Timestamp::now()));
    let coarse = |notes: &[String]| notes.iter().any(|n| n.contains("is read every 300 s"));
    let (rough, fine): (Vec<_>, Vec<_>) = judged.iter().partition(|(slo, _)| coarse(&slo.notes));
    assert!(rough.len() > 5 && fine.len() > 30, "{} {}", rough.len(), fine.len());
    let (a, b) = (&rough[0].1, &fine[0].1);
    // Without the minutes around three resets, seven minutes of 43,200 would be missing.
    let off = |a: f64, b: f64| (a - b).abs() / b;
    assert!(off(a.total, b.total) < 3e-5, "{} {}", a.total, b.total);
    assert!(off(a.spent.unwrap(), b.spent.unwrap()) < 1e-3, "{:?} {:?}", a.spent, b.spent);
    let rates = |s: &watchfloor::model::slo::SloStatus| s.burn.iter().map(|b| b.rate).collect::<Vec<_>>();
    assert_eq!(rates(a)[..3], rates(b)[..3], "the last hours are by the minute for all");
}
