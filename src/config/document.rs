//! Reads a TOML document into the schema.
//!
//! toml's own deserializer describes errors in English text only. This one is a serde data format over toml's
//! syntax tree: it knows which kind of value a key needs, which kind it has, and which keys a table has. So
//! every message is composed here, with the position in the file.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::Range;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde_spanned::de::{SpannedDeserializer, is_spanned};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::Problem;

/// Reads `text` into a schema type. Also returns the unknown keys, which are skipped.
///
/// # Errors
/// The unknown keys up to the first error of another kind, and that error: of syntax, a missing key, or a wrong kind of
/// value.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<Problem>), Vec<Problem>> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let invalid = || Problem::error(at.clone(), error.message(), "valid TOML (https://toml.io)");
        vec![without_quotes(text, at.start).unwrap_or_else(invalid)]
    })?;
    let at = table.span();
    let value = DeValue::Table(table.into_inner());
    let unknown = RefCell::default();
    let result = T::deserialize(Node { at: at.clone(), value: &value, unknown: &unknown });
    let mut unknown = unknown.into_inner();
    match result {
        Ok(read) => Ok((read, unknown)),
        Err(error) => {
            // A required key that is misspelt has one message, not two.
            let is_misspelt = |key: &str| {
                let proposal = did_you_mean(key);
                unknown.iter().any(|problem| problem.found.ends_with(&proposal))
            };
            if !error.missing.is_some_and(is_misspelt) {
                unknown.push(error.into_problem(&at));
            }
            Err(unknown)
        }
    }
}

/// The problem that an address or prefix in the line of byte `at` has no quotes, if it has none. To TOML it looks like
/// a time or a number.
fn without_quotes(text: &str, at: usize) -> Option<Problem> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |n| n + 1);
    let line = text[line_start..].lines().next()?;
    let is_of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '/');
    let mut from = line.find('=')? + 1;
    while let Some(start) = line[from..].find(is_of_address) {
        let start = from + start;
        let word = line[start..].split(|c| !is_of_address(c)).next()?;
        let is_quoted = line[..start].ends_with(['"', '\'', '[']) && !line[..start].ends_with("= [");
        let addr = word.split_once('/').map_or(word, |(addr, _)| addr);
        if !is_quoted && addr.parse::<IpAddr>().is_ok() {
            let at = line_start + start..line_start + start + word.len();
            let found = format!("the address {word} has no quotes");
            return Some(Problem::error(at, found, format!("\"{word}\"")));
        }
        from = start + word.len();
    }
    None
}

/// A problem whose position may still be unknown: the innermost value or key that encloses it sets it.
#[derive(Debug)]
struct ReadError {
    at: Option<Range<usize>>,
    found: String,
    allowed: String,
    /// The required key that is missing, if that is the error.
    missing: Option<&'static str>,
}

/// The proposal of a key instead of an unknown one.
fn did_you_mean(key: &str) -> String {
    format!("; did you mean `{key}`?")
}

impl ReadError {
    fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { at: None, found: found.into(), allowed: allowed.into(), missing: None }
    }

    fn into_problem(self, enclosing: &Range<usize>) -> Problem {
        Problem::error(self.at.unwrap_or_else(|| enclosing.clone()), self.found, self.allowed)
    }

    fn within(mut self, at: &Range<usize>) -> Self {
        self.at.get_or_insert_with(|| at.clone());
        self
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)
    }
}

impl std::error::Error for ReadError {}

impl Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string(), "")
    }

    /// Only visitors of this crate's own types get here; their `expecting` is written for people.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(kind(found), expected.to_string())
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let known: Vec<_> = known.iter().filter(|known| !FORMER_NAMES.contains(known)).collect();
        if let Some(near) = known.iter().find(|known| is_near(key, known)) {
            let allowed = format!("`{near}`, or another key that reference.toml has here");
            return Self::new(format!("unknown key `{key}`{}", did_you_mean(near)), allowed);
        }
        let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
        Self::new(format!("unknown key `{key}`"), known.join(", "))
    }

    /// TOML itself rejects the same key twice, so one of the two has its former name.
    fn duplicate_field(key: &'static str) -> Self {
        Self::new(
            format!("`{key}` is set twice: under this name and under its former name"),
            format!("only `{key}`"),
        )
    }

    fn missing_field(key: &'static str) -> Self {
        let error = Self::new(format!("the key `{key}` is missing"), format!("a table with `{key} = …`"));
        Self { missing: Some(key), ..error }
    }
}

/// Former names of keys, still accepted (`#[serde(alias)]` in the schema). Messages do not propose them.
pub(super) const FORMER_NAMES: [&str; 3] = ["port_rest", "hold_bytes", "ready_bytes"];

/// Whether one key is the other with at most two wrong letters.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same_start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let rest = a.len().max(b.len()) - same_end;
    rest <= 2 && same_start + same_end > rest
}

/// A value and its kind, in the terms of TOML.
fn kind(value: Unexpected<'_>) -> String {
    match value {
        Unexpected::Str(text) => format!("\"{text}\" is a string"),
        Unexpected::Signed(number) => format!("{number} is an integer"),
        Unexpected::Bool(value) => format!("{value} is a boolean"),
        Unexpected::Seq => "this is an array".to_owned(),
        Unexpected::Map => "this is a table".to_owned(),
        other => format!("this is a {other}"),
    }
}

/// A value of the document, with its position.
#[derive(Clone)]
struct Node<'a> {
    at: Range<usize>,
    value: &'a DeValue<'a>,
    /// The unknown keys so far.
    unknown: &'a RefCell<Vec<Problem>>,
}

impl<'a> Node<'a> {
    /// The node of a value inside this one.
    fn inner(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { at: value.span(), value: value.get_ref(), unknown: self.unknown }
    }

    /// Visits a table whose keys are `known`, or any if that is `None`. Unknown keys are collected and skipped.
    fn visit_table<V: Visitor<'a>>(
        self,
        table: &'a DeTable<'a>,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let is_known = |key: &str| known.is_none_or(|known| known.contains(&key));
        for (key, _) in table.iter().filter(|(key, _)| !is_known(key.get_ref())) {
            let error = ReadError::unknown_field(key.get_ref(), known.unwrap_or_default());
            self.unknown.borrow_mut().push(error.into_problem(&key.span()));
        }
        let rest = table.iter().filter(|(key, _)| is_known(key.get_ref()));
        let at = self.at.clone();
        visitor.visit_map(Entries { rest, parent: self, value: None }).map_err(|error| error.within(&at))
    }

    fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// Visits the value if its kind fits what the schema asks for.
    fn visit_if<V: Visitor<'a>>(self, fits: bool, allowed: &str, visitor: V) -> Result<V::Value, ReadError> {
        if fits { self.deserialize_any(visitor) } else { Err(self.wrong(allowed)) }
    }

    /// The error that this value is not one of the `allowed` kind.
    fn wrong(&self, allowed: &str) -> ReadError {
        let found = match self.value {
            DeValue::String(text) => kind(Unexpected::Str(text)),
            DeValue::Integer(number) => format!("{number} is an integer"),
            DeValue::Float(number) => format!("{number} is a float"),
            DeValue::Boolean(value) => kind(Unexpected::Bool(*value)),
            DeValue::Datetime(time) => format!("{time} is a date or time"),
            DeValue::Array(_) => kind(Unexpected::Seq),
            DeValue::Table(_) => kind(Unexpected::Map),
        };
        ReadError::new(found, allowed).within(&self.at)
    }
}

impl<'a> IntoDeserializer<'a, ReadError> for Node<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let allowed = "a string, an integer, a boolean, an array or a table";
        match self.value {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(_) => match self.integer() {
                Some(number) => visitor.visit_i64(number),
                None => Err(self.wrong("an integer of at most 64 bits")),
            },
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Float(_) | DeValue::Datetime(_) => Err(self.wrong(allowed)),
            DeValue::Array(values) => {
                visitor.visit_seq(Elements { rest: values.iter(), parent: self.clone() })
            }
            DeValue::Table(table) => self.clone().visit_table(table, None, visitor),
        }
        .map_err(|error| error.within(&self.at))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let fits = self.value.is_bool();
        self.visit_if(fits, "true or false, without quotes", visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let fits = self.value.is_integer();
        self.visit_if(fits, "an integer, without quotes", visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let fits = self.value.is_str();
        self.visit_if(fits, "a string in quotes", visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            DeValue::Array(_) => self.deserialize_any(visitor),
            DeValue::Table(_) => Err(self.wrong("an array of tables: [[…]] instead of […]")),
            _ => Err(self.wrong("an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let fits = self.value.is_table();
        self.visit_if(fits, "a table", visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if is_spanned(name) {
            let at = self.at.clone();
            return visitor.visit_map(SpannedDeserializer::new(self, at));
        }
        match self.value {
            DeValue::Table(table) => self.visit_table(table, Some(known), visitor),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

/// The elements of an array.
struct Elements<'a> {
    rest: std::slice::Iter<'a, Spanned<DeValue<'a>>>,
    parent: Node<'a>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        self.rest.next().map(|value| seed.deserialize(self.parent.inner(value))).transpose()
    }
}

/// The keys and values of a table.
struct Entries<'a, I> {
    rest: I,
    parent: Node<'a>,
    value: Option<Node<'a>>,
}

impl<'de, I> MapAccess<'de> for Entries<'de, I>
where
    I: Iterator<Item = (&'de Spanned<DeString<'de>>, &'de Spanned<DeValue<'de>>)>,
{
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(self.parent.inner(value));
        seed.deserialize(Key(key)).map(Some).map_err(|error| error.within(&key.span()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(ReadError::custom("a value without a key")),
        }
    }
}

/// A key, with its position.
struct Key<'a>(&'a Spanned<DeString<'a>>);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.0.get_ref())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if is_spanned(name) {
            let text: StrDeserializer<'_, ReadError> = self.0.get_ref().as_ref().into_deserializer();
            return visitor.visit_map(SpannedDeserializer::new(text, self.0.span()));
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
