//! A file read section by section, each by itself: what stands there, before it is known whether it fits together.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bindings::BindingDraft;
use super::bridges::BridgeDraft;
use super::diagnostic::{Diagnostic, Findings, Span};
use super::document::{Block, Blocks, place};
use super::model;
use super::neighbours::NeighbourDraft;
use super::plain;
use super::ports::PortDraft;
use super::priorities::qos;
use super::reader::Reader;
use super::schema::{self, Form, SECTIONS, Section};
use super::singles::{ApiDraft, DpdkDraft, VtepDraft, WorkersDraft, fdb, stats};
use super::static_entries::StaticDraft;
use super::wording::{listed, most_alike, quoted};

/// All sections of a file. What is wrong in itself is `None`, here or inside.
pub(super) struct Draft<'t> {
    /// False if part of the file could not be read, so that what is not here may still be there.
    pub(super) sound: bool,
    pub(super) vtep: Option<VtepDraft>,
    pub(super) dpdk: Option<DpdkDraft>,
    pub(super) workers: Option<WorkersDraft>,
    pub(super) ports: Vec<PortDraft<'t>>,
    pub(super) bridges: Vec<BridgeDraft<'t>>,
    pub(super) neighbours: Vec<NeighbourDraft<'t>>,
    pub(super) qos: Option<model::Qos>,
    pub(super) fdb: Option<model::Fdb>,
    pub(super) static_entries: Vec<StaticDraft<'t>>,
    pub(super) bindings: Vec<BindingDraft>,
    pub(super) stats: Option<model::Stats>,
    pub(super) api: Option<ApiDraft>,
    /// Where each section is first.
    seen: HashMap<&'static str, Span>,
}

impl<'t> Draft<'t> {
    /// Reads a file's text.
    pub(super) fn read(text: &'t str, findings: &mut Findings) -> Self {
        let mut draft = Self::empty();
        let mut blocks = Blocks::new(text);
        loop {
            let (rest, base) = blocks.rest();
            if let Some((entry, length)) = plain::static_entry(rest, base) {
                draft.static_entries.push(entry);
                blocks.pass(length);
            } else if let Some(block) = blocks.next(findings) {
                draft.block(block, findings);
            } else {
                break;
            }
        }
        draft.absent_sections(findings);
        draft
    }

    /// As [`Draft::read`], without the fast lane.
    #[cfg(test)]
    pub(super) fn read_ordinarily(text: &'t str, findings: &mut Findings) -> Self {
        let mut draft = Self::empty();
        let mut blocks = Blocks::new(text);
        while let Some(block) = blocks.next(findings) {
            draft.block(block, findings);
        }
        draft.absent_sections(findings);
        draft
    }

    fn empty() -> Self {
        Self {
            sound: true,
            vtep: None,
            dpdk: None,
            workers: None,
            ports: Vec::new(),
            bridges: Vec::new(),
            neighbours: Vec::new(),
            qos: None,
            fdb: None,
            static_entries: Vec::new(),
            bindings: Vec::new(),
            stats: None,
            api: None,
            seen: HashMap::new(),
        }
    }

    fn block(&mut self, block: Block<'t>, findings: &mut Findings) {
        if !block.sound {
            // What the parser makes of the rest of a broken block is a guess; to judge it would tell of mistakes
            // that are not there.
            self.sound = false;
            return;
        }
        let (base, headed) = (block.base, block.headed);
        for (name, value) in block.root {
            let span = place(base, value.span());
            let Some(section) = schema::section(name.get_ref()) else {
                findings.push(unknown_section(name.get_ref(), place(base, name.span()), value.get_ref()));
                self.sound = false;
                continue;
            };
            // Under a header the table that the header names starts with the header; any other is around it.
            if headed && value.span().start != 0 {
                findings.push(
                    Diagnostic::error(span, format!("`{}` has no sections in it", section.header()))
                        .remedy(format!("write its keys under `{}`", section.header())),
                );
                self.sound = false;
                continue;
            }
            self.section(section, value, base, findings);
        }
    }

    fn section(&mut self, section: &'static Section, value: Spanned<DeValue<'t>>, base: u32, findings: &mut Findings) {
        let span = place(base, value.span());
        let wrong_form = || {
            let often = match section.form {
                Form::Single => "once".to_owned(),
                Form::Repeated | Form::Entry => format!("once for each {}", section.name),
            };
            let message = format!("`{}` is a section that is written {often}", section.name);
            Diagnostic::error(span, message).remedy(format!("write `{}`", section.header()))
        };
        match (value.into_inner(), section.form) {
            (DeValue::Table(table), form) => {
                if form == Form::Repeated {
                    findings.push(wrong_form());
                }
                self.table(section, table, base, span, findings);
            }
            (DeValue::Array(elements), form) => {
                if form == Form::Single {
                    findings.push(wrong_form());
                }
                for element in elements {
                    let span = place(base, element.span());
                    match element.into_inner() {
                        DeValue::Table(table) => self.table(section, table, base, span, findings),
                        _ => {
                            self.sound = false;
                            findings.push(
                                Diagnostic::error(span, format!("`{}` lists tables", section.name))
                                    .remedy(format!("write each under a `{}` of its own", section.header())),
                            );
                        }
                    }
                }
            }
            _ => {
                self.sound = false;
                self.seen.entry(section.name).or_insert(span);
                findings.push(wrong_form());
            }
        }
    }

    fn table(&mut self, section: &'static Section, table: DeTable<'t>, base: u32, span: Span, findings: &mut Findings) {
        let earlier = self.seen.get(section.name).copied();
        let again = earlier.filter(|_| section.form == Form::Single);
        // A second one of a kind is looked through for mistakes, but what is not in it is in the first.
        let reader = Reader::new(section, table, base, span, again.is_none(), findings);
        if let Some(first) = again {
            findings.push(
                Diagnostic::error(span, format!("the section `{}` is written twice", section.header()))
                    .label("written again here")
                    .related(first, "written here first")
                    .remedy("put the keys of both under one header"),
            );
        }
        self.seen.entry(section.name).or_insert(span);
        self.keys(section, reader, again.is_none(), findings);
    }

    /// Reads a section's keys, and keeps them if it is the `first` of its name or one of many.
    fn keys(&mut self, section: &'static Section, mut reader: Reader<'t>, first: bool, findings: &mut Findings) {
        let reader = &mut reader;
        match section.name {
            "vtep" => keep(&mut self.vtep, first, VtepDraft::read(reader, findings)),
            "dpdk" => keep(&mut self.dpdk, first, DpdkDraft::read(reader, findings)),
            "workers" => keep(&mut self.workers, first, WorkersDraft::read(reader, findings)),
            "port" => self.ports.push(PortDraft::read(reader, findings)),
            "bridge" => self.bridges.push(BridgeDraft::read(reader, findings)),
            "neighbour" => self.neighbours.push(NeighbourDraft::read(reader, findings)),
            "qos" => keep(&mut self.qos, first, qos(reader, findings)),
            "fdb" => keep(&mut self.fdb, first, fdb(reader, findings)),
            "static" => self.static_entries.push(StaticDraft::read(reader, findings)),
            "binding" => self.bindings.push(BindingDraft::read(reader, findings)),
            "stats" => keep(&mut self.stats, first, stats(reader, findings)),
            "api" => keep(&mut self.api, first, ApiDraft::read(reader, findings)),
            _ => (),
        }
    }

    /// Fills in the defaults of sections that are not there, and reports those that have to be.
    fn absent_sections(&mut self, findings: &mut Findings) {
        for section in SECTIONS.iter().copied() {
            if self.seen.contains_key(section.name) {
                continue;
            }
            if section.required && self.sound {
                findings.push(
                    Diagnostic::error(None, format!("the section `{}` is missing", section.header()))
                        .remedy(format!("add it, as in\n{}", section.least())),
                );
            } else if section.form == Form::Single {
                let reader = Reader::new(section, DeTable::new(), 0, Span::default(), false, findings);
                self.keys(section, reader, true, findings);
            }
        }
    }
}

fn keep<T>(kept: &mut Option<T>, first: bool, read: Option<T>) {
    if first {
        *kept = read;
    }
}

fn unknown_section(name: &str, span: Span, value: &DeValue<'_>) -> Diagnostic {
    let (what, said) = match value {
        DeValue::Table(_) | DeValue::Array(_) => ("section", "unknown section"),
        _ => ("key outside the sections", "in no section"),
    };
    let home: Vec<_> = SECTIONS.iter().filter(|section| section.key(name).is_some()).map(|s| s.header()).collect();
    let names: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
    let meant = most_alike(name, names.iter().copied()).and_then(schema::section);
    let remedy = match meant {
        Some(section) => format!("did you mean `{}`?", section.header()),
        None if !home.is_empty() => format!("move it to {}, where it is a key", listed(&home)),
        None => format!("the sections are {}", listed(&names)),
    };
    Diagnostic::error(span, format!("there is no {what} {}", quoted(name))).label(said).remedy(remedy)
}
