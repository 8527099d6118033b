//! `[qos]`: priorities, their names, and maps from one kind to another.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Findings};
use super::document::place;
use super::model::Qos;
use super::reader::{Field, Reader};
use super::schema::{Key, Priority};
use super::wording::quoted;

/// What a map says of some priorities, in the file's order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PriorityMap(Vec<(u8, u8)>);

impl PriorityMap {
    /// Lays it over what holds where it says nothing.
    fn over<const N: usize>(self, mut map: [u8; N]) -> [u8; N] {
        for (from, to) in self.0 {
            if let Some(value) = map.get_mut(usize::from(from)) {
                *value = to;
            }
        }
        map
    }
}

/// `[qos]`.
pub(super) fn qos(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<Qos> {
    let usual = Qos::default();
    let mut map = |name| -> Option<PriorityMap> {
        let field: Field<PriorityMap> = reader.get(name, findings);
        Some(field.optional()?.unwrap_or(PriorityMap(Vec::new())))
    };
    let outer_from_dscp = map("outer_from_dscp");
    let outer_from_pcp = map("outer_from_pcp");
    let pcp_from_outer = map("pcp_from_outer");
    let dscp_from_outer = map("dscp_from_outer");
    let mut is = |name, choice| reader.get::<Cow<'_, str>>(name, findings).value().map(|value| value == choice);
    let (carry_pcp, rewrite_dscp) = (is("access_pcp", "map"), is("inner_dscp", "map"));
    Some(Qos {
        outer_from_dscp: outer_from_dscp?.over(usual.outer_from_dscp),
        outer_from_pcp: outer_from_pcp?.over(usual.outer_from_pcp),
        carry_pcp: carry_pcp?,
        pcp_from_outer: pcp_from_outer?.over(usual.pcp_from_outer),
        rewrite_dscp: rewrite_dscp?,
        dscp_from_outer: dscp_from_outer?.over(usual.dscp_from_outer),
    })
}

/// A priority by its number or its name.
fn priority(kind: Priority, text: &str) -> Option<u8> {
    let number = || text.parse().ok().filter(|number| *number <= kind.last());
    match kind {
        Priority::Dscp => code_point(text).or_else(number),
        Priority::Pcp => number(),
    }
}

/// The code points that have names: class selectors (RFC 2474), assured (RFC 2597) and expedited forwarding (RFC 3246),
/// the default and lower effort (RFC 8622).
pub(super) fn code_point(name: &str) -> Option<u8> {
    let digit = |byte: u8| if byte.is_ascii_digit() { Some(byte - b'0') } else { None };
    Some(match name.as_bytes() {
        b"DF" => 0,
        b"LE" => 1,
        b"EF" => 46,
        [b'C', b'S', class] => digit(*class).filter(|class| *class <= 7)? * 8,
        [b'A', b'F', class, precedence] => {
            let class = digit(*class).filter(|class| (1..=4).contains(class))?;
            let precedence = digit(*precedence).filter(|precedence| (1..=3).contains(precedence))?;
            class * 8 + precedence * 2
        }
        _ => return None,
    })
}

/// Takes a table as a map from priorities of one kind to those of another. What is wrong goes to `findings`.
pub(super) fn priority_map(
    key: &Key,
    (from, to): (Priority, Priority),
    entries: DeTable<'_>,
    base: u32,
    findings: &mut Findings,
) -> Option<PriorityMap> {
    let mut map = Vec::with_capacity(entries.len());
    let mut places = super::diagnostic::FirstPlaces::new();
    let mut sound = true;
    let mut wrong = |found: Diagnostic| {
        findings.push(found);
        sound = false;
    };
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_unstable_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let at = place(base, name.span());
        let Some(of) = priority(from, name.get_ref()) else {
            wrong(no_priority(key, from, at, name.get_ref()));
            continue;
        };
        if let Some(first) = places.earlier(of, at) {
            let message = format!("`{}` says twice what becomes of {from} {of}", key.name);
            let found = Diagnostic::error(at, message).label("given again here").related(first, "given here first");
            wrong(found.remedy("remove one of the two"));
        }
        match value_of(to, &value) {
            Some(value) => map.push((of, value)),
            None => {
                let at = place(base, value.span());
                wrong(
                    Diagnostic::error(at, format!("`{}` makes of it what is no {to}", key.name))
                        .label(format!("must be {}", to.values()))
                        .remedy(format!("write it as in `{} = {}`", key.name, key.example)),
                );
            }
        }
    }
    sound.then_some(PriorityMap(map))
}

fn no_priority(key: &Key, from: Priority, at: super::Span, name: &str) -> Diagnostic {
    Diagnostic::error(at, format!("{} is no {from}", quoted(name)))
        .label(format!("must be {}", from.values()))
        .remedy(format!("write it as in `{} = {}`", key.name, key.example))
}

fn value_of(kind: Priority, value: &Spanned<DeValue<'_>>) -> Option<u8> {
    match value.get_ref() {
        DeValue::Integer(number) => {
            u8::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| *number <= kind.last())
        }
        DeValue::String(name) if kind == Priority::Dscp => code_point(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_have_the_values_of_their_rfcs() {
        let values = [("DF", 0), ("LE", 1), ("CS1", 8), ("AF11", 10), ("AF43", 38), ("CS6", 48), ("EF", 46)];
        for (name, value) in values {
            assert_eq!(code_point(name), Some(value), "{name}");
        }
        for name in ["CS8", "AF10", "AF51", "AF14", "ef", ""] {
            assert_eq!(code_point(name), None, "{name}");
        }
    }
}
