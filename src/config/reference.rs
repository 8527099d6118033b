//! The reference page, made from the schema.

use std::fmt::Write as _;

use super::schema::{Absent, Form, Key, SECTIONS, Section, entries_of};

const INTRODUCTION: &str = "\
# The config file

<!-- Made from src/config/schema/sections/: UPDATE=1 cargo test --test config -->

`vtepd --config FILE` reads one TOML file, and `vtepd --config FILE --check` only says whether it is right. A file is
checked as a whole before anything starts: unknown keys, wrong values, repetitions, overlaps and names of things that
are not there are all told in one run, each with its line and what to do.

`[section]` is written once at most, `[[section]]` once for each thing it describes, in any order. Numbers and `true` or
`false` stand without quotes, all else in quotes. A key with a default may be left out, and so may a section of which
all keys have one.
";

/// The reference page, in Markdown: each section with its keys, their types, defaults and meanings, and an example.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &Section) {
    let often = match (section.form, section.required) {
        (Form::Single, true) => "Required.",
        (Form::Single, false) => "Optional.",
        (Form::Repeated, true) => "Required, once or more.",
        (Form::Repeated, false) => "Optional, as often as needed.",
        (Form::Entry, _) => "An entry with its name alone has none of the other keys.",
    };
    let (header, doc, example) = (section.header(), section.doc, section.example);
    let level = if section.form == Form::Entry { "###" } else { "##" };
    // Writing to a String does not fail.
    let _ = write!(page, "\n{level} `{header}`\n\n{doc} {often}\n\n");
    page.push_str("| key | value | without it | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let _ = writeln!(page, "| `{}` | {} | {} | {} |", key.name, key.kind, absent(key), key.doc);
    }
    if let Some(entries) = entries_of(section) {
        write_section(page, entries);
    }
    if !example.is_empty() {
        let _ = write!(page, "\n```toml\n{example}```\n");
    }
}

fn absent(key: &Key) -> String {
    match key.absent {
        Absent::Required => "an error".to_owned(),
        Absent::Default(default) => format!("`{default}`"),
        Absent::Means(words) => words.to_owned(),
    }
}
