//! Single values: from TOML to what a key's [`Kind`] says.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Findings, Span};
use super::document::place;
use super::model::{Dscp, Rate};
use super::priorities::{PriorityMap, code_point, priority_map};
use super::schema::{Default, Key, Kind};
use super::wording::most_alike;
use crate::wire::MacAddr;

/// A value and its place in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One number, or all from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Numbers {
    /// How many numbers there are; at least one.
    pub(super) fn count(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// True if it was written as a range, or might have been.
    pub(super) fn is_range(self) -> bool {
        self.last > self.first
    }
}

/// A value of some [`Kind`].
#[derive(Clone, Debug)]
pub(super) enum Value<'t> {
    Boolean(bool),
    Integer(u64),
    Numbers(Numbers),
    Text(Cow<'t, str>),
    IpAddress(IpAddr),
    MacAddress(MacAddr),
    SocketAddress(SocketAddr),
    Dscp(Dscp),
    Rate(Rate),
    PriorityMap(PriorityMap),
    /// The keys of an inline table, and where their places count from.
    Table(DeTable<'t>, u32),
    List(Vec<Located<Value<'t>>>),
}

/// A name, or an inline table of keys, one of which is the name; with where the places in it count from.
#[derive(Clone, Debug)]
pub(super) enum NameOrTable<'t> {
    Name(Cow<'t, str>),
    Table(DeTable<'t>, u32),
}

/// What a value can be taken as. `None` is a key read as something else than the schema says it is.
pub(super) trait FromValue<'t>: Sized {
    fn from_value(value: Value<'t>) -> Option<Self>;
}

macro_rules! from_value {
    ($($variant:ident => $type:ty),*) => {$(
        impl<'t> FromValue<'t> for $type {
            fn from_value(value: Value<'t>) -> Option<Self> {
                match value {
                    Value::$variant(value) => value.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

from_value!(
    Boolean => bool, Integer => u8, Integer => u16, Integer => u32, Integer => u64, Integer => usize,
    Numbers => Numbers, Text => Cow<'t, str>, IpAddress => IpAddr, MacAddress => MacAddr,
    SocketAddress => SocketAddr, Dscp => Dscp, PriorityMap => PriorityMap, Rate => Rate
);

impl<'t> FromValue<'t> for NameOrTable<'t> {
    fn from_value(value: Value<'t>) -> Option<Self> {
        match value {
            Value::Text(name) => Some(Self::Name(name)),
            Value::Table(table, base) => Some(Self::Table(table, base)),
            _ => None,
        }
    }
}

impl<'t, T: FromValue<'t>> FromValue<'t> for Vec<Located<T>> {
    fn from_value(value: Value<'t>) -> Option<Self> {
        let Value::List(elements) = value else { return None };
        let element = |Located { value, span }| T::from_value(value).map(|value| Located { value, span });
        elements.into_iter().map(element).collect()
    }
}

/// The value of an absent key. `None` if the schema's default is not what the kind says.
pub(super) fn default_value<'t>(kind: Kind, default: Default) -> Option<Value<'t>> {
    match (kind, default) {
        (_, Default::Boolean(value)) => Some(Value::Boolean(value)),
        (_, Default::Integer(value)) => Some(Value::Integer(value)),
        (_, Default::Text(text)) => from_text(kind, Cow::Borrowed(text)).ok(),
        (_, Default::Empty) => Some(Value::List(Vec::new())),
    }
}

/// Takes a TOML value as what `key` is. What does not fit goes to `findings`; of a list, what fits is kept.
pub(super) fn convert<'t>(
    key: &Key,
    value: Spanned<DeValue<'t>>,
    base: u32,
    findings: &mut Findings,
) -> Option<Located<Value<'t>>> {
    let (most, element) = match key.kind {
        Kind::Texts(most, longest) => (most, Kind::Text(longest)),
        Kind::NamesOrTables(most, longest) => (most, Kind::NameOrTable(longest)),
        Kind::IpAddresses(most) => (most, Kind::IpAddress),
        Kind::Integers(most, least, largest) => (most, Kind::Integer(least, largest)),
        Kind::PriorityMap(from, to) if matches!(value.get_ref(), DeValue::Table(_)) => {
            let span = place(base, value.span());
            let DeValue::Table(entries) = value.into_inner() else { return None };
            let map = priority_map(key, (from, to), entries, base, findings)?;
            return Some(Located { value: Value::PriorityMap(map), span });
        }
        kind => return convert_one(key, kind, value, base, findings),
    };
    let span = place(base, value.span());
    let elements = match value.into_inner() {
        DeValue::Array(elements) => elements,
        other => {
            let remedy = format!("write a list in brackets, as in `{} = {}`", key.name, key.example);
            let found = Diagnostic::error(span, must_be(key, key.kind));
            findings.push(found.label(format!("this is {}", type_of(&other))).remedy(remedy));
            return None;
        }
    };
    if elements.len() > most {
        let found = Diagnostic::error(span, must_be(key, key.kind));
        findings.push(found.label(format!("these are {}", elements.len())).remedy(format!("keep {most} of them")));
        return None;
    }
    let written = elements.len();
    let elements: Vec<_> =
        elements.into_iter().filter_map(|value| convert_one(key, element, value, base, findings)).collect();
    // A list of which nothing is left is not an empty list.
    (elements.is_empty() == (written == 0)).then_some(Located { value: Value::List(elements), span })
}

fn convert_one<'t>(
    key: &Key,
    kind: Kind,
    value: Spanned<DeValue<'t>>,
    base: u32,
    findings: &mut Findings,
) -> Option<Located<Value<'t>>> {
    let span = place(base, value.span());
    let as_in = || format!("write it as in `{} = {}`", key.name, key.example);
    let converted = match value.into_inner() {
        DeValue::Boolean(value) if kind == Kind::Boolean => Ok(Value::Boolean(value)),
        DeValue::Integer(value) => from_integer(kind, &value),
        DeValue::String(text) => from_text(kind, text),
        DeValue::Table(keys) if matches!(kind, Kind::NameOrTable(_)) => Ok(Value::Table(keys, base)),
        other => Err(Misfit::of_type(&other)),
    };
    match converted {
        Ok(value) => Some(Located { value, span }),
        Err(misfit) => {
            let remedy = misfit.remedy.unwrap_or_else(as_in);
            findings.push(Diagnostic::error(span, must_be(key, kind)).label(misfit.label).remedy(remedy));
            None
        }
    }
}

fn must_be(key: &Key, kind: Kind) -> String {
    let list = kind != key.kind;
    if list { format!("what `{}` lists must be {kind}", key.name) } else { format!("`{}` must be {kind}", key.name) }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Why a value does not fit a kind.
pub(super) struct Misfit {
    label: String,
    remedy: Option<String>,
}

impl Misfit {
    fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), remedy: None }
    }

    fn of_type(value: &DeValue<'_>) -> Self {
        Self::new(format!("this is {}", type_of(value)))
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

fn from_integer<'t>(kind: Kind, written: &DeInteger<'_>) -> Result<Value<'t>, Misfit> {
    from_number(kind, u64::from_str_radix(written.as_str(), written.radix()).ok())
}

/// Takes a number as what a kind says; `None` is one that no kind takes.
pub(super) fn from_number<'t>(kind: Kind, number: Option<u64>) -> Result<Value<'t>, Misfit> {
    let (least, most) = match kind {
        Kind::Integer(least, most) | Kind::Numbers(least, most) => (least, most),
        Kind::Dscp => (0, 63),
        Kind::Text(_)
        | Kind::NameOrTable(_)
        | Kind::Choice(_)
        | Kind::IpAddress
        | Kind::MacAddress
        | Kind::SocketAddress => {
            return Err(Misfit::new("this is a number").remedy("write it in quotes"));
        }
        Kind::Rate => return Err(Misfit::new("this is a number without a unit")),
        _ => return Err(Misfit::new("this is a number")),
    };
    let Some(number) = number.filter(|number| (least..=most).contains(number)) else {
        return Err(Misfit::new("out of range").remedy(format!("choose a number from {least} to {most}")));
    };
    let narrow = u32::try_from(number).unwrap_or(u32::MAX);
    Ok(match kind {
        Kind::Numbers(..) => Value::Numbers(Numbers { first: narrow, last: narrow }),
        Kind::Dscp => Value::Dscp(Dscp::Fixed(u8::try_from(number).unwrap_or(u8::MAX))),
        _ => Value::Integer(number),
    })
}

/// Takes a text as what a kind says.
pub(super) fn from_text(kind: Kind, text: Cow<'_, str>) -> Result<Value<'_>, Misfit> {
    match kind {
        Kind::Text(most) | Kind::NameOrTable(most) => text_of(most, text),
        Kind::Choice(choices) if choices.contains(&&*text) => Ok(Value::Text(text)),
        Kind::Choice(choices) => {
            let misfit = Misfit::new("none of these");
            Err(match most_alike(&text, choices.iter().copied()) {
                Some(choice) => misfit.remedy(format!("did you mean `\"{choice}\"`?")),
                None => misfit,
            })
        }
        Kind::IpAddress => ip_address(&text).map(Value::IpAddress),
        Kind::MacAddress => text.parse().map(Value::MacAddress).map_err(|_| {
            Misfit::new("not a MAC address")
                .remedy("write six pairs of hexadecimal digits with colons between, as in `02:00:00:bb:00:01`")
        }),
        Kind::SocketAddress => text.parse().map(Value::SocketAddress).map_err(|_| {
            Misfit::new("not an address with a port")
                .remedy("write it as in `127.0.0.1:9478`, or as in `[::1]:9478` for IPv6")
        }),
        Kind::Dscp => dscp(&text).map(Value::Dscp).ok_or_else(|| Misfit::new("no code point of this name")),
        Kind::Numbers(least, most) => numbers(least, most, &text).map(Value::Numbers),
        Kind::Rate => rate(&text).map(Value::Rate),
        Kind::Boolean | Kind::Integer(..) if is_bare_value(&text) => {
            Err(Misfit::new("this is a string").remedy(format!("write it without the quotes: `{text}`")))
        }
        Kind::Boolean
        | Kind::Integer(..)
        | Kind::Texts(..)
        | Kind::NamesOrTables(..)
        | Kind::PriorityMap(..)
        | Kind::IpAddresses(_)
        | Kind::Integers(..) => Err(Misfit::new("this is a string")),
    }
}

/// True if a text is what TOML would take as a number or a boolean if it stood there without quotes.
fn is_bare_value(text: &str) -> bool {
    matches!(text, "true" | "false") || is_number(text)
}

fn is_number(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn text_of(most: usize, text: Cow<'_, str>) -> Result<Value<'_>, Misfit> {
    if text.is_empty() {
        Err(Misfit::new("this is empty"))
    } else if text.len() > most {
        Err(Misfit::new(format!("these are {} bytes", text.len())).remedy("choose a shorter one"))
    } else if text.chars().any(char::is_control) {
        Err(Misfit::new("a control character is in it").remedy("remove the control character"))
    } else {
        Ok(Value::Text(text))
    }
}

fn ip_address(text: &str) -> Result<IpAddr, Misfit> {
    let misfit = Misfit::new("not an IP address");
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let without_rest = |separator: char| {
        let (address, _) = text.rsplit_once(separator)?;
        address.trim_matches(['[', ']']).parse::<IpAddr>().ok()
    };
    Err(match (without_rest('/'), without_rest('%'), without_rest(':')) {
        (Some(address), _, _) => misfit.remedy(format!("write the address without the prefix length: `\"{address}\"`")),
        (_, Some(address), _) => misfit.remedy(format!("write the address without the zone: `\"{address}\"`")),
        (_, _, Some(address)) => misfit.remedy(format!("write the address without the port: `\"{address}\"`")),
        (None, None, None) => misfit.remedy("write it as in `10.0.0.1`, or as in `2001:db8::1` for IPv6"),
    })
}

fn dscp(text: &str) -> Option<Dscp> {
    match text {
        "inherit" => Some(Dscp::Inherit),
        "map" => Some(Dscp::Map),
        "pcp" => Some(Dscp::Pcp),
        name => code_point(name).map(Dscp::Fixed),
    }
}

/// Reads a rate: a whole number and its unit.
fn rate(text: &str) -> Result<Rate, Misfit> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let not_a_rate = || Misfit::new("not a rate");
    if !is_number(number) {
        return Err(not_a_rate());
    }
    let number: u64 = number.parse().map_err(|_| not_a_rate())?;
    let (factor, least, most) = match unit.trim() {
        "pps" => (1, 1, Rate::MOST_PACKETS),
        "bit/s" => (1, Rate::LEAST_BITS, Rate::MOST_BITS),
        "kbit/s" => (1000, Rate::LEAST_BITS, Rate::MOST_BITS),
        "Mbit/s" => (1_000_000, Rate::LEAST_BITS, Rate::MOST_BITS),
        "Gbit/s" => (1_000_000_000, Rate::LEAST_BITS, Rate::MOST_BITS),
        "" => {
            return Err(
                Misfit::new("the unit is missing").remedy("write a unit: `pps`, `kbit/s`, `Mbit/s` or `Gbit/s`")
            );
        }
        _ => {
            let misfit = Misfit::new("no such unit");
            return Err(misfit.remedy("the units are `pps`, `bit/s`, `kbit/s`, `Mbit/s` and `Gbit/s`"));
        }
    };
    let number = number.saturating_mul(factor);
    let rate = if most == Rate::MOST_PACKETS { Rate::Packets } else { Rate::Bits };
    if (least..=most).contains(&number) {
        return Ok(rate(number));
    }
    Err(Misfit::new("out of range").remedy(format!("choose a rate from {} to {}", rate(least), rate(most))))
}

fn numbers(least: u64, most: u64, text: &str) -> Result<Numbers, Misfit> {
    if is_number(text) {
        return Err(Misfit::new("this is a string").remedy(format!("write a single number without quotes: `{text}`")));
    }
    let not_a_range = || Misfit::new("not a range").remedy("write the first and the last number, as in `\"100-163\"`");
    let (first, last) = text.split_once('-').ok_or_else(not_a_range)?;
    let (first, last) = (first.trim(), last.trim());
    if !is_number(first) || !is_number(last) {
        return Err(not_a_range());
    }
    let bound = |text: &str| text.parse().ok().filter(|number| (least..=most).contains(number));
    let (Some(first), Some(last)) = (bound(first), bound(last)) else {
        return Err(Misfit::new("out of range").remedy(format!("choose numbers from {least} to {most}")));
    };
    if first > last {
        return Err(Misfit::new("this runs backwards").remedy(format!("write `\"{last}-{first}\"`")));
    }
    // Both are within the bounds, and those of each key are below 2^32.
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Numbers { first: narrow(first), last: narrow(last) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_units_and_written_so_that_they_are_read_as_the_same() {
        let read = |text| rate(text).ok();
        for (text, expected, written) in [
            ("1 pps", Rate::Packets(1), "1 pps"),
            ("1000000000pps", Rate::Packets(1_000_000_000), "1000000000 pps"),
            ("1500 bit/s", Rate::Bits(1500), "1500 bit/s"),
            ("64 kbit/s", Rate::Bits(64_000), "64 kbit/s"),
            ("10Mbit/s", Rate::Bits(10_000_000), "10 Mbit/s"),
            ("2500 Mbit/s", Rate::Bits(2_500_000_000), "2500 Mbit/s"),
            ("1000 Gbit/s", Rate::Bits(1_000_000_000_000), "1000 Gbit/s"),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
            assert_eq!(expected.to_string(), written);
            assert_eq!(read(written), Some(expected), "{written}");
        }
        for text in [
            "",
            "pps",
            "0 pps",
            "999 bit/s",
            "1001 Gbit/s",
            "1000000001 pps",
            "10",
            "10 Mb",
            "-1 pps",
            "1.5 Mbit/s",
            "99999999999999999999 pps",
            "18446744073709551615 Gbit/s",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn ranges_keep_their_bounds() {
        let read = |text| numbers(1, 4094, text).ok().map(|numbers| (numbers.first, numbers.last, numbers.count()));
        assert_eq!(read("100-163"), Some((100, 163, 64)));
        assert_eq!(read("1-4094"), Some((1, 4094, 4094)));
        assert_eq!(read("7-7"), Some((7, 7, 1)));
        for text in ["", "-", "1-", "-1", "0-1", "1-4095", "2-1", "1-2-3", "+1-2", "1_0-20", "99999999999999999999-1"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
