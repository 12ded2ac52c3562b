//! Starting, reloading and stopping; configuration; the host's addresses, routes and settings.
