//! The control socket: one line of JSON in, one line out, on a Unix socket beside the running process.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::{Error, Result};

/// Longest line that is read.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What a live command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it takes effect.
    pub accepted: bool,
    /// The frame from which it takes effect.
    pub frame: Option<u64>,
    /// Whether the threshold and a rate can be met with it.
    pub feasible: Option<bool>,
    /// Why not, where it was refused.
    pub reason: Option<String>,
}

/// A command that waits for its answer.
pub struct LiveRequest {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub answer: mpsc::SyncSender<Answer>,
}

/// `$XDG_RUNTIME_DIR/issc.sock`, or the same name in the temporary directory.
pub fn default_path() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from).join("issc.sock")
}

/// A socket that listens; its file goes with it.
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path` and hands every command to `requests`. A stale socket is replaced, a live one is an error.
    pub fn listen(path: &Path, requests: Sender<LiveRequest>) -> Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(Error::file(path, "another issc is listening here; accepted: another --control PATH"));
                }
                std::fs::remove_file(path).map_err(|error| Error::file(path, error))?;
                UnixListener::bind(path)
            }
            other => other,
        }
        .map_err(|error| Error::file(path, error))?;
        thread::Builder::new()
            .name("control-socket".into())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let requests = requests.clone();
                    let served = thread::Builder::new()
                        .name("control-client".into())
                        .spawn(move || drop(serve(stream, &requests)));
                    drop(served);
                }
            })
            .map_err(|error| Error::device(format!("no thread for the control socket: {error}")))?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn serve(stream: UnixStream, requests: &Sender<LiveRequest>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(std::io::Read::take(stream, MAX_LINE_BYTES));
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let answer = ask(line.trim_end(), requests);
        writeln!(writer, "{}", serde_json::to_string(&answer).expect("an answer is valid JSON"))?;
        line.clear();
    }
    Ok(())
}

fn ask(line: &str, requests: &Sender<LiveRequest>) -> Answer {
    let refused = |reason: String| Answer { accepted: false, frame: None, feasible: None, reason: Some(reason) };
    let command = match Command::parse(line) {
        Ok(command) => command,
        Err(error) => return refused(error.to_string()),
    };
    let (answer, answered) = mpsc::sync_channel(1);
    if requests.send(LiveRequest { command, answer }).is_err() {
        return refused("the run has ended".into());
    }
    answered.recv().unwrap_or_else(|_| refused("the run ended before it took effect".into()))
}

/// Sends one command to the process that listens at `path`.
pub fn send(path: &Path, command: &Command) -> Result<Answer> {
    let nobody = |error: std::io::Error| {
        Error::file(path, format!("no running issc answers here ({error}); accepted: the --control of a run"))
    };
    let mut stream = UnixStream::connect(path).map_err(nobody)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(nobody)?;
    writeln!(stream, "{}", command.to_line()).map_err(nobody)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(nobody)?;
    serde_json::from_str(&line).map_err(|error| Error::peer(format!("{}: unreadable answer: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (requests, received) = crossbeam_channel::unbounded();
        let socket = ControlSocket::listen(&path, requests.clone()).unwrap();
        assert_eq!(ControlSocket::listen(&path, requests).err().unwrap().exit_status(), 2);
        let server = thread::spawn(move || {
            let request: LiveRequest = received.recv().unwrap();
            assert_eq!(request.command, Command::Power(-3.0));
            let answer = Answer { accepted: true, frame: Some(64), feasible: Some(true), reason: None };
            request.answer.send(answer).unwrap();
        });
        assert_eq!(send(&path, &Command::Power(-3.0)).unwrap().frame, Some(64));
        server.join().unwrap();
        drop(socket);
        assert!(!path.exists());
    }
}
