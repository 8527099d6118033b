//! The scrape against known numbers, and against what OpenMetrics 1.0 asks of any exposition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vtepd::telemetry::{DropReason, Event, Exposition};

use crate::gateway::Gateway;

fn scrape(gateway: Gateway) -> String {
    Exposition::new(Arc::new(gateway)).encode().expect("a scrape")
}

/// `text` without the drops and events that never occurred, so that a new one is no change of the golden file.
fn without_zeros(text: &str) -> String {
    let never = |line: &str| {
        (line.starts_with("vtepd_dropped_packets_total{") || line.starts_with("vtepd_events_total{"))
            && line.ends_with(" 0")
    };
    text.split_inclusive('\n').filter(|line| !never(line.trim_end())).collect()
}

#[test]
fn a_scrape_of_known_numbers_is_the_golden_one() {
    crate::golden::compare("scrape.txt", &without_zeros(&scrape(Gateway::busy())));
}

#[test]
fn every_reason_and_event_is_listed_also_at_zero() {
    let text = scrape(Gateway::busy());
    for reason in DropReason::ALL {
        let count = match reason {
            DropReason::UnknownVni => 42,
            DropReason::NoNextHop => 1,
            _ => 0,
        };
        let line = format!("\nvtepd_dropped_packets_total{{reason=\"{}\"}} {count}\n", reason.name());
        assert!(text.contains(&line), "{line}");
    }
    for event in Event::ALL {
        assert!(text.contains(&format!("\nvtepd_events_total{{event=\"{}\"}} ", event.name())), "{}", event.name());
    }
}

/// The rules of OpenMetrics 1.0 that a scraper trips over: metadata before samples, once, families not interleaved,
/// suffixes by type, units in names, no sample twice, the end marked.
#[test]
fn a_scrape_keeps_the_rules_of_open_metrics() {
    for gateway in [Gateway::busy(), Gateway::empty()] {
        let text = scrape(gateway);
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
        let mut types: HashMap<&str, &str> = HashMap::new();
        let (mut helped, mut samples, mut family) = (HashSet::new(), HashSet::new(), "");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                assert!(helped.insert(name), "{name} has two helps");
                assert!(words.ends_with('.') && !words.contains('\\'), "{line}");
                family = name;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(name == family && types.insert(name, kind).is_none(), "{line}");
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').expect("a name and a unit");
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                assert!(samples.insert(series), "{series} twice");
                assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
                let name = series.split('{').next().unwrap_or(series);
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} is not in {family}"));
                let allowed: &[&str] = match types[family] {
                    "counter" => &["_total"],
                    "info" => &["_info"],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    _ => &[""],
                };
                assert!(allowed.contains(&suffix), "{line}");
            }
        }
    }
}

#[test]
fn buckets_of_a_histogram_count_what_is_in_those_before_and_the_last_one_all() {
    let text = scrape(Gateway::busy());
    let samples = |suffix: &'static str| {
        let prefix = format!("vtepd_worker_burst_duration_seconds_{suffix}{{");
        text.lines().filter_map(move |line| line.strip_prefix(&prefix)?.rsplit_once("} ")).collect::<Vec<_>>()
    };
    for (worker, all) in samples("count") {
        let of_worker = |(series, count): (&str, &str)| {
            let bound = series.strip_prefix(worker)?.strip_prefix(",le=\"")?.strip_suffix('"')?.parse::<f64>().ok()?;
            Some((bound, count.parse::<u64>().expect("a count")))
        };
        let buckets: Vec<(f64, u64)> = samples("bucket").into_iter().filter_map(of_worker).collect();
        assert_eq!(buckets.len(), 17, "{worker}");
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, all.parse().expect("a count"))));
    }
}
