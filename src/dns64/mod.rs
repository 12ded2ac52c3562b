//! DNS64 (RFC 6147): query in, answer out. No sockets, no clock.
