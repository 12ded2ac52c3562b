-- The ledger, version 1. Days and hours are those of UTC, since 1970; times are Unix seconds.
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE zone (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    session_limit INTEGER, pool_ports INTEGER, programme TEXT
);
CREATE TABLE name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE host (id INTEGER PRIMARY KEY, host TEXT NOT NULL UNIQUE);
-- support: 0 native, 1 ipv4_only, 2 broken_aaaa; NULL if the name was queried for A alone.
CREATE TABLE names (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, name INTEGER NOT NULL,
    support INTEGER, alias TEXT, queries INTEGER NOT NULL,
    sessions INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (zone, day, name)
) WITHOUT ROWID;
-- Which hosts had sessions to a name.
CREATE TABLE name_hosts (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, name INTEGER NOT NULL, host INTEGER NOT NULL,
    PRIMARY KEY (zone, day, name, host)
) WITHOUT ROWID;
CREATE TABLE literals (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, address INTEGER NOT NULL, protocol INTEGER NOT NULL, port INTEGER NOT NULL,
    sessions INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (zone, day, address, protocol, port)
) WITHOUT ROWID;
CREATE TABLE hosts (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, host INTEGER NOT NULL,
    sessions INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    local_sessions INTEGER NOT NULL, bypass_sessions INTEGER NOT NULL,
    PRIMARY KEY (zone, day, host)
) WITHOUT ROWID;
CREATE TABLE hours (
    hour INTEGER NOT NULL, zone INTEGER NOT NULL,
    sessions INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    literal_sessions INTEGER NOT NULL, literal_bytes INTEGER NOT NULL,
    native_queries INTEGER NOT NULL, ipv4_only_queries INTEGER NOT NULL, broken_queries INTEGER NOT NULL,
    peak_sessions INTEGER NOT NULL, peak_ports INTEGER NOT NULL,
    PRIMARY KEY (zone, hour)
) WITHOUT ROWID;
CREATE TABLE drops (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, reason TEXT NOT NULL, packets INTEGER NOT NULL,
    PRIMARY KEY (zone, day, reason)
) WITHOUT ROWID;
-- The name of an address in a zone, for sessions that outlive a restart of the gateway.
CREATE TABLE addresses (
    zone INTEGER NOT NULL, address INTEGER NOT NULL, name INTEGER NOT NULL, is_synthesized INTEGER NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (zone, address)
) WITHOUT ROWID;
