//! Who may ask: the names under which requests come, the pages that send them, the token, and how often.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, Method, StatusCode, header};

use crate::{Error, Result};

/// Shortest and longest token.
const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=512;

/// Requests a second in the long run, and how many may come at once.
const REQUESTS: (f64, f64) = (300.0, 600.0);
/// The same for those that change something.
const CHANGES: (f64, f64) = (20.0, 40.0);

/// The word before a token in the protocols that a WebSocket from a page asks for.
const TOKEN_PROTOCOL: &str = "token.";

/// Reads the token: one line of printable characters.
pub fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    let token = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if !TOKEN_LENGTH.contains(&token.len()) || !token.chars().all(allowed) {
        let (least, most) = (TOKEN_LENGTH.start(), TOKEN_LENGTH.end());
        return Err(Error::file(
            path,
            format!("{} characters; accepted: {least} to {most} of A-Z, a-z, 0-9 and -._~+/=", token.chars().count()),
        ));
    }
    Ok(token.to_owned())
}

/// So many requests a second.
struct Bucket {
    per_second: f64,
    most: f64,
    left: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn new((per_second, most): (f64, f64)) -> Self {
        Self { per_second, most, left: Mutex::new((most, Instant::now())) }
    }

    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = left.0 + self.per_second * now.duration_since(left.1).as_secs_f64();
        *left = (filled.min(self.most), now);
        let has = left.0 >= 1.0;
        if has {
            left.0 -= 1.0;
        }
        has
    }
}

/// What requests are held against.
pub struct Guard {
    address: SocketAddr,
    token: Option<String>,
    hosts: Vec<String>,
    requests: Bucket,
    changes: Bucket,
}

/// Whether two texts are equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

impl Guard {
    pub fn new(address: SocketAddr, token: Option<String>, hosts: Vec<String>) -> Self {
        Self { address, token, hosts, requests: Bucket::new(REQUESTS), changes: Bucket::new(CHANGES) }
    }

    /// Whether a request may be answered; the status and the sentence where not. `open` are routes that tell nothing of the
    /// run and need no token.
    pub fn check(&self, method: &Method, headers: &HeaderMap, open: bool) -> Result<(), (StatusCode, String)> {
        let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !self.requests.take() || (is_change && !self.changes.take()) {
            return Err((StatusCode::TOO_MANY_REQUESTS, "too many requests; accepted: again in a second".into()));
        }
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or_default();
        if !self.knows(host) {
            let accepted = self.accepted();
            return Err((StatusCode::FORBIDDEN, format!("Host: {host}; accepted: {accepted}")));
        }
        if let Some(origin) = text(header::ORIGIN) {
            let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if page != Some(host) {
                return Err((StatusCode::FORBIDDEN, format!("Origin: {origin}; accepted: http://{host}")));
            }
        }
        match &self.token {
            Some(token) if !open && !given(headers).is_some_and(|given| same(given.as_bytes(), token.as_bytes())) => {
                let sentence = "token missing or wrong; accepted: Authorization: Bearer TOKEN, of --http-token-file";
                Err((StatusCode::UNAUTHORIZED, sentence.into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether this is a name of ours. A name that somebody else's server gave to our address is not: a page under it
    /// would count as one of ours. Where others can reach the address itself, only the proxy before it may ask: what comes
    /// straight to it was not encrypted.
    fn knows(&self, host: &str) -> bool {
        let port = self.address.port();
        let (name, named_port) = match host.rsplit_once(':') {
            Some((name, digits)) if !digits.contains(']') => (name, digits.parse().ok()),
            _ => (host, Some(80)),
        };
        if self.hosts.iter().any(|known| known == host || known == name) {
            return true;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_here = match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name == "localhost",
        };
        self.address.ip().is_loopback() && is_here && named_port == Some(port)
    }

    fn accepted(&self) -> String {
        let own = [format!("localhost:{}", self.address.port()), self.address.to_string()];
        let own = own.into_iter().filter(|_| self.address.ip().is_loopback());
        own.chain(self.hosts.iter().cloned()).collect::<Vec<_>>().join(", ")
    }
}

/// The token that a request carries: a page cannot give its WebSocket a header, so there it is one of the protocols.
fn given(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let named = |protocols: &'_ str| -> Option<usize> { protocols.find(TOKEN_PROTOCOL) };
    bearer.and_then(|value| value.strip_prefix("Bearer ")).or_else(|| {
        let protocols = protocols?;
        let token = &protocols[named(protocols)? + TOKEN_PROTOCOL.len()..];
        Some(token.split(',').next().unwrap_or(token).trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn status(guard: &Guard, of: &[(&'static str, &str)]) -> u16 {
        guard.check(&Method::POST, &headers(of), false).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn foreign_hosts_and_pages_are_refused_and_ones_own_are_not() {
        let guard = Guard::new("127.0.0.1:8080".parse().unwrap(), None, vec!["radio.example".into()]);
        for (host, origin, expected) in [
            ("127.0.0.1:8080", None, 200),
            ("localhost:8080", Some("http://localhost:8080"), 200),
            ("[::1]:8080", None, 200),
            ("radio.example", Some("https://radio.example"), 200),
            ("127.0.0.1:8081", None, 403),
            ("localhost", None, 403),
            ("rebound.example:8080", None, 403),
            ("127.0.0.1.example:8080", None, 403),
            ("10.0.0.1:8080", None, 403),
            ("", None, 403),
            ("localhost:8080", Some("http://127.0.0.1:8080"), 403),
            ("localhost:8080", Some("http://evil.example"), 403),
            ("localhost:8080", Some("null"), 403),
        ] {
            let mut given = vec![("host", host)];
            given.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(status(&guard, &given), expected, "{host} {origin:?}");
        }
        assert_eq!(status(&guard, &[]), 403);
    }

    #[test]
    fn a_token_is_asked_for_in_a_header_or_among_the_protocols_of_a_websocket() {
        let token = "0123456789abcdef";
        let guard = Guard::new("0.0.0.0:80".parse().unwrap(), Some(token.into()), vec!["radio.example".into()]);
        let host = ("host", "radio.example");
        let bearer = format!("Bearer {token}");
        let protocols = format!("issc, token.{token}");
        assert_eq!(status(&guard, &[host]), 401);
        assert_eq!(status(&guard, &[host, ("authorization", "Bearer 0123456789abcdeg")]), 401);
        assert_eq!(status(&guard, &[host, ("authorization", token)]), 401);
        assert_eq!(status(&guard, &[host, ("authorization", &bearer)]), 200);
        assert_eq!(status(&guard, &[host, ("sec-websocket-protocol", &protocols)]), 200);
        assert!(guard.check(&Method::GET, &headers(&[host]), true).is_ok());
        // What comes straight to an address of all the world was not encrypted.
        for other in ["evil.example", "192.0.2.7", "127.0.0.1", "localhost"] {
            assert_eq!(status(&guard, &[("host", other), ("authorization", &bearer)]), 403);
        }
    }

    #[test]
    fn changes_in_quick_succession_are_put_off() {
        let guard = Guard::new("127.0.0.1:1".parse().unwrap(), None, Vec::new());
        let answers: Vec<_> = (0..100).map(|_| status(&guard, &[("host", "127.0.0.1:1")])).collect();
        assert!(answers[..40].iter().all(|status| *status == 200) && answers[99] == 429, "{answers:?}");
    }

    #[test]
    fn a_short_token_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for (text, good) in [("0123456789abcdef\n", true), ("short", false), ("0123456789 abcdef", false), ("", false)]
        {
            std::fs::write(&file, text).unwrap();
            let read = read_token(&file);
            assert_eq!(read.is_ok(), good, "{text}");
            assert!(good || read.unwrap_err().to_string().contains("accepted: 16 to 512"));
        }
    }
}
