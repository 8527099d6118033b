//! `[[static]]` blocks as a program writes them, a million in a row: read at once where nothing is unusual and nothing
//! is wrong.
//!
//! A block is *plain* if its header and each of its keys are on lines of their own, without comments, no key is there
//! twice, numbers are decimal digits, strings are printable ASCII without escapes, and every value is what the schema
//! says. Whatever is not plain is left to the ordinary way, which knows all of TOML and says what is wrong. So there is
//! nothing to report from here.

use std::borrow::Cow;

use super::document::place;
use super::reader::Field;
use super::schema::{Kind, STATIC};
use super::static_entries::StaticDraft;
use super::value::{FromValue, Located, Value, from_number, from_text};

const HEADER: &str = "[[static]]";

/// The plain `[[static]]` at the start of `text`, which starts at `base` in the file, and its length up to the next
/// header. `None` if there is none.
pub(super) fn static_entry(text: &str, base: u32) -> Option<(StaticDraft<'_>, usize)> {
    let mut cursor = Cursor { text, at: text.starts_with(HEADER).then_some(HEADER.len())? };
    let (mut vni, mut mac, mut port, mut remote, mut pinned) = (None, None, None, None, None);
    cursor.end_of_line()?;
    while let Some(name) = cursor.key()? {
        let (value, range) = cursor.value(name)?;
        cursor.end_of_line()?;
        let span = place(base, range);
        match name {
            "vni" => fill(&mut vni, value, span),
            "mac" => fill(&mut mac, value, span),
            "port" => fill(&mut port, value, span),
            "remote" => fill(&mut remote, value, span),
            "pinned" => fill(&mut pinned, value, span),
            _ => None,
        }?;
    }
    let header = place(base, 0..HEADER.len());
    let pinned = pinned.is_some_and(|pinned: Located<bool>| pinned.value);
    Some((StaticDraft::plain(header, vni?, mac?, field(port), field(remote), pinned)?, cursor.at))
}

/// Keeps a value that was not there before.
fn fill<'t, T: FromValue<'t>>(kept: &mut Option<Located<T>>, value: Value<'t>, span: super::Span) -> Option<()> {
    let value = Located { value: T::from_value(value)?, span };
    kept.replace(value).is_none().then_some(())
}

fn field<T>(given: Option<Located<T>>) -> Field<T> {
    given.map_or(Field::Absent, Field::Given)
}

/// How far a block has been read.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes bytes of a kind, and gives them.
    fn pass(&mut self, kind: impl Fn(u8) -> bool) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(&kind) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.pass(|byte| byte == b' ' || byte == b'\t');
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// Passes what is left of a line, which has to be blank.
    fn end_of_line(&mut self) -> Option<()> {
        self.blanks();
        match self.peek() {
            None => Some(()),
            Some(b'\r') => {
                self.at += 1;
                self.byte(b'\n')
            }
            Some(_) => self.byte(b'\n'),
        }
    }

    /// Passes a key and its equals sign, and gives its name; none inside at the next header or the end of the text.
    fn key(&mut self) -> Option<Option<&'t str>> {
        loop {
            self.blanks();
            match self.peek() {
                None | Some(b'[') => return Some(None),
                Some(b'\n' | b'\r') => self.end_of_line()?,
                Some(_) => break,
            }
        }
        let name = self.pass(|byte| byte.is_ascii_lowercase());
        self.blanks();
        self.byte(b'=')?;
        self.blanks();
        Some(Some(name))
    }

    /// Passes the value of a key, and gives it with its place.
    fn value(&mut self, name: &str) -> Option<(Value<'t>, std::ops::Range<usize>)> {
        let key = STATIC.key(name)?;
        let start = self.at;
        let value = if key.kind == Kind::Boolean {
            match self.pass(|byte| byte.is_ascii_lowercase()) {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => return None,
            }
        } else if self.byte(b'"').is_some() {
            let text = self.pass(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
            self.byte(b'"')?;
            from_text(key.kind, Cow::Borrowed(text))
        } else {
            let digits = self.pass(|byte| byte.is_ascii_digit());
            // TOML has no leading zeros.
            let is_plain = (digits == "0" || !digits.starts_with('0')) && digits.len() < 19;
            let number = digits.parse().ok().filter(|_| is_plain);
            from_number(key.kind, Some(number?))
        };
        Some((value.ok()?, start..self.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::diagnostic::Findings;
    use super::super::document::Blocks;
    use super::super::draft::Draft;
    use super::*;

    /// The first block read the ordinary way, and how long it is.
    fn ordinary(text: &str) -> Option<(StaticDraft<'_>, usize)> {
        let mut findings = Findings::default();
        let mut blocks = Blocks::new(text);
        blocks.next(&mut findings)?;
        let length = blocks.rest().1 as usize;
        let mut findings = Findings::default();
        let mut draft = Draft::read_ordinarily(text.get(..length)?, &mut findings);
        let only = draft.static_entries.pop().filter(|_| draft.static_entries.is_empty() && draft.sound)?;
        // Sections that are missing are not this block's mistakes.
        let missing = super::super::schema::SECTIONS.iter().filter(|section| section.required).count();
        (findings.counts() == (missing, 0)).then_some((only, length))
    }

    fn agree(text: &str) -> Result<bool, TestCaseError> {
        let Some(plain) = static_entry(text, 0) else { return Ok(false) };
        prop_assert_eq!(Some(plain), ordinary(text), "{:?}", text);
        Ok(true)
    }

    #[test]
    fn plain_blocks_are_read_as_the_ordinary_way_reads_them() {
        let both = "[[static]]\nvni = 100\nmac = \"02:00:00:cc:00:01\"\n";
        for text in [
            format!("{both}port = \"trunk0\""),
            format!("{both}port = \"trunk0\"\n\n"),
            format!("{both}remote = \"10.0.0.2\"\n\n  [[static]]\nvni = 1"),
            format!("{both}remote = \"fd00::2\"\n[fdb]\n"),
            format!("{both}remote = \"fd00::2\"\npinned = true\n"),
            format!("{both}pinned=false\nport = \"trunk0\"\n"),
            format!("{both}\t port\t=\t\"a b\" \n").replace('\n', "\r\n"),
            "[[static]] \n mac=\"02:00:00:CC:00:01\"\n\nport=\"x\"\nvni=0\n[[".to_owned(),
        ] {
            assert!(matches!(agree(&text), Ok(true)), "{text:?}");
        }
    }

    #[test]
    fn what_is_unusual_or_wrong_is_left_to_the_ordinary_way() {
        let plain = "[[static]]\nvni = 100\nmac = \"02:00:00:cc:00:01\"\nport = \"trunk0\"\n";
        for (passage, other) in [
            ("[[static]]", "[[bridge]]"),
            ("[[static]]", "[[ static ]]"),
            ("[[static]]", "[[static]] vni = 1"),
            ("[[static]]", " [[static]]"),
            ("100", "16777216"),
            ("100", "0100"),
            ("100", "00"),
            ("100", "1_00"),
            ("100", "0x64"),
            ("100", "\"100\""),
            ("100", "100 # a bridge"),
            ("100", "100\rmac"),
            ("vni = 100\n", ""),
            ("vni = 100\n", "vni = 100\nvni = 100\n"),
            ("vni = 100\n", "vni = 100\nvin = 100\n"),
            ("vni = 100\n", "vni = 100\n# a comment\n"),
            ("02:00", "03:00"),
            ("02:00:00:cc:00:01", "00:00:00:00:00:00"),
            ("02:00:00:cc:00:01", "02:00:00:cc:00"),
            ("\"trunk0\"", "\"\""),
            ("\"trunk0\"", "\"\"\"trunk0\"\"\""),
            ("\"trunk0\"", "'trunk0'"),
            ("\"trunk0\"", "\"tr\\u0075nk0\""),
            ("\"trunk0\"", "\"tr\u{fc}nk0\""),
            ("\"trunk0\"", "\"a-name-of-more-than-thirty-two-characters\""),
            ("\"trunk0\"", "\"trunk0\n"),
            ("port = \"trunk0\"", "remote = \"10.0.0.256\""),
            ("port = \"trunk0\"", "port = \"trunk0\"\nremote = \"10.0.0.2\""),
            ("port = \"trunk0\"", ""),
            ("port = \"trunk0\"", "port = \"trunk0\"\npinned = True"),
            ("port = \"trunk0\"", "port = \"trunk0\"\npinned = \"true\""),
            ("port = \"trunk0\"", "port = \"trunk0\"\npinned = 1"),
        ] {
            assert!(plain.contains(passage));
            let text = plain.replacen(passage, other, 1);
            assert!(static_entry(&text, 0).is_none(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_read_at_once_is_what_the_ordinary_way_reads(
            right in Just(vec!["vni = 100", "mac = \"02:00:00:cc:00:01\"", "port = \"trunk0\""]).prop_shuffle(),
            others in proptest::collection::vec((0..4_usize, proptest::sample::select(&[
                "vni=0", "vni = 007", "vni = \"7\"", "mac=\"02:00:00:CC:00:01\"  ", "port = \"\"", "remote = \"10.0.0.2\"",
                "", "\t ", "# c", "[[static]]", " [fdb]", "[[static", "x = 1", "port = \"\"\"a", "pinned = true", "pinned = no", "\"\"\"", "port = 1",
            ][..])), 0..4),
            end in proptest::sample::select(&["\n", "\r\n", "\r"][..]),
            cut in 40..200_usize,
        ) {
            let mut lines = right;
            others.into_iter().for_each(|(at, line)| lines.insert(at.min(lines.len()), line));
            let mut text = format!("[[static]]{end}{}{end}", lines.join(end));
            text.truncate(cut.max(HEADER.len()));
            agree(&text)?;
        }
    }
}
