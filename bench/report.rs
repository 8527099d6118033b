//! What is printed and written.

use std::fs;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::measurement::Variant;
use crate::rounds::CaseResult;
use crate::testbed::Fallible;
use crate::traffic::name_of;

/// Where it is written.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/out")
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// The cases.
    pub cases: Vec<CaseResult>,
}

/// The machine a run was made on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor, as it calls itself.
    pub processor: String,
    /// Its processors' number.
    pub processors: usize,
    /// Processes that wanted to run in the minute before, as a mean.
    pub load: String,
    /// When, in seconds since the Unix epoch.
    pub time: u64,
    /// The commit that was measured, with `+` where the tree differed from it.
    pub commit: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git").args(arguments).output().ok();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let changed = !git(&["status", "--porcelain", "--", "src", "Cargo.lock"]).is_empty();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            processor: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            time: now.as_secs(),
            commit: git(&["rev-parse", "--short", "HEAD"]) + if changed { "+" } else { "" },
        }
    }
}

impl Report {
    /// A line for each variant of each case.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            "set",
            "frames",
            "underlay",
            "direction",
            "variant",
            "min",
            "median",
            "max",
            "Mpps",
            "over io",
            "× io",
            "÷ OVS",
        ]);
        for result in &self.cases {
            let (io, ovs) = (result.of(Variant::Io), result.of(Variant::Ovs));
            for summary in &result.variants {
                let case = &result.case;
                let ratio = |other: Option<f64>| other.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
                table.add_row([
                    name_of(&case.set),
                    name_of(&case.frames),
                    name_of(&case.underlay),
                    name_of(&case.direction),
                    name_of(&summary.variant),
                    format!("{:.1}", summary.min),
                    format!("{:.1}", summary.median),
                    format!("{:.1}", summary.max),
                    format!("{:.2}", summary.mpps),
                    summary.over_io.map_or_else(|| "-".to_owned(), |over| format!("{over:+.1}")),
                    ratio(io.map(|io| summary.median / io.median)),
                    ratio(ovs.map(|ovs| ovs.median / summary.median)),
                ]);
            }
        }
        for column in 5..12 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// Writes `throughput.json`, `throughput.svg` and `throughput.md` into `folder`.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&self, folder: &Path) -> Fallible<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("throughput.json"), serde_json::to_string_pretty(self)?)?;
        fs::write(folder.join("throughput.svg"), crate::plot::bars(self))?;
        fs::write(folder.join("throughput.md"), format!("{}\n", self.table()))?;
        Ok(())
    }

    /// Everything that went wrong, in lines.
    pub fn failures(&self) -> Vec<String> {
        let of = |result: &CaseResult| {
            let title = result.case.title();
            result.failures.iter().map(move |failure| format!("{title}: {failure}")).collect::<Vec<_>>()
        };
        self.cases.iter().flat_map(of).collect()
    }
}
