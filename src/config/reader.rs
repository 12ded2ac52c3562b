//! Reading single values: what is not understood is noted with its place, and reading goes on, so
//! that one run shows everything that is wrong.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use super::Surroundings;
use super::diagnostic::Problem;
use super::schema::{Number, Text};

/// Where complaints gather while a file is resolved.
pub(super) struct Reader<'a> {
    /// What makes the file unusable.
    pub(super) errors: Vec<Problem>,
    /// What is usable and probably not meant.
    pub(super) warnings: Vec<Problem>,
    /// The host the file is for.
    pub(super) around: &'a dyn Surroundings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: &'a dyn Surroundings) -> Self {
        Self { errors: Vec::new(), warnings: Vec::new(), around }
    }

    /// Notes an error.
    pub(super) fn refuse(&mut self, at: Range<usize>, found: impl Into<String>, allowed: impl Into<String>) {
        self.errors.push(Problem { at, found: found.into(), allowed: allowed.into() });
    }

    /// Notes a warning.
    pub(super) fn warn(&mut self, at: Range<usize>, found: impl Into<String>, advice: impl Into<String>) {
        self.warnings.push(Problem { at, found: found.into(), allowed: advice.into() });
    }

    /// Reads a value that has a text form; `what` is the kind of thing that is allowed.
    pub(super) fn parse<T>(&mut self, text: &Text, what: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match text.get_ref().parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(text.span(), format!("`{}`: {why}", text.get_ref()), what);
                None
            }
        }
    }

    /// Reads a number within `allowed`.
    pub(super) fn number<T>(&mut self, number: Option<&Number>, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let Some(number) = number else { return default };
        match T::try_from(*number.get_ref()) {
            Ok(value) if allowed.contains(&value) => value,
            _ => {
                let bounds = format!("{} to {}", allowed.start(), allowed.end());
                self.refuse(number.span(), format!("{} is out of range", number.get_ref()), bounds);
                default
            }
        }
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(&mut self, text: Option<&Text>, default: T, words: &[(&str, T)]) -> T {
        let Some(text) = text else { return default };
        self.word_at(text.span(), text.get_ref(), default, words)
    }

    /// Reads one of a few words whose place is told apart from it.
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
        self.refuse(at, format!("`{word}` is no word for this key"), names.join(", "));
        default
    }

    /// Reads a time of at least `least`; `law` says who demands that.
    pub(super) fn duration(
        &mut self,
        text: Option<&Text>,
        default: Duration,
        least: Duration,
        law: &str,
    ) -> Duration {
        let Some(text) = text else { return default };
        let Some(value) = duration(text.get_ref()) else {
            let found = format!("`{}` is no time", text.get_ref());
            self.refuse(
                text.span(),
                found,
                "a number and a unit, such as \"800ms\", \"300s\", \"5m\" or \"2h\"",
            );
            return default;
        };
        if value < least {
            let found = format!("`{}` is too short", text.get_ref());
            self.refuse(text.span(), found, format!("at least {least:?}{law}"));
            return default;
        }
        value
    }
}

/// The time that a text such as `300s` means; at most a year.
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
