//! `docs/metrics.md`, made from a scrape and from the enums behind its labels; and that the other pages name no metric
//! and no reason that is not there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use vtepd::telemetry::{BindingEvent, DropReason, Event, Exposition, FdbEvent, KernelTable, PuntClass, RemoteState};

use crate::gateway::Gateway;

const INTRODUCTION: &str = "\
# What is counted

<!-- Made by tests/observability/reference.rs: UPDATE=1 cargo test --test observability -->

`http://ADDRESS/metrics`, with the address of `[stats] listen`, is OpenMetrics text, which Prometheus scrapes as it is.
Counters start at 0 with the process and are read when they are asked for. `/healthz` answers 200 as long as every
worker, the control thread and the threads between gateway and kernel move, `/readyz` as soon as workers forward; else 503
with lines that say why.
";

/// What each label tells.
const LABELS: [(&str, &str); 23] = [
    ("version", "the gateway's version"),
    ("dpdk", "DPDK's version"),
    ("port", "the port's `name` in the config"),
    ("role", "`uplink` or `access`"),
    (
        "direction",
        "`receive`: towards the gateway; `transmit`: away from it; on the exception path `to_kernel` or `from_kernel`",
    ),
    ("name", "what the driver calls it"),
    ("vni", "the bridge's VNI"),
    ("kind", "what was to be flooded: `broadcast`, `multicast` or `unknown_unicast`"),
    ("side", "`access`: the bridge's access ports; `tunnel`: its remote VTEPs"),
    ("remote", "the remote VTEP's address"),
    ("group", "a multicast group of the underlay"),
    ("reason", "why, see [drop reasons](#drop-reasons)"),
    ("event", "what, see [events](#events), [FDB events](#fdb-events) and [binding events](#binding-events)"),
    ("worker", "the worker's number, from 0, in the order of `[workers] cores`"),
    ("thread", "its name, as `top -H` has it, too"),
    ("core", "the core it is pinned to"),
    (
        "result",
        "`applied` or `refused`; of resyncs `completed` or `given_up`; of what the kernel is told `published`, `withdrawn` or \
         `refused`",
    ),
    (
        "source",
        "who says it: `learned` from the station itself, the `kernel`, or `static`: a `[[binding]]` of the config",
    ),
    ("state", "see [remote VTEPs](#remote-vteps)"),
    ("table", "see [tables of the kernel](#tables-of-the-kernel)"),
    ("class", "what it is, see [classes](#classes-of-packets-for-the-kernel)"),
    ("outcome", "`passed`: handed over; `limited` and `full`: dropped as `punt_limited` and `punt_full`"),
    (
        "cause",
        "`not_taken`: the interface is down or gone; `vxlan`: it is or may be VXLAN; `too_long`: longer than the MTU; \
         `not_link_local`: through an access port to what is no link-local group",
    ),
];

/// A metric family of a scrape.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    /// The names that samples have, and their labels, in the order of their first appearance.
    samples: Vec<String>,
    labels: Vec<String>,
}

fn families() -> Vec<Family> {
    let text = Exposition::new(Arc::new(Gateway::busy())).encode().expect("a scrape");
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
            continue;
        }
        let family = families.last_mut().expect("a HELP comes first");
        if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            family.kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').expect("a series and a value").0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            push_new(&mut family.samples, name);
            let mut pieces: Vec<_> = labels.split("=\"").collect();
            pieces.pop();
            for piece in pieces {
                push_new(&mut family.labels, piece.rsplit(',').next().unwrap_or(piece));
            }
        }
    }
    families
}

fn push_new(list: &mut Vec<String>, word: &str) {
    if !list.iter().any(|known| known == word) {
        list.push(word.to_owned());
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let code = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    page.push_str("\n## Metrics\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in families() {
        let Family { kind, help, samples, labels, .. } = family;
        let _ = writeln!(page, "| {} | {kind} | {} | {help} |", code(&samples), code(&labels));
    }
    page.push_str("\n## Labels\n\n| label | meaning |\n|---|---|\n");
    for (label, meaning) in LABELS {
        let _ = writeln!(page, "| `{label}` | {meaning} |");
    }
    page.push_str(
        "| `le` | the seconds that the bursts counted took at most, within 3 %: of the last five minutes, 99 in 100 took \
         `histogram_quantile(0.99, sum by (le) (rate(vtepd_worker_burst_duration_seconds_bucket[5m])))` |\n",
    );
    let mut table = |title: &str, words: &str, rows: Vec<(&str, &str)>| {
        let _ = write!(page, "\n## {title}\n\n{words}\n\n| name | meaning |\n|---|---|\n");
        for (name, help) in rows {
            let _ = writeln!(page, "| `{name}` | {help} |");
        }
    };
    table(
        "Drop reasons",
        "`vtepd_dropped_packets_total`, `vtepctl show drops`. A packet that is not forwarded is counted under one of them.",
        DropReason::ALL.iter().map(|reason| (reason.name(), reason.help())).collect(),
    );
    table(
        "Events",
        "`vtepd_events_total`, `vtepctl show drops`.",
        Event::ALL.iter().map(|event| (event.name(), event.help())).collect(),
    );
    table(
        "FDB events",
        "`vtepd_fdb_events_total`.",
        FdbEvent::ALL.iter().map(|event| (event.name(), event.help())).collect(),
    );
    table(
        "Binding events",
        "`vtepd_binding_events_total`.",
        BindingEvent::ALL.iter().map(|event| (event.name(), event.help())).collect(),
    );
    table(
        "Remote VTEPs",
        "`vtepd_underlay_remotes`, `vtepctl show vteps`: those without a `[[neighbour]]`, whose way the kernel says.",
        RemoteState::ALL.iter().map(|state| (state.name(), state.help())).collect(),
    );
    table(
        "Tables of the kernel",
        "`vtepd_kernel_entries`.",
        KernelTable::ALL.iter().map(|table| (table.name(), table.help())).collect(),
    );
    table(
        "Classes of packets for the kernel",
        "`vtepd_exception_punted_packets_total`.",
        PuntClass::ALL.iter().map(|class| (class.name(), class.help())).collect(),
    );
    page
}

#[test]
fn the_reference_page_is_that_of_the_scrape() {
    crate::golden::compare("../../docs/metrics.md", &page());
}

#[test]
fn every_label_of_the_scrape_is_explained_and_no_other() {
    let explained = LABELS.iter().map(|(label, _)| (*label).to_owned()).chain(["le".to_owned()]);
    let used: BTreeSet<String> = families().into_iter().flat_map(|family| family.labels).collect();
    assert_eq!(explained.collect::<BTreeSet<_>>(), used);
}

/// Words that look like metrics must be metrics; and the symptoms of the troubleshooting list must be counted things.
#[test]
fn pages_for_people_name_only_metrics_and_reasons_that_are_there() {
    let read = |name: &str| {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let families = families();
    let metrics: BTreeSet<&str> =
        families.iter().flat_map(|family| family.samples.iter().chain([&family.name])).map(String::as_str).collect();
    let mut seen = 0;
    for name in ["README.md", "docs/operations.md"] {
        let text = read(name);
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        for word in words.filter(|word| word.starts_with("vtepd_")) {
            assert!(metrics.contains(word), "{name}: there is no metric {word}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no page names a metric");
    let counted: BTreeSet<&str> = DropReason::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(Event::ALL.iter().map(|event| event.name()))
        .chain(FdbEvent::ALL.iter().map(|event| event.name()))
        .chain(BindingEvent::ALL.iter().map(|event| event.name()))
        .collect();
    let operations = read("docs/operations.md");
    let symptoms: Vec<&str> = operations
        .lines()
        .filter(|line| line.starts_with("### "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    assert!(symptoms.len() > 5, "{symptoms:?}");
    for symptom in symptoms {
        assert!(counted.contains(symptom) || metrics.contains(symptom), "nothing counts {symptom}");
    }
}
