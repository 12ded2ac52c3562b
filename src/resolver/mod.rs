//! Sockets around the DNS64 engine.
