//! Parses single values. Records each error with its position and continues with the default, so that one run
//! reports all errors.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use super::diagnostic::Problem;
use super::host_info::HostInfo;
use super::schema::{Number, Text};

/// Collects errors and warnings while a file is resolved.
pub(super) struct Reader<'a> {
    /// Problems that make the file invalid.
    pub(super) errors: Vec<Problem>,
    /// Probable mistakes in a valid file.
    pub(super) warnings: Vec<Problem>,
    /// The host for which the file is meant.
    pub(super) host: &'a dyn HostInfo,
}

impl<'a> Reader<'a> {
    pub(super) fn new(host: &'a dyn HostInfo) -> Self {
        Self { errors: Vec::new(), warnings: Vec::new(), host }
    }

    /// Records an error.
    pub(super) fn error(&mut self, at: Range<usize>, found: impl Into<String>, allowed: impl Into<String>) {
        self.errors.push(Problem::error(at, found, allowed));
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, at: Range<usize>, found: impl Into<String>, advice: impl Into<String>) {
        self.warnings.push(Problem::warning(at, found, advice));
    }

    /// Parses a value; `allowed` describes the valid ones.
    pub(super) fn parse<T>(&mut self, text: &Text, allowed: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match text.get_ref().parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(text.span(), format!("`{}`: {why}", text.get_ref()), allowed);
                None
            }
        }
    }

    /// Parses an integer within `allowed`.
    pub(super) fn number<T>(&mut self, number: Option<&Number>, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let Some(number) = number else { return default };
        match T::try_from(*number.get_ref()) {
            Ok(value) if allowed.contains(&value) => value,
            _ => {
                let bounds = format!("{} to {}", allowed.start(), allowed.end());
                self.error(number.span(), format!("{} is out of range", number.get_ref()), bounds);
                default
            }
        }
    }

    /// Parses a keyword.
    pub(super) fn word<T: Copy>(&mut self, text: Option<&Text>, default: T, words: &[(&str, T)]) -> T {
        let Some(text) = text else { return default };
        self.word_at(text.span(), text.get_ref(), default, words)
    }

    /// Parses a keyword; its position is an argument.
    pub(super) fn word_at<T: Copy>(
        &mut self,
        at: Range<usize>,
        word: &str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == word) {
            return *value;
        }
        let names: Vec<_> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        self.error(at, format!("unknown value `{word}`"), names.join(", "));
        default
    }

    /// Parses a duration of at least `min`; `source` is appended to the error and names the RFC that sets the minimum.
    pub(super) fn duration(
        &mut self,
        text: Option<&Text>,
        default: Duration,
        min: Duration,
        source: &str,
    ) -> Duration {
        let Some(text) = text else { return default };
        let Some(value) = duration(text.get_ref()) else {
            let found = format!("`{}` is not a duration", text.get_ref());
            self.error(
                text.span(),
                found,
                "a number and a unit, such as \"800ms\", \"300s\", \"5m\" or \"2h\"",
            );
            return default;
        };
        if value < min {
            let found = format!("`{}` is too short", text.get_ref());
            self.error(text.span(), found, format!("at least {min:?}{source}"));
            return default;
        }
        value
    }
}

/// Parses a duration such as `300s`, at most one year.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let ms = digits.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (ms <= YEAR_MS).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [("800ms", 800), ("300s", 300_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(want)), "{text}");
        }
        for text in ["", "300", "s", "-1s", "1.5h", "5 m", "99999999999999d", "2w"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
