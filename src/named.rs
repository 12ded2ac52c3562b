//! Enums whose variants have names in metrics, logs and tests.

/// Declares an enum whose variants have a name and a one-line description, taken from their doc comment.
///
/// Generates `COUNT`, `ALL`, `name()`, `meaning()` and `Display` (the name). Discriminants start at 0, in the
/// order of declaration, so that a variant can index an array of `COUNT` counters.
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $enum:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $enum {
            $($(#[doc = $doc])+ $variant,)+
        }

        const _: () = assert!($crate::named::are_valid(&[$($name),+]), "names: unique, [a-z0-9_]");

        impl $enum {
            /// Number of variants; every discriminant is below it.
            pub const COUNT: usize = [$($name),+].len();

            /// Every variant, in the order of its discriminant.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// Name in metrics, logs and tests.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Description, one line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }
        }

        impl core::fmt::Display for $enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

/// Whether names are unique and consist of lower-case letters, digits and underscores. Checked at compile time.
pub(crate) const fn are_valid(names: &[&str]) -> bool {
    let mut at = 0;
    while at < names.len() {
        let name = names[at].as_bytes();
        let mut i = 0;
        while i < name.len() {
            if !(name[i].is_ascii_lowercase() || name[i].is_ascii_digit() || name[i] == b'_') {
                return false;
            }
            i += 1;
        }
        let mut other = 0;
        while other < at {
            if are_equal(name, names[other].as_bytes()) {
                return false;
            }
            other += 1;
        }
        at += 1;
    }
    true
}

const fn are_equal(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

#[expect(unreachable_pub, reason = "the macro declares public enums")]
#[cfg(test)]
mod tests {
    use super::*;

    named_enum! {
        /// Two variants.
        pub enum Sample {
            /// The first.
            First = "first",
            /// The second,
            /// in two lines.
            Second = "second_2",
        }
    }

    #[test]
    fn variants_have_names_numbers_and_descriptions() {
        assert_eq!(Sample::ALL.map(|variant| variant as usize), [0, 1]);
        assert_eq!(Sample::ALL.map(Sample::name), ["first", "second_2"]);
        assert_eq!(Sample::Second.meaning(), " The second, in two lines.");
        assert_eq!((Sample::COUNT, Sample::First.to_string()), (2, "first".to_owned()));
    }

    #[test]
    fn names_must_be_unique_and_in_snake_case() {
        assert!(are_valid(&["a", "ab", "a_2"]));
        assert!(!are_valid(&["a", "b", "a"]), "twice");
        assert!(!are_valid(&["A"]) && !are_valid(&["a-b"]));
    }
}
