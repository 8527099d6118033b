//! The figure: bars, written as SVG by hand.

use std::fmt::Write;

use crate::measurement::Variant;
use crate::report::Report;
use crate::traffic::name_of;

const LEFT: f64 = 230.0;
const BARS: f64 = 560.0;
const ROW: f64 = 18.0;
const GAP: f64 = 12.0;
const TOP: f64 = 64.0;

/// Median cycles per packet of every variant of every case, as bars, with a line from the least round to the most.
pub fn bars(report: &Report) -> String {
    let most = report
        .cases
        .iter()
        .flat_map(|case| &case.variants)
        .filter(|summary| summary.variant != Variant::Ovs)
        .map(|summary| summary.max)
        .fold(1.0, f64::max);
    let scale = |cycles: f64| (cycles / most).min(1.0) * BARS;
    let mut body = String::new();
    let mut y = TOP;
    for result in &report.cases {
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{}" text-anchor="end" class="case">{}</text>"#,
            LEFT - 64.0,
            y + 13.0,
            result.case.title()
        );
        for summary in &result.variants {
            let (name, middle) = (name_of(&summary.variant), y + ROW / 2.0);
            let width = scale(summary.median);
            // A rival far beyond the scale ends in an arrow, and its number says where it is.
            let beyond = if summary.median > most { " »" } else { "" };
            let _ = writeln!(
                body,
                r##"<text x="{}" y="{}" text-anchor="end">{name}</text><rect x="{LEFT}" y="{}" width="{width:.1}" height="{}" class="{name}"/><path d="M{:.1} {middle}H{:.1}" stroke="#222"/><text x="{:.1}" y="{}">{:.0}{beyond}</text>"##,
                LEFT - 8.0,
                y + 13.0,
                y + 2.0,
                ROW - 4.0,
                LEFT + scale(summary.min),
                LEFT + scale(summary.max),
                LEFT + scale(summary.max).max(width) + 6.0,
                y + 13.0,
                summary.median,
            );
            y += ROW;
        }
        y += GAP;
    }
    let machine = &report.machine;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{y}" font-family="sans-serif" font-size="11">
<style>.io{{fill:#9aa5b1}}.gateway{{fill:#2f7ed8}}.ovs{{fill:#d8862f}}.case{{font-weight:bold}}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="15">Cycles per packet, one core: bars are medians of rounds, lines go from the least to the most</text>
<text x="16" y="42">{}, load {}, commit {}</text>
{body}</svg>
"##,
        LEFT + BARS + 90.0,
        machine.processor,
        machine.load,
        machine.commit,
    )
}
