//! What each key of the schema accepts, found by deserializing the schema from a source that accepts everything and
//! records what is asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_spanned::de::{SpannedDeserializer, is_spanned};

use crate::config::document::FORMER_NAMES;

/// The kinds of values that a key accepts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    pub(super) text: bool,
    pub(super) integer: bool,
    pub(super) boolean: bool,
    /// An array of such values.
    pub(super) array: Option<Box<Self>>,
    /// A table with these keys.
    pub(super) table: Option<BTreeMap<&'static str, Self>>,
    /// A table with any keys and such values.
    pub(super) map: Option<Box<Self>>,
    /// Whether the key may be missing.
    pub(super) is_optional: bool,
}

impl Shape {
    /// The shape of a schema type.
    pub(super) fn of<T: DeserializeOwned>() -> Self {
        let known = RefCell::default();
        loop {
            let shape = RefCell::default();
            let probe = Probe { shape: &shape, path: String::new(), known: &known };
            match T::deserialize(probe) {
                Ok(_) => return shape.into_inner(),
                // The keys of one more inline table are known: try again.
                Err(ProbeError(Some((path, keys)))) => _ = known.borrow_mut().insert(path, keys),
                Err(ProbeError(None)) => return shape.into_inner(),
            }
        }
    }

    /// Accepts also what `other` accepts.
    fn merge(&mut self, other: Self) {
        self.text |= other.text;
        self.integer |= other.integer;
        self.boolean |= other.boolean;
        self.array = self.array.take().or(other.array);
        self.table = self.table.take().or(other.table);
        self.map = self.map.take().or(other.map);
    }
}

/// Keys of inline tables, by path. Their deserializers do not say which keys they know until they see an unknown one.
type Known = RefCell<BTreeMap<String, &'static [&'static str]>>;

/// Why a probe ended early: the keys of an inline table that was not known yet.
#[derive(Debug)]
struct ProbeError(Option<(String, &'static [&'static str])>);

impl Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unexpected schema type")
    }
}

impl std::error::Error for ProbeError {}

impl Error for ProbeError {
    fn custom<T: Display>(_: T) -> Self {
        Self(None)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self(Some((String::new(), known)))
    }
}

/// A source for one value.
struct Probe<'a> {
    shape: &'a RefCell<Shape>,
    path: String,
    known: &'a Known,
}

impl Probe<'_> {
    fn record(&self, change: impl FnOnce(&mut Shape)) {
        change(&mut self.shape.borrow_mut());
    }
}

impl<'de> IntoDeserializer<'de, ProbeError> for Probe<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = ProbeError;

    /// For values with more than one notation, which say so in what they expect.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        let expected = (&visitor as &dyn Expected).to_string();
        if expected.contains("integer") {
            self.record(|shape| (shape.text, shape.integer) = (true, true));
            return visitor.visit_str("");
        }
        if expected.contains("array") {
            let inner = RefCell::default();
            let value = visitor.visit_seq(One::new(&self, &inner))?;
            let inner = inner.into_inner();
            self.record(|shape| {
                shape.merge(inner.clone());
                shape.array = Some(Box::new(inner));
            });
            return Ok(value);
        }
        self.record(|shape| shape.text = true);
        if expected.contains("table") {
            return self.visit_table(None, visitor);
        }
        visitor.visit_str("")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.record(|shape| shape.boolean = true);
        visitor.visit_bool(false)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.record(|shape| shape.integer = true);
        visitor.visit_i64(0)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.record(|shape| shape.text = true);
        visitor.visit_str("")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        let inner = RefCell::default();
        let value = visitor.visit_seq(One::new(&self, &inner))?;
        self.record(|shape| {
            shape.array = Some(Box::new(inner.into_inner()));
            // In the schema, an array without a default is within a list or an option.
            shape.is_optional = true;
        });
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        let inner = RefCell::default();
        let value = visitor.visit_map(OneEntry(One::new(&self, &inner)))?;
        self.record(|shape| shape.map = Some(Box::new(inner.into_inner())));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        if is_spanned(name) {
            return visitor.visit_map(SpannedDeserializer::new(self, 0..0));
        }
        self.visit_table(Some(keys), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        self.record(|shape| shape.is_optional = true);
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

impl Probe<'_> {
    fn visit_table<'de, V: Visitor<'de>>(
        self,
        keys: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        let keys = keys.or_else(|| self.known.borrow().get(&self.path).copied());
        let table = RefCell::default();
        let entries = Entries { probe: &self, table: &table, rest: keys.map(<[_]>::iter), key: "" };
        let value = visitor.visit_map(entries)?;
        self.record(|shape| shape.table = Some(table.into_inner()));
        Ok(value)
    }
}

/// An array of one element.
struct One<'a> {
    probe: Option<Probe<'a>>,
}

impl<'a> One<'a> {
    fn new(parent: &Probe<'a>, shape: &'a RefCell<Shape>) -> Self {
        Self { probe: Some(Probe { shape, path: parent.path.clone(), known: parent.known }) }
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = ProbeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ProbeError> {
        self.probe.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

/// A table with one entry.
struct OneEntry<'a>(One<'a>);

impl<'de> MapAccess<'de> for OneEntry<'_> {
    type Error = ProbeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ProbeError> {
        if self.0.probe.is_none() {
            return Ok(None);
        }
        let ignored = RefCell::default();
        let known = RefCell::default();
        seed.deserialize(Probe { shape: &ignored, path: String::new(), known: &known }).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ProbeError> {
        self.0.next_element_seed(seed)?.ok_or(ProbeError(None))
    }
}

/// The entries of a table: its known keys, or an unknown one to learn them.
struct Entries<'a, 'b> {
    probe: &'b Probe<'a>,
    table: &'b RefCell<BTreeMap<&'static str, Shape>>,
    rest: Option<std::slice::Iter<'static, &'static str>>,
    key: &'static str,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = ProbeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ProbeError> {
        // Former names set the same field, which may be set once.
        let next = self.rest.as_mut().map(|rest| rest.find(|key| !FORMER_NAMES.contains(key)));
        let key = match next {
            Some(Some(key)) => key,
            Some(None) => return Ok(None),
            None => "",
        };
        self.key = key;
        let name: StrDeserializer<'_, ProbeError> = key.into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| match error {
            ProbeError(Some((_, keys))) => ProbeError(Some((self.probe.path.clone(), keys))),
            other => other,
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ProbeError> {
        let shape = RefCell::default();
        let path = format!("{}.{}", self.probe.path, self.key);
        let value = seed.deserialize(Probe { shape: &shape, path, known: self.probe.known })?;
        self.table.borrow_mut().insert(self.key, shape.into_inner());
        Ok(value)
    }
}
