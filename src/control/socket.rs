//! The control socket: one line of JSON in, one line out, on a Unix socket beside the running process.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
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

/// The line that asks for the status in place of a command.
const STATUS: &str = "status";

/// Makes the status as one line of JSON.
pub type MakeStatus = Arc<dyn Fn() -> String + Send + Sync>;

/// A command that waits for its answer.
pub struct LiveRequest {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub answer: mpsc::SyncSender<Answer>,
}

/// `$XDG_RUNTIME_DIR/issc.sock`, or `.issc.sock` in the home directory: never in a folder that others may write to.
pub fn default_path() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    default_in(folder("XDG_RUNTIME_DIR"), folder("HOME"))
}

/// [`default_path`], where no other process listens.
///
/// # Errors
/// Where there is no such folder, or another process has the socket.
pub fn free_default_path() -> Result<PathBuf> {
    let path = default_path()?;
    if UnixStream::connect(&path).is_ok() { Err(taken(&path)) } else { Ok(path) }
}

fn taken(path: &Path) -> Error {
    Error::file(path, "another issc is listening here; accepted: another --control PATH")
}

fn default_in(runtime: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    runtime
        .map(|folder| folder.join("issc.sock"))
        .or_else(|| home.map(|home| home.join(".issc.sock")))
        .ok_or_else(|| Error::input("no XDG_RUNTIME_DIR and no HOME to keep a socket in; accepted: --control PATH"))
}

/// A socket that listens; its file goes with it.
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, hands every command to `requests` and answers questions for the status. A stale socket is
    /// replaced; a live one, or another file, is an error.
    pub fn listen(path: &Path, requests: Sender<LiveRequest>, status: MakeStatus) -> Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let metadata = std::fs::symlink_metadata(path).map_err(|error| Error::file(path, error))?;
                if !metadata.file_type().is_socket() {
                    return Err(Error::file(path, "is a file and no socket; accepted: another --control PATH"));
                }
                if UnixStream::connect(path).is_ok() {
                    return Err(taken(path));
                }
                std::fs::remove_file(path).map_err(|error| Error::file(path, error))?;
                UnixListener::bind(path)
            }
            other => other,
        }
        .map_err(|error| Error::file(path, error))?;
        // A process that may write to the socket may steer the beams.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| Error::file(path, error))?;
        thread::Builder::new()
            .name("control-socket".into())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (requests, status) = (requests.clone(), Arc::clone(&status));
                    let served = thread::Builder::new()
                        .name("control-client".into())
                        .spawn(move || drop(serve(stream, &requests, &status)));
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

fn serve(stream: UnixStream, requests: &Sender<LiveRequest>, status: &MakeStatus) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut lines, MAX_LINE_BYTES).read_line(&mut line)?;
        // A line without its end was cut: it may be half a command.
        if read == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let reply = match line.trim_end() {
            STATUS => status(),
            command => {
                let answer = match Command::parse(command) {
                    Ok(command) => ask(command, requests),
                    Err(error) => Answer::refused(error.to_string()),
                };
                serde_json::to_string(&answer).expect("an answer is valid JSON")
            }
        };
        writeln!(writer, "{reply}")?;
    }
}

impl Answer {
    /// No, and why.
    fn refused(reason: String) -> Self {
        Self { accepted: false, frame: None, feasible: None, reason: Some(reason) }
    }
}

/// Gives a command to the optimizer's thread and waits for its answer.
pub fn ask(command: Command, requests: &Sender<LiveRequest>) -> Answer {
    let (answer, answered) = mpsc::sync_channel(1);
    if requests.send(LiveRequest { command, answer }).is_err() {
        return Answer::refused("the run has ended".into());
    }
    answered.recv().unwrap_or_else(|_| Answer::refused("the run ended before it took effect".into()))
}

/// Sends one line to the process that listens at `path`; the line that it answers.
fn exchange(path: &Path, line: &str) -> Result<String> {
    let nobody = |error: std::io::Error| {
        Error::file(path, format!("no running issc answers here ({error}); accepted: the --control of a run"))
    };
    let mut stream = UnixStream::connect(path).map_err(nobody)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(nobody)?;
    writeln!(stream, "{line}").map_err(nobody)?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).map_err(nobody)?;
    Ok(reply)
}

fn understood<T: serde::de::DeserializeOwned>(path: &Path, reply: &str) -> Result<T> {
    serde_json::from_str(reply).map_err(|error| Error::peer(format!("{}: unreadable answer: {error}", path.display())))
}

/// Asks the process that listens at `path` for its status, as JSON.
pub fn status(path: &Path) -> Result<serde_json::Value> {
    understood(path, &exchange(path, STATUS)?)
}

/// Sends one command to the process that listens at `path`.
pub fn send(path: &Path, command: &Command) -> Result<Answer> {
    understood(path, &exchange(path, &command.to_line())?)
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
        let socket = ControlSocket::listen(&path, requests.clone(), Arc::new(String::new)).unwrap();
        assert_eq!(ControlSocket::listen(&path, requests, Arc::new(String::new)).err().unwrap().exit_status(), 2);
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

    #[test]
    fn a_file_that_is_no_socket_is_refused_and_kept_and_a_socket_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes.txt");
        std::fs::write(&notes, "kept").unwrap();
        let listen = |path: &Path| ControlSocket::listen(path, crossbeam_channel::unbounded().0, Arc::new(String::new));
        let error = listen(&notes).err().unwrap();
        assert!(
            error.exit_status() == 2 && error.to_string().contains("notes.txt: is a file and no socket"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), "kept");
        let path = folder.path().join("c.sock");
        let socket = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
    }

    #[test]
    fn the_socket_that_nobody_names_is_in_a_folder_of_the_users_own() {
        let path =
            |runtime: Option<&str>, home: Option<&str>| default_in(runtime.map(Into::into), home.map(Into::into));
        assert_eq!(path(Some("/run/user/7"), Some("/home/ann")).unwrap(), Path::new("/run/user/7/issc.sock"));
        assert_eq!(path(None, Some("/home/ann")).unwrap(), Path::new("/home/ann/.issc.sock"));
        let error = path(None, None).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains("--control PATH"), "{error}");
    }

    #[test]
    fn half_a_command_is_none_and_a_whole_one_after_it_is_obeyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        let (requests, received) = crossbeam_channel::unbounded();
        let _socket = ControlSocket::listen(&path, requests, Arc::new(String::new)).unwrap();
        // Cut after its first digit: a power of -3 dBm where -30 was meant.
        let mut cut = UnixStream::connect(&path).unwrap();
        cut.write_all(b"power_dbm=-3").unwrap();
        cut.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        BufReader::new(cut).read_line(&mut reply).unwrap();
        assert_eq!(reply, "", "nothing is answered");
        assert!(received.is_empty());
        thread::scope(|scope| {
            scope.spawn(|| {
                let request: LiveRequest = received.recv().unwrap();
                assert_eq!(request.command, Command::Power(-30.0));
                request.answer.send(Answer::refused("enough".into())).unwrap();
            });
            assert!(!send(&path, &Command::Power(-30.0)).unwrap().accepted);
        });
    }

    #[test]
    fn a_file_in_a_command_is_read_by_the_client_and_its_contents_are_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.json");
        std::fs::write(&file, "{\"w_c\": [[0.01, 0]], \"w_0\": [[0, 0.01]]}").unwrap();
        let line = Command::parse(&format!("weights=@{}", file.display())).unwrap().to_line();
        assert!(!line.contains('@') && line.starts_with("weights={"), "{line}");
        // The file is not needed where the line arrives.
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(Command::parse(&line).unwrap(), Command::Weights(Some(_))));
    }
}
