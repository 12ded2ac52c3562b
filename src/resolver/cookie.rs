//! DNS cookies (RFC 7873, RFC 9018): they confirm a client's source address.

use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use super::message_edit;
use super::query_key::COOKIE;

/// A client cookie.
pub(super) type ClientCookie = [u8; 8];
/// Length of a whole cookie: client part and server part.
pub(super) const COOKIE_LEN: usize = 24;
/// Bytes that a cookie adds to an answer.
pub(super) const OPTION_LEN: usize = 4 + COOKIE_LEN;

/// Maximum age of a server cookie, and maximum clock skew, in seconds (RFC 9018 §4.3).
const MAX_AGE: u32 = 3_600;
const MAX_SKEW: u32 = 300;

/// Key of the server cookies, fixed while the process runs.
#[derive(Clone, Copy)]
pub(super) struct Secret([u64; 2]);

/// Status of a client's cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CookieStatus {
    /// Malformed: its length is invalid (RFC 7873 §5.2.2).
    Malformed,
    /// Without a server part, or with one that is foreign or expired.
    Unverified(ClientCookie),
    /// Valid: the client has received an answer at its address.
    Verified(ClientCookie),
}

impl CookieStatus {
    /// The client's part.
    pub(super) const fn client(self) -> Option<ClientCookie> {
        match self {
            Self::Malformed => None,
            Self::Unverified(client) | Self::Verified(client) => Some(client),
        }
    }
}

impl Secret {
    pub(super) const fn new(key: [u64; 2]) -> Self {
        Self(key)
    }

    fn hash(self, client: ClientCookie, head: [u8; 8], addr: IpAddr) -> [u8; 8] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&client);
        bytes[8..16].copy_from_slice(&head);
        let len = match addr {
            IpAddr::V4(v4) => {
                bytes[16..20].copy_from_slice(&v4.octets());
                20
            }
            IpAddr::V6(v6) => {
                bytes[16..].copy_from_slice(&v6.octets());
                32
            }
        };
        let [key0, key1] = self.0;
        // RFC 9018 §4.4.
        SipHasher24::new_with_keys(key0, key1).hash(&bytes[..len]).to_le_bytes()
    }

    /// Verifies the content of a client's cookie option; `now` is in seconds of any monotonic clock.
    pub(super) fn verify(self, content: &[u8], addr: IpAddr, now: u32) -> CookieStatus {
        let Some((client, server)) = content.split_first_chunk::<8>() else { return CookieStatus::Malformed };
        let Some((head, hash)) = server.split_first_chunk::<8>() else {
            return if server.is_empty() {
                CookieStatus::Unverified(*client)
            } else {
                CookieStatus::Malformed
            };
        };
        if server.len() > 32 {
            return CookieStatus::Malformed;
        }
        let made = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let age = now.wrapping_sub(made).cast_signed();
        let fresh = age <= MAX_AGE.cast_signed() && age >= -MAX_SKEW.cast_signed();
        // The reserved bytes are hashed as received (RFC 9018 §4.2).
        let ours = head[0] == 1 && *hash == self.hash(*client, *head, addr);
        if ours && fresh { CookieStatus::Verified(*client) } else { CookieStatus::Unverified(*client) }
    }

    /// The whole cookie for a client.
    pub(super) fn issue(self, client: ClientCookie, addr: IpAddr, now: u32) -> [u8; COOKIE_LEN] {
        let mut head = [1, 0, 0, 0, 0, 0, 0, 0];
        head[4..].copy_from_slice(&now.to_be_bytes());
        let mut cookie = [0; COOKIE_LEN];
        cookie[..8].copy_from_slice(&client);
        cookie[8..16].copy_from_slice(&head);
        cookie[16..].copy_from_slice(&self.hash(client, head, addr));
        cookie
    }

    /// The client cookie for `upstream`, a different one for each (RFC 9018 §3).
    pub(super) fn client(self, upstream: SocketAddr) -> ClientCookie {
        self.hash(*b"upstream", u64::from(upstream.port()).to_be_bytes(), upstream.ip())
    }
}

/// Adds a cookie to an answer. Truncates the answer if it gets too long.
pub(super) fn append(message: &mut Vec<u8>, limit: usize, whole: &[u8]) {
    let Some(opt) = message_edit::last_opt(message) else { return };
    if message.len() + OPTION_LEN > limit {
        message_edit::truncate(message, Some(opt));
    }
    if let Some(opt) = message_edit::last_opt(message) {
        if message.len() + OPTION_LEN > limit {
            // An extended error may carry a text of any length (RFC 8914 §2).
            message_edit::clear_options(message, opt);
        }
        message_edit::push_option(message, opt, COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A.1.
    const SECRET: [u8; 16] = *b"\xe5\xe9\x73\xe5\xa6\xb2\xa4\x3f\x48\xe7\xdc\x84\x9e\x37\xbf\xcf";

    fn secret() -> Secret {
        let (words, _) = SECRET.as_chunks::<8>();
        Secret::new([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_vector_of_rfc_9018() {
        let client = *hex("2464c4abcf10c957").first_chunk::<8>().unwrap();
        let addr = "198.51.100.100".parse().unwrap();
        let want = hex("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        assert_eq!(secret().issue(client, addr, 1_559_731_985).to_vec(), want);
        assert_eq!(secret().verify(&want, addr, 1_559_732_300), CookieStatus::Verified(client));
    }

    #[test]
    fn expired_forged_and_malformed_cookies() {
        let client = [7; 8];
        let addr = "2001:db8::1".parse().unwrap();
        let cookie = secret().issue(client, addr, 10_000);
        let verify = |content: &[u8], addr, now| secret().verify(content, addr, now);
        assert_eq!(verify(&cookie, addr, 10_000), CookieStatus::Verified(client));
        assert_eq!(verify(&cookie, addr, 13_600), CookieStatus::Verified(client));
        assert_eq!(verify(&cookie, addr, 13_601), CookieStatus::Unverified(client), "old");
        assert_eq!(verify(&cookie, addr, 9_699), CookieStatus::Unverified(client), "from the future");
        assert_eq!(verify(&cookie, "2001:db8::2".parse().unwrap(), 10_000), CookieStatus::Unverified(client));
        let mut forged = cookie;
        forged[23] ^= 1;
        assert_eq!(verify(&forged, addr, 10_000), CookieStatus::Unverified(client));
        assert_eq!(verify(&cookie[..8], addr, 10_000), CookieStatus::Unverified(client));
        for len in [0, 7, 9, 15] {
            assert_eq!(verify(&cookie[..len], addr, 10_000), CookieStatus::Malformed, "{len}");
        }
        assert_eq!(verify(&[0; 41], addr, 10_000), CookieStatus::Malformed);
    }
}
