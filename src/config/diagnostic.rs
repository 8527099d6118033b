//! What is wrong with a config, where, and what to do about it; rendered with the source line and a caret.

use std::fmt;

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use rustc_hash::FxHashMap;

/// How many errors, and how many warnings, one run keeps. Those beyond are counted, so that a file with a million
/// mistakes neither fills the memory nor the terminal.
pub const MAX_DIAGNOSTICS: usize = 200;

/// The longest source line shown, in bytes. Of a longer one only the position is told.
const MAX_SHOWN_LINE: usize = 64 * 1024;

/// Lines this close to each other are shown in one excerpt.
const SAME_EXCERPT: usize = 3;

/// The width excerpts are cut to, in columns.
const RENDER_WIDTH: usize = 120;

/// A place in the file's text: the bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte's offset from the start of the file.
    pub start: u32,
    /// The offset of the byte after the last; `start` for a place between two bytes.
    pub end: u32,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The config cannot be used.
    Error,
    /// The config can be used, but part of it will not do what it seems to say.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The place; `None` where something is missing that has no place.
    pub span: Option<Span>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// A word at the caret; empty where the message says it all.
    pub label: String,
    /// What to do about it.
    pub remedy: String,
    /// Other places that have to do with it, each with what it is.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: span.into(),
            message: message.into(),
            label: String::new(),
            remedy: String::new(),
            related: Vec::new(),
        }
    }

    /// A warning at a place.
    pub fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// With a word at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// With another place that has to do with it.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}

/// Collects what is found while a file is read; at most [`MAX_DIAGNOSTICS`] of each severity.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Findings {
    /// Adds one.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_DIAGNOSTICS {
            self.kept.push(diagnostic);
        }
    }

    /// How many errors and warnings were added.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.errors, self.warnings)
    }

    /// True once an error was added.
    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// What was found, in the order of the file.
    pub(super) fn finish(mut self, file: &str, text: &str) -> Diagnostics {
        // What has no place of its own concerns the file as a whole and comes last.
        self.kept.sort_by_key(|diagnostic| diagnostic.span.unwrap_or(Span { start: u32::MAX, end: u32::MAX }));
        let text = if self.kept.is_empty() { "" } else { text };
        Diagnostics {
            file: file.to_owned(),
            text: text.to_owned(),
            kept: self.kept,
            errors: self.errors,
            warnings: self.warnings,
        }
    }
}

/// All that one run found in a file, with the text it takes to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    file: String,
    text: String,
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// The findings in the order of the file: at most [`MAX_DIAGNOSTICS`] errors and as many warnings.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.kept
    }

    /// How many errors there are, those beyond [`MAX_DIAGNOSTICS`] included.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, those beyond [`MAX_DIAGNOSTICS`] included.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// True if nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// The findings as text for people, each with file, line, column, source line, caret and remedy, and a last line
    /// that counts them; with terminal colours if told. Empty if nothing was found.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        if self.is_empty() {
            return String::new();
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() }.term_width(RENDER_WIDTH);
        let lines = Lines::new(&self.text);
        let mut out = String::new();
        for diagnostic in &self.kept {
            out.push_str(&self.render_one(diagnostic, &lines, &renderer));
            out.push_str("\n\n");
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    fn render_one(&self, diagnostic: &Diagnostic, lines: &Lines<'_>, renderer: &Renderer) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(&diagnostic.message).elements(self.excerpts(diagnostic, lines));
        if !diagnostic.remedy.is_empty() {
            group = group.element(Level::HELP.message(&diagnostic.remedy));
        }
        renderer.render(&[group])
    }

    /// The source lines of a finding, its own place first. Each excerpt holds only the lines it shows, as the renderer
    /// reads all of an excerpt.
    fn excerpts<'a>(&'a self, diagnostic: &'a Diagnostic, lines: &Lines<'a>) -> Vec<Element<'a>> {
        let Some(span) = diagnostic.span else {
            return vec![Origin::path(&self.file).into()];
        };
        let mut places = vec![Place::new(lines, span, AnnotationKind::Primary, &diagnostic.label)];
        let related = diagnostic.related.iter();
        places.extend(related.map(|(span, label)| Place::new(lines, *span, AnnotationKind::Context, label)));
        let mut elements = Vec::new();
        while let Some(first) = places.first() {
            let around = first.line;
            let (mut near, far): (Vec<_>, Vec<_>) =
                places.into_iter().partition(|place| place.line.abs_diff(around) <= SAME_EXCERPT);
            places = far;
            near.sort_by_key(|place| place.line);
            elements.extend(self.excerpt(&near, lines));
        }
        elements
    }

    fn excerpt<'a>(&'a self, near: &[Place<'a>], lines: &Lines<'a>) -> Vec<Element<'a>> {
        let (Some(first), Some(last)) = (near.first(), near.last()) else {
            return Vec::new();
        };
        let (start, end) = (lines.start(first.line), lines.end(last.line));
        if end - start > MAX_SHOWN_LINE {
            let origin = |place: &Place<'_>| {
                Origin::path(&self.file).line(place.line + 1).char_column(place.column(lines) + 1).into()
            };
            return near.iter().map(origin).collect();
        }
        let excerpt = Snippet::source(lines.text.get(start..end).unwrap_or_default())
            .path(&self.file)
            .line_start(first.line + 1)
            .annotations(near.iter().map(|place| place.annotation(start)));
        vec![excerpt.into()]
    }

    fn summary(&self) -> String {
        let count = |number: usize, what: &str| match number {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{number} {what}s")),
        };
        let counts: Vec<_> =
            [count(self.errors, "error"), count(self.warnings, "warning")].into_iter().flatten().collect();
        let hidden = self.errors + self.warnings - self.kept.len();
        let hidden = if hidden > 0 { format!("; {hidden} of them not shown") } else { String::new() };
        format!("{}: {}{hidden}", self.file, counts.join(" and "))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// A span on its line: cut to the line's end and to whole characters.
struct Place<'a> {
    line: usize,
    start: usize,
    end: usize,
    kind: AnnotationKind,
    label: &'a str,
}

impl<'a> Place<'a> {
    fn new(lines: &Lines<'a>, span: Span, kind: AnnotationKind, label: &'a str) -> Self {
        let start = lines.character_start(span.start as usize);
        let line = lines.line_of(start);
        let line_end = lines.end(line);
        let start = start.min(line_end);
        let end = lines.character_start(span.end as usize).clamp(start, line_end);
        Self { line, start, end, kind, label }
    }

    fn annotation(&self, excerpt_start: usize) -> Annotation<'a> {
        let span = self.start.saturating_sub(excerpt_start)..self.end.saturating_sub(excerpt_start);
        let annotation = self.kind.span(span);
        if self.label.is_empty() { annotation } else { annotation.label(self.label) }
    }

    fn column(&self, lines: &Lines<'_>) -> usize {
        lines.text.get(lines.start(self.line)..self.start).map_or(0, |before| before.chars().count())
    }
}

/// Where the lines of a text begin and end.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The start of the character that has the byte at `offset`, or the end of the text.
    fn character_start(&self, offset: usize) -> usize {
        let mut start = offset.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        start
    }

    /// The line, from 0, that has the byte at `offset`.
    fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.text.len())
    }

    /// The end of a line, without what ends it.
    fn end(&self, line: usize) -> usize {
        let start = self.start(line);
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default();
        start + line.strip_suffix('\r').unwrap_or(line).len()
    }
}

/// Remembers where a value was first given, to show both places of a repetition.
#[derive(Debug)]
pub(super) struct FirstPlaces<K>(FxHashMap<K, Span>);

impl<K: Eq + std::hash::Hash> FirstPlaces<K> {
    pub(super) fn new() -> Self {
        Self(FxHashMap::default())
    }

    /// The place where `key` was given before, if it was; otherwise remembers this one.
    pub(super) fn earlier(&mut self, key: K, span: Span) -> Option<Span> {
        match self.0.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(*entry.get()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(span);
                None
            }
        }
    }
}
