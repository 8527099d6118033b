//! Reads the keys of one section by its schema.

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Findings, Span};
use super::document::place;
use super::schema::{Absent, Key, SECTIONS, Section};
use super::value::{FromValue, Located, convert, default_value};
use super::wording::{listed, most_alike, quoted};

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<T> {
    /// It is not there, and need not be.
    Absent,
    /// It is there and wrong, or it had to be there; that has been said.
    Bad,
    /// Its value, or its default at the place of the section.
    Given(Located<T>),
}

impl<T> Field<T> {
    /// The value and its place, if there is one.
    pub(super) fn located(self) -> Option<Located<T>> {
        match self {
            Self::Given(located) => Some(located),
            Self::Absent | Self::Bad => None,
        }
    }

    /// The value, if there is one.
    pub(super) fn value(self) -> Option<T> {
        self.located().map(|located| located.value)
    }

    /// The value if it is given, none inside if it is absent; none at all if it is bad.
    pub(super) fn optional(self) -> Option<Option<T>> {
        match self {
            Self::Given(located) => Some(Some(located.value)),
            Self::Absent => Some(None),
            Self::Bad => None,
        }
    }

    /// With a further check of a value that is there.
    pub(super) fn checked(
        self,
        check: impl FnOnce(&Located<T>) -> Result<(), Diagnostic>,
        found: &mut Findings,
    ) -> Self {
        let Self::Given(located) = self else { return self };
        match check(&located) {
            Ok(()) => Self::Given(located),
            Err(diagnostic) => {
                found.push(diagnostic);
                Self::Bad
            }
        }
    }
}

/// The keys of one section as they stand in the file.
pub(super) struct Reader<'t> {
    section: &'static Section,
    table: DeTable<'t>,
    base: u32,
    span: Span,
    sound: bool,
}

impl<'t> Reader<'t> {
    /// A reader of `table`, which is a `section` that starts at `span`; the spans inside count from `base`. If it is
    /// not `sound`, keys may be missing that are in the file. Unknown keys go to `findings`.
    pub(super) fn new(
        section: &'static Section,
        table: DeTable<'t>,
        base: u32,
        span: Span,
        sound: bool,
        findings: &mut Findings,
    ) -> Self {
        for (name, _) in table.iter().filter(|(name, _)| section.key(name.get_ref()).is_none()) {
            findings.push(unknown_key(section, name.get_ref(), place(base, name.span())));
        }
        Self { section, table, base, span, sound }
    }

    /// The place of the section.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// The value of a key.
    pub(super) fn get<T: FromValue<'t>>(&mut self, name: &str, findings: &mut Findings) -> Field<T> {
        let Some(key) = self.section.key(name) else { return Field::Bad };
        let located = match self.table.remove(name) {
            Some(value) => match convert(key, value, self.base, findings) {
                Some(located) => located,
                None => return Field::Bad,
            },
            None => match key.absent {
                Absent::Means(_) => return Field::Absent,
                Absent::Default(default) => match default_value(key.kind, default) {
                    Some(value) => Located { value, span: self.span },
                    None => return Field::Bad,
                },
                Absent::Required => {
                    if self.sound {
                        findings.push(missing_key(self.section, key, self.span));
                    }
                    return Field::Bad;
                }
            },
        };
        match T::from_value(located.value) {
            Some(value) => Field::Given(Located { value, span: located.span }),
            None => Field::Bad,
        }
    }
}

fn missing_key(section: &Section, key: &Key, span: Span) -> Diagnostic {
    Diagnostic::error(span, format!("`{}` is missing in `{}`", key.name, section.header()))
        .remedy(format!("add it, as in `{} = {}`", key.name, key.example))
}

fn unknown_key(section: &Section, name: &str, span: Span) -> Diagnostic {
    let names: Vec<_> = section.keys.iter().map(|key| key.name).collect();
    let elsewhere: Vec<_> = SECTIONS.iter().filter(|other| other.key(name).is_some()).map(|s| s.header()).collect();
    let remedy = if let Some(meant) = most_alike(name, names.iter().copied()) {
        format!("did you mean `{meant}`?")
    } else if !elsewhere.is_empty() {
        format!("move it to {}, where it is a key", listed(&elsewhere))
    } else {
        format!("the keys are {}", listed(&names))
    };
    let message = format!("`{}` has no key {}", section.header(), quoted(name));
    Diagnostic::error(span, message).label("unknown key").remedy(remedy)
}
