//! A secret that the processes of a system share, so that nobody else steers its beams: every line of a link carries a seal
//! that only who knows the secret can make.
//!
//! The transmitter begins with a challenge, the receiver answers with a nonce; both make the key of this connection from
//! them and the secret (HMAC-SHA-256). A line is its JSON, a tab, and the HMAC of its direction and the JSON in
//! hexadecimal. Lines are numbered, so one that is sent again, or left out, does not pass either.

use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{Error, Result};

/// Bytes that a secret has at least and at most.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=1024;

/// The secret of a file.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads it: one line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        let secret = text.trim().as_bytes();
        if !LENGTH.contains(&secret.len()) {
            let what = format!("{} bytes; accepted: a secret of {} to {}", secret.len(), LENGTH.start(), LENGTH.end());
            return Err(Error::file(path, what));
        }
        Ok(Self(secret.to_vec()))
    }

    fn session(&self, greeting: &Greeting, answer: &Greeting) -> Seals {
        let mut mac = mac(&self.0);
        mac.update(greeting.word.as_bytes());
        mac.update(b"/");
        mac.update(answer.word.as_bytes());
        let key = mac.finalize().into_bytes().to_vec();
        Seals { key }
    }

    /// The transmitter's side of the beginning. `None` where the other end does not answer as it should.
    pub(super) fn challenge(&self, stream: &TcpStream) -> Option<Seals> {
        let greeting = Greeting::new();
        let mut to = stream;
        writeln!(to, "{}", serde_json::to_string(&greeting).ok()?).ok()?;
        Some(self.session(&greeting, &Greeting::hear(stream)?))
    }

    /// The receiver's side.
    pub(super) fn answer(&self, stream: &TcpStream) -> Option<Seals> {
        let (greeting, answer) = (Greeting::hear(stream)?, Greeting::new());
        let mut to = stream;
        writeln!(to, "{}", serde_json::to_string(&answer).ok()?).ok()?;
        Some(self.session(&greeting, &answer))
    }
}

/// What both ends begin with: a word that was never said before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Greeting {
    #[serde(rename = "challenge")]
    word: String,
}

impl Greeting {
    fn new() -> Self {
        let draw = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { word: format!("{:016x}{:016x}{:016x}", draw(), draw(), super::peer::now_us()) }
    }

    /// Byte by byte: nothing after the line is read yet.
    fn hear(mut stream: &TcpStream) -> Option<Self> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.len() < 256 {
            stream.read_exact(&mut byte).ok()?;
            if byte[0] == b'\n' {
                return serde_json::from_slice(&line).ok();
            }
            line.push(byte[0]);
        }
        None
    }

    /// Whether a line is the beginning of a link with a secret.
    pub(super) fn is_one(line: &str) -> bool {
        serde_json::from_str::<Self>(line).is_ok()
    }
}

/// Which way a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the transmitter.
    Down,
    /// To it.
    Up,
}

impl Way {
    pub(super) fn back(self) -> Self {
        if self == Self::Down { Self::Up } else { Self::Down }
    }
}

/// The key of one connection.
#[derive(Clone)]
pub(super) struct Seals {
    key: Vec<u8>,
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

impl Seals {
    fn of(&self, way: Way, line: &[u8]) -> Hmac<Sha256> {
        let mut mac = mac(&self.key);
        mac.update(if way == Way::Down { b"down\t" } else { b"up\t" });
        mac.update(line);
        mac
    }

    /// Adds its seal to a line.
    pub(super) fn seal(&self, way: Way, line: &mut Vec<u8>) {
        let tag = self.of(way, line).finalize().into_bytes();
        line.push(b'\t');
        tag.iter().for_each(|byte| line.extend_from_slice(format!("{byte:02x}").as_bytes()));
    }

    /// The line of a sealed one; `None` where the seal is not its own.
    pub(super) fn open<'a>(&self, way: Way, sealed: &'a str) -> Option<&'a str> {
        let (line, tag) = sealed.rsplit_once('\t')?;
        let digits = tag.as_bytes();
        if digits.len() != 64 || !tag.is_ascii() {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..32).map(|at| u8::from_str_radix(&tag[2 * at..2 * at + 2], 16).ok()).collect();
        self.of(way, line.as_bytes()).verify_slice(&bytes?).ok()?;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_a_line_passes_with_the_seal_of_its_own_way_key_and_words_alone() {
        let secret = |text: &str| Secret(text.as_bytes().to_vec());
        let greetings = [Greeting::new(), Greeting::new()];
        let seals = |secret: &Secret| secret.session(&greetings[0], &greetings[1]);
        let own = seals(&secret("the secret of a lab"));
        let mut line = br#"{"sequence":0}"#.to_vec();
        own.seal(Way::Up, &mut line);
        let sealed = String::from_utf8(line).unwrap();
        assert_eq!(own.open(Way::Up, &sealed), Some(r#"{"sequence":0}"#));
        assert_eq!(own.open(Way::Down, &sealed), None, "sent back");
        assert_eq!(own.open(Way::Up, &sealed.replace(":0", ":1")), None, "changed");
        assert_eq!(own.open(Way::Up, r#"{"sequence":0}"#), None, "without one");
        assert_eq!(seals(&secret("another secret.")).open(Way::Up, &sealed), None);
        let later = secret("the secret of a lab").session(&Greeting::new(), &greetings[1]);
        assert_eq!(later.open(Way::Up, &sealed), None, "of another connection");
    }

    #[test]
    fn a_secret_that_is_too_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "short\n").unwrap();
        let error = Secret::read(&path).err().unwrap().to_string();
        assert!(error.contains("5 bytes; accepted"), "{error}");
    }
}
