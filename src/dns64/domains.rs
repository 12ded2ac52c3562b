//! Lists of domain names, each with all names below it.

use std::collections::BTreeSet;

use super::wire;

/// Domain names, each with all names below it. Case makes no difference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains(BTreeSet<Box<[u8]>>);

impl Domains {
    /// Adds a name such as `example.com` or `.`, the root. `false` if it is none.
    pub fn add(&mut self, text: &str) -> bool {
        let name = wire::name_of(text);
        let is_name = name.is_some();
        self.0.extend(name.map(Into::into));
        is_name
    }

    /// Whether there is no name in the list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many labels of `name` (uncompressed, in small letters) are in the longest name of the list
    /// that holds it.
    pub(super) fn longest(&self, name: &[u8]) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let labels = wire::labels(name).count();
        let mut rest = name;
        for left in (0..=labels).rev() {
            if self.0.contains(rest) {
                return Some(left);
            }
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
        None
    }

    /// Whether `name` (uncompressed, in small letters) or a name above it is in the list.
    pub(super) fn hold(&self, name: &[u8]) -> bool {
        self.longest(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_what_is_below_them() {
        let mut list = Domains::default();
        assert!(list.add("Example.com") && list.add("a.b.example.com."));
        for bad in ["", "a..b", ".a", &"x".repeat(64), &"ab.".repeat(86)] {
            assert!(!list.add(bad), "{bad}");
        }
        let longest = |list: &Domains, text| list.longest(&wire::name_of(text).expect("a name"));
        assert_eq!(longest(&list, "example.com"), Some(2));
        assert_eq!(longest(&list, "b.example.com"), Some(2));
        assert_eq!(longest(&list, "x.a.b.example.com"), Some(4));
        assert_eq!(longest(&list, "xexample.com"), None);
        assert_eq!(longest(&list, "com"), None);
        assert!(list.add("."));
        assert_eq!(longest(&list, "com"), Some(0));
        assert!(list.hold(b"\0"));
    }
}
