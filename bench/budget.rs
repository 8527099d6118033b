//! Instructions per packet against the budgets of `bench/budgets.toml`: a guard that does not care how busy the machine
//! is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use vtepd::forwarding::BURST;

use crate::features::{self, Totals};
use crate::instructions::{BURSTS, COUNTED, Task};
use crate::interrupt;
use crate::report::Machine;
use crate::testbed::Fallible;
use crate::traffic::name_of;

/// What is allowed.
#[derive(Serialize, Deserialize)]
struct Budgets {
    /// By how much a count may exceed its budget, in percent: what another release of a compiler or a C library changes.
    tolerance_percent: f64,
    /// Instructions per packet.
    instructions_per_packet: BTreeMap<String, f64>,
}

/// Instructions per packet, the most first.
struct Counts {
    total: f64,
    /// By the source file they were written in, whatever they were inlined into.
    files: Vec<(String, f64)>,
    /// By the function they ended up in.
    functions: Vec<(String, f64)>,
}

fn budgets_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/budgets.toml")
}

/// What a run of the budget does besides comparing.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Make what is counted the budget
    #[arg(long)]
    update: bool,
    /// Say in which functions, and from which files
    #[arg(long)]
    details: bool,
    /// Say what each feature costs, as a table
    #[arg(long)]
    table: bool,
}

/// Counts every task and compares; with `update`, what was counted becomes the budget.
///
/// # Errors
/// Where a budget is exceeded, by how much; and where a feature that is to cost nothing does.
pub fn check(options: Options) -> Fallible<()> {
    let mut budgets: Budgets = toml::from_str(&fs::read_to_string(budgets_file())?)?;
    let mut exceeded = Vec::new();
    let mut totals = Totals::new();
    for (task, counts) in count_all()? {
        totals.insert(task, counts.total);
        exceeded.extend(compare(&name_of(&task), &counts, &mut budgets, options));
    }
    exceeded.extend(features::costly_free(&totals, budgets.tolerance_percent));
    if options.update {
        write(&budgets)?;
    }
    if options.table {
        println!("\n{}, commit {}\n\n{}", today()?, Machine::here().commit, features::table(&totals));
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(format!("{}; if they are worth it: bench/run budget --update", exceeded.join("; ")).into())
}

/// Prints what was counted for a task beside its budget. Says so if that is exceeded; with `update` it is set instead.
fn compare(name: &str, counts: &Counts, budgets: &mut Budgets, options: Options) -> Option<String> {
    let budget = budgets.instructions_per_packet.get(name).copied();
    let difference = budget.map(|budget| counts.total - budget);
    println!(
        "{name:<21} {:7.1} instructions per packet, budget {}",
        counts.total,
        match (budget, difference) {
            (Some(budget), Some(difference)) => format!("{budget:.1} ({difference:+.1})"),
            _ => "none".to_owned(),
        }
    );
    let allowed = budget.unwrap_or(0.0) * (1.0 + budgets.tolerance_percent / 100.0);
    if options.details || (counts.total > allowed && !options.update) {
        counts.print_details();
    }
    if options.update {
        budgets.instructions_per_packet.insert(name.to_owned(), (counts.total * 10.0).round() / 10.0);
        return None;
    }
    let over = difference.unwrap_or(counts.total);
    (counts.total > allowed).then(|| format!("{name} takes {over:.1} instructions per packet more than its budget"))
}

fn today() -> Fallible<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

/// Counts all tasks, as many at once as there are cores: they have nothing to do with each other.
fn count_all() -> Fallible<Vec<(Task, Counts)>> {
    let tasks = Task::value_variants();
    let next = AtomicUsize::new(0);
    let share = || {
        let mut counted = Vec::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let counts = interrupt::check().and_then(|()| count(*task)).map_err(|error| error.to_string());
            // One that failed is the last.
            if counts.is_err() {
                next.store(tasks.len(), Ordering::Relaxed);
            }
            counted.push((*task, counts));
        }
        counted
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(share)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")).collect::<Result<Vec<_>, _>>()
    })?;
    let mut counted: Vec<_> = shares.into_iter().flatten().collect();
    counted.sort_by_key(|(task, _)| *task as usize);
    counted.into_iter().map(|(task, counts)| Ok((task, counts?))).collect()
}

impl Counts {
    fn print_details(&self) {
        for (kind, places) in [("in", &self.functions), ("from", &self.files)] {
            for (place, instructions) in places.iter().filter(|(_, instructions)| *instructions >= 0.5) {
                println!("    {instructions:7.1}  {kind:<4} {place}");
            }
        }
    }
}

fn write(budgets: &Budgets) -> Fallible<()> {
    let mut text =
        "# Instructions per packet, counted by callgrind: `bench/run budget` compares, `--update` writes.\n".to_owned();
    text += &format!("tolerance_percent = {:.1}\n\n[instructions_per_packet]\n", budgets.tolerance_percent);
    for (name, instructions) in &budgets.instructions_per_packet {
        text += &format!("{name} = {instructions:.1}\n");
    }
    Ok(fs::write(budgets_file(), text)?)
}

/// Runs one task in callgrind.
fn count(task: Task) -> Fallible<Counts> {
    let output = std::env::temp_dir().join(format!("vtepd-bench-{}-{}.callgrind", std::process::id(), name_of(&task)));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--collect-atstart=no", "--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--callgrind-out-file={}", output.display()));
    command.arg(std::env::current_exe()?).args(["instructions", &name_of(&task)]);
    let run = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    if !run.status.success() {
        return Err(format!("{}: {}", name_of(&task), String::from_utf8_lossy(&run.stderr).trim()).into());
    }
    let profile = fs::read_to_string(&output)?;
    fs::remove_file(&output)?;
    sum(&profile)
}

/// Sums a profile's own costs. (The format: valgrind's manual, "Callgrind Format Specification".)
fn sum(profile: &str) -> Fallible<Counts> {
    let (mut files, mut functions) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    let (mut file, mut function, mut function_file) = (String::new(), String::new(), String::new());
    let (mut inclusive, mut total) = (false, 0);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fl=") {
            (file, function_file) = (shorten(name), shorten(name));
        } else if let Some(name) = line.strip_prefix("fn=") {
            file.clone_from(&function_file);
            name.clone_into(&mut function);
        } else if let Some(name) = line.strip_prefix("fi=").or_else(|| line.strip_prefix("fe=")) {
            file = shorten(name);
        } else if line.starts_with("calls=") {
            inclusive = true;
        } else if let Some(count) = line.strip_prefix("totals: ") {
            total = count.parse()?;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            // A line of source and its cost; behind `calls`, that of what was called, which is counted there.
            let cost: u64 = line.split_ascii_whitespace().nth(1).map_or(Ok(0), str::parse)?;
            if !std::mem::take(&mut inclusive) {
                *files.entry(file.clone()).or_default() += cost;
                *functions.entry(function.clone()).or_default() += cost;
            }
        }
    }
    if total == 0 {
        return Err("callgrind counted nothing: has the counted function another name?".into());
    }
    if files.values().sum::<u64>() != total {
        return Err(format!("of {total} instructions, {} were found", files.values().sum::<u64>()).into());
    }
    let per_packet = |count: u64| count as f64 / (BURSTS * BURST) as f64;
    let sorted = |places: BTreeMap<String, u64>| {
        let mut places: Vec<_> = places.into_iter().map(|(place, count)| (place, per_packet(count))).collect();
        places.sort_by(|a, b| b.1.total_cmp(&a.1));
        places
    };
    Ok(Counts { total: per_packet(total), files: sorted(files), functions: sorted(functions) })
}

/// A path from `src` on, wherever the crate or the library lies.
fn shorten(path: &str) -> String {
    path.rsplit_once("/library/").or_else(|| path.rsplit_once("/registry/src/")).map_or_else(
        || path.rsplit_once("/src/").map_or_else(|| path.to_owned(), |(_, rest)| format!("src/{rest}")),
        |(_, rest)| rest.to_owned(),
    )
}
