//! Lists of domain names that include their subdomains.

use std::collections::BTreeSet;

use super::wire;

/// Domain names including their subdomains, compared without case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains(BTreeSet<Box<[u8]>>);

impl Domains {
    /// Adds a name such as `example.com`, or `.` for the root. `false` if `text` is not a name.
    pub fn add(&mut self, text: &str) -> bool {
        let name = wire::name_of(text);
        let is_name = name.is_some();
        self.0.extend(name.map(Into::into));
        is_name
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of labels of the longest name in the list that equals or contains `name` (uncompressed,
    /// lowercase).
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

    /// Whether the list has `name` (uncompressed, lowercase) or a parent of it.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.longest(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_include_subdomains() {
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
        assert!(list.contains(b"\0"));
    }
}
