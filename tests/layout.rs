//! The rooms of the house use each other only as CONTRIBUTING.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What each room may use, by the first table of CONTRIBUTING.md.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("the page is there");
    let room = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `src/")?.trim_end_matches('|').split('|').collect();
        let name = cells.first()?.split('`').next()?;
        Some((name.to_owned(), quoted(cells.last()?).map(str::to_owned).collect()))
    };
    text.lines().filter_map(room).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// The rooms that a line of code names: `crate::ROOM`.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") { "" } else { line };
    code.split("crate::").skip(1).filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_lowercase()).next())
}

#[test]
fn every_room_uses_only_what_its_row_names() {
    let allowed = allowed();
    let folders: BTreeSet<String> = fs::read_dir(root().join("src"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "bin")
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(allowed.keys().cloned().collect::<BTreeSet<_>>(), folders, "rooms of the table and of src");
    let mut uses: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (room, may_use) in &allowed {
        let mut files = Vec::new();
        sources(&root().join("src").join(room), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("it is text");
            for (number, line) in text.lines().enumerate() {
                for other in used(line).filter(|other| other != room && folders.contains(*other)) {
                    assert!(may_use.contains(other), "{}:{}: `{room}` uses `{other}`", file.display(), number + 1);
                    uses.entry(room).or_default().insert(other.to_owned());
                }
            }
        }
    }
    for (room, may_use) in &allowed {
        assert_eq!(may_use, &uses.remove(room.as_str()).unwrap_or_default(), "what `{room}` may use and does");
    }
}

#[test]
fn no_two_rooms_use_each_other() {
    let allowed = allowed();
    let mut below: BTreeSet<&str> = BTreeSet::new();
    while below.len() < allowed.len() {
        let next: Vec<&str> = allowed
            .iter()
            .filter(|(room, uses)| !below.contains(room.as_str()) && uses.iter().all(|other| below.contains(&**other)))
            .map(|(room, _)| room.as_str())
            .collect();
        assert!(!next.is_empty(), "there is a circle above {below:?}");
        below.extend(next);
    }
}
