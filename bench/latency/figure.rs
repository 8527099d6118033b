//! The figure: three panels of lines on one logarithmic scale, written as SVG by hand.

use std::fmt::Write;

use super::report::Report;
use super::round::Quantiles;
use crate::traffic::name_of;

const WIDTH: f64 = 250.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 84.0;
const BETWEEN: f64 = 90.0;
/// From a hundred nanoseconds to ten milliseconds.
const LEAST: f64 = 2.0;
const DECADES: f64 = 5.0;
const COLOURS: [&str; 3] = ["#2f7ed8", "#d8862f", "#b03060"];

/// One line: its name and its values, in nanoseconds.
type Line = (String, Vec<f64>);

fn height(nanoseconds: f64) -> f64 {
    TOP + HEIGHT - ((nanoseconds.max(1.0).log10() - LEAST) / DECADES).clamp(0.0, 1.0) * HEIGHT
}

fn panel(out: &mut String, number: usize, title: &str, places: &[&str], lines: &[Line]) {
    let left = LEFT + number as f64 * (WIDTH + BETWEEN);
    let along = |place: usize| left + WIDTH * (place as f64 + 0.5) / places.len() as f64;
    let _ = writeln!(out, r#"<text x="{left}" y="{}" font-weight="bold">{title}</text>"#, TOP - 12.0);
    for (decade, name) in ["100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms"].iter().enumerate() {
        let y = height(10_f64.powf(LEAST + decade as f64));
        let _ = writeln!(
            out,
            r##"<path d="M{left} {y:.1}H{:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"##,
            left + WIDTH,
            left - 6.0,
            y + 4.0
        );
    }
    for (place, name) in places.iter().enumerate() {
        let (x, y) = (along(place), TOP + HEIGHT + 18.0);
        let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{name}</text>"#);
    }
    for (number, (name, values)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<(f64, f64)> =
            values.iter().enumerate().map(|(place, value)| (along(place), height(*value))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ =
            writeln!(out, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.join(" "));
        for (x, y) in points {
            let _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
        }
        let y = TOP + HEIGHT + 40.0 + 16.0 * number as f64;
        let _ = writeln!(
            out,
            r#"<path d="M{left} {:.1}h18" stroke="{colour}" stroke-width="3"/><text x="{}" y="{y:.1}">{name}</text>"#,
            y - 4.0,
            left + 24.0
        );
    }
}

/// Burst times and packet latency by quantile, a line for each load; the first packet after a silence, a line for each
/// idle policy.
pub fn lines(report: &Report) -> String {
    let all = |times: &Quantiles| vec![times.p50, times.p90, times.p99, times.p999, times.max];
    let quantiles = ["p50", "p90", "p99", "p99.9", "max"];
    let name = |load: &super::round::Load| format!("{} %: {:.2} Mpps", load.share, load.mpps);
    let bursts: Vec<Line> = report.loads.iter().map(|load| (name(load), all(&load.burst))).collect();
    let packets: Vec<Line> = report.loads.iter().map(|load| (name(load), all(&load.packet))).collect();
    let mut body = String::new();
    panel(&mut body, 0, "A burst, receive to transmit", &quantiles, &bursts);
    panel(&mut body, 1, "A packet, ring to ring", &quantiles, &packets);
    let mut silences: Vec<Line> = Vec::new();
    let mut places = Vec::new();
    for (policy, idling) in &report.idling {
        places = idling.silences.iter().map(|(milliseconds, _)| format!("{milliseconds} ms")).collect();
        let medians = idling.silences.iter().map(|(_, times)| times.p50).collect();
        silences.push((
            format!("idle = {}, median; takes {:.1} % of its core", name_of(policy), idling.processor * 100.0),
            medians,
        ));
    }
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    panel(&mut body, 2, "The first packet after a silence of", &places, &silences);
    let machine = &report.machine;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="15">Latency of one worker, {} at loads in hundredths of its maximum of {:.2} Mpps</text>
<text x="16" y="42">{}, load {}, commit {}; medians of {} rounds</text>
{body}</svg>
"##,
        LEFT + 3.0 * WIDTH + 2.0 * BETWEEN + 60.0,
        TOP + HEIGHT + 100.0,
        report.case.title(),
        report.maximum,
        machine.processor,
        machine.load,
        machine.commit,
        report.rounds.len(),
    )
}
