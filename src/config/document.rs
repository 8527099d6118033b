//! A TOML text as blocks: what stands above the first header, and each header with what stands under it.
//!
//! Each block is parsed by itself. A mistake in the syntax then spoils its own block only, so that one run finds those
//! of all blocks, and the memory it takes to parse does not grow with the file. What TOML says about several blocks
//! together (that a table is written once) is the reader's to check.

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::diagnostic::{Diagnostic, Findings, Span};
use super::wording::quoted;

/// A block of the file.
pub(super) struct Block<'t> {
    /// Where the block starts in the file; the spans in `root` count from here.
    pub(super) base: u32,
    /// True if the block starts with a header.
    pub(super) headed: bool,
    /// What TOML makes of the block alone.
    pub(super) root: DeTable<'t>,
    /// False if the syntax is broken: then `root` has only part of it.
    pub(super) sound: bool,
}

impl Block<'_> {
    /// A span of this block's `root` as a place in the file.
    pub(super) fn place(&self, span: std::ops::Range<usize>) -> Span {
        place(self.base, span)
    }
}

/// A span that counts from `base` as a place in the file. Files are shorter than 4 GiB, so nothing is cut.
pub(super) fn place(base: u32, span: std::ops::Range<usize>) -> Span {
    let offset = |at: usize| base.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
    Span { start: offset(span.start), end: offset(span.end) }
}

/// The blocks of a text, one after the other.
pub(super) struct Blocks<'t> {
    text: &'t str,
    /// Where the next block starts.
    at: usize,
    /// True if that is at a header.
    headed: bool,
}

impl<'t> Blocks<'t> {
    /// All blocks.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, headed: false }
    }

    /// What is still to be read, and where that starts.
    pub(super) fn rest(&self) -> (&'t str, u32) {
        (self.text.get(self.at..).unwrap_or_default(), u32::try_from(self.at).unwrap_or(u32::MAX))
    }

    /// Passes a block that was read by other means, up to the next header.
    pub(super) fn pass(&mut self, length: usize) {
        (self.at, self.headed) = (self.at + length, true);
    }

    /// The next block; mistakes in the syntax go to `findings`.
    pub(super) fn next(&mut self, findings: &mut Findings) -> Option<Block<'t>> {
        let rest = self.rest().0;
        // The text above the first header may be empty.
        let next = header_starts(rest).find(|next| *next > 0).unwrap_or(rest.len());
        let headed = self.headed || rest.starts_with('[');
        let range = self.at..self.at + next;
        self.pass(next);
        (next > 0).then(|| parse(self.text, range, headed, findings))
    }
}

/// The offsets of the lines that start with `[` and are not inside a string. That may also be an array in an array,
/// but no key of ours takes one.
fn header_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut line_is_blank = true;
    Source::new(text).lex().filter_map(move |token| {
        let kind = token.kind();
        let starts = line_is_blank && kind == TokenKind::LeftSquareBracket;
        line_is_blank = kind == TokenKind::Newline || (line_is_blank && kind == TokenKind::Whitespace);
        starts.then(|| token.span().start())
    })
}

fn parse<'t>(text: &'t str, range: std::ops::Range<usize>, headed: bool, findings: &mut Findings) -> Block<'t> {
    let base = u32::try_from(range.start).unwrap_or(u32::MAX);
    let text = text.get(range).unwrap_or_default();
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut block = Block { base, headed, root: root.into_inner(), sound: true };
    for error in errors {
        // A broken string or number is reported once more by each step that meets it; the first is the clearest.
        let span = error.span().unwrap_or(text.len()..text.len());
        if error.message() == "duplicate key" {
            findings.push(repeated_key(&block, text, span));
        } else {
            findings.push(syntax_error(&block, text, span, error.message()));
            block.sound = false;
        }
    }
    block
}

fn syntax_error(block: &Block<'_>, text: &str, span: std::ops::Range<usize>, message: &str) -> Diagnostic {
    // At the end of a block the mistake is on the last line that has something, not on the blank ones below.
    let written = text.trim_end().len();
    let span = if span.start > written { written..written } else { span };
    Diagnostic::error(block.place(span), format!("this is not TOML: {message}"))
        .remedy("a line is a `[section]`, a `[[section]]`, a `key = value` or a `# comment`; strings are in quotes")
}

fn repeated_key(block: &Block<'_>, text: &str, span: std::ops::Range<usize>) -> Diagnostic {
    let name = text.get(span.clone()).unwrap_or_default();
    let found = Diagnostic::error(block.place(span), format!("{} is given twice", quoted(name)))
        .label("given again here")
        .remedy("remove one of the two");
    let tables = block.root.iter().filter_map(|(_, value)| {
        let value = value.get_ref();
        value.as_table().or_else(|| value.as_array()?.iter().next()?.get_ref().as_table())
    });
    let bare = name.trim_matches(['"', '\'']);
    let first = std::iter::once(&block.root).chain(tables).find_map(|table| table.get_key_value(bare));
    match first {
        Some((key, _)) => found.related(block.place(key.span()), "given here first"),
        None => found,
    }
}
