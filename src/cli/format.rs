//! Numbers, durations and tables as people read them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A number with its digits in groups of three: `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes, to three digits, in binary units: `1.18 GiB`.
pub(super) fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A link's speed: `25 Gbit/s`.
pub(super) fn speed(mbps: u32) -> String {
    if mbps >= 1000 { format!("{} Gbit/s", f64::from(mbps) / 1000.0) } else { format!("{mbps} Mbit/s") }
}

/// A short duration, to three digits: `12.3 µs`.
pub(super) fn short_duration(seconds: f64) -> String {
    if seconds >= 1.0 {
        return format!("{seconds:.2} s");
    }
    scaled(seconds * 1e9, 1000.0, &["ns", "µs", "ms"])
}

/// A long duration in its two largest units: `3 d 4 h`.
pub(super) fn long_duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A point in time, given in milliseconds since the Unix epoch, as date and time in UTC.
pub(super) fn utc_time(unix_ms: u64) -> String {
    let (seconds, milliseconds) = (unix_ms / 1000, unix_ms % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    // Days are counted from 0000-03-01, so that a leap day is the last of its year; an era has 400 years.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{:02}.{milliseconds:03}", seconds % 60)
}

/// `part` of `whole` in percent.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "-".to_owned() }
}

/// The value, or a dash where there is none.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut units) = (value, units.iter().peekable());
    while let Some(unit) = units.next() {
        if value < step - 0.5 || units.peek().is_none() {
            let decimals = match value {
                _ if value.fract() == 0.0 => 0,
                ..9.995 => 2,
                ..99.95 => 1,
                _ => 0,
            };
            return format!("{value:.decimals$} {unit}");
        }
        value /= step;
    }
    String::new()
}

/// A column: its heading, and to which side its cells are flush.
pub(super) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// A table without lines, two blanks between columns, none at a line's end.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => *name,
    }));
    for row in rows {
        table.add_row(row);
    }
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match kind {
            Column::Left(_) => CellAlignment::Left,
            Column::Right(_) => CellAlignment::Right,
        });
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let told: Vec<_> = [0, 999, 1000, 123_456, 1_234_567, u64::MAX].into_iter().map(count).collect();
        assert_eq!(told, ["0", "999", "1,000", "123,456", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn bytes_durations_and_speeds_have_fitting_units() {
        let told: Vec<_> = [0, 1023, 1024, 1536, 10_300_000, 1 << 40, u64::MAX].into_iter().map(bytes).collect();
        assert_eq!(told, ["0 B", "1023 B", "1 KiB", "1.50 KiB", "9.82 MiB", "1 TiB", "16 EiB"]);
        let told: Vec<_> = [0.0, 45e-9, 1.234e-6, 99.96e-6, 0.0123, 2.5].into_iter().map(short_duration).collect();
        assert_eq!(told, ["0 ns", "45 ns", "1.23 µs", "100 µs", "12.3 ms", "2.50 s"]);
        let told: Vec<_> = [0, 59, 61, 3_700, 90_000].into_iter().map(long_duration).collect();
        assert_eq!(told, ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        assert_eq!([speed(100), speed(2500), speed(100_000)], ["100 Mbit/s", "2.5 Gbit/s", "100 Gbit/s"]);
        assert_eq!([percent(1.0, 3.0), percent(0.0, 0.0)], ["33.3 %", "-"]);
    }

    #[test]
    fn times_are_dates_also_around_leap_days() {
        let told = [0, 951_782_399_999, 951_782_400_000, 951_868_800_000, 1_700_000_000_500, 4_107_542_399_000];
        assert_eq!(
            told.map(utc_time),
            [
                "1970-01-01 00:00:00.000",
                "2000-02-28 23:59:59.999",
                "2000-02-29 00:00:00.000",
                "2000-03-01 00:00:00.000",
                "2023-11-14 22:13:20.500",
                "2100-02-28 23:59:59.000",
            ]
        );
    }

    #[test]
    fn a_table_is_aligned_without_lines_or_trailing_blanks() {
        let rows =
            [vec!["a".to_owned(), "1".to_owned(), "x".to_owned()], vec!["long".into(), "1,000".into(), "".into()]];
        let text = table(&[Column::Left("NAME"), Column::Right("N"), Column::Left("NOTE")], rows);
        assert_eq!(text, "NAME      N  NOTE\na         1  x\nlong  1,000\n");
    }
}
