//! A laboratory of network namespaces, and a demonstration without root.
