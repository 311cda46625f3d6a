//! Where datagrams come from and where they go: a UDP port, a file, or the standard input and output. Each end has a thread of
//! its own, so that the chains never wait for a network or a disk, and hands buffers back and forth, so that they allocate
//! none.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Deserialize;

use super::datagrams::MOST_BYTES;
use crate::exchange::Trouble;
use crate::part::{self, Part};
use crate::stream::Policy;
use crate::{Error, Result};

/// Datagrams that may wait.
const WAITING: usize = 1024;

/// Bytes of a datagram where a file or the standard input is cut into them: less than 1 % goes into their heads, and one that
/// is lost costs little.
const CUT_BYTES: usize = 1200;

/// How often a thread that waits for packets looks whether it is still wanted.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The keys of either end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceKeys {
    udp: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    stdin: bool,
}

/// The same of the other end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SinkKeys {
    udp: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    stdout: bool,
}

/// Those that are not empty: `--set` can take a value out so.
fn given(udp: Option<String>, file: Option<PathBuf>) -> (Option<String>, Option<PathBuf>) {
    (udp.filter(|udp| !udp.is_empty()), file.filter(|file| !file.as_os_str().is_empty()))
}

/// Refuses anything but one of three.
fn only_one(udp: bool, file: bool, standard: (bool, &str)) -> Result<()> {
    match [udp, file, standard.0].iter().filter(|given| **given).count() {
        1 => Ok(()),
        count => Err(Error::input(format!(
            "{count} of udp, file and {} are given; accepted: one of udp = \"ADDRESS:PORT\", file = \"PATH\", {} = true",
            standard.1, standard.1
        ))),
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| Error::input(format!("udp = \"{text}\"; accepted: ADDRESS:PORT of this network")))
}

fn thread_named(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| Error::device(format!("no thread for {name}: {error}")))
}

/// Gives the datagrams to be sent.
pub(super) struct Inlet {
    full: Receiver<Vec<u8>>,
    free: Sender<Vec<u8>>,
    refused: Arc<AtomicU64>,
    unwanted: Arc<AtomicBool>,
}

impl Inlet {
    pub fn open(keys: SourceKeys) -> Result<Self> {
        let (udp, file) = given(keys.udp, keys.file);
        only_one(udp.is_some(), file.is_some(), (keys.stdin, "stdin"))?;
        let ((into, full), (free, buffers)) = (bounded(WAITING), bounded(WAITING));
        let (refused, unwanted) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let inlet = Self { full, free, refused: refused.clone(), unwanted: unwanted.clone() };
        match (&udp, &file) {
            (Some(text), _) => {
                let cannot = |error: io::Error| Error::input(format!("udp = \"{text}\": {error}"));
                let socket = UdpSocket::bind(address(text)?).map_err(cannot)?;
                socket.set_read_timeout(Some(LOOK_AGAIN)).map_err(cannot)?;
                thread_named("data-source", move || listen(&socket, &into, &buffers, &refused, &unwanted))?;
            }
            (_, Some(file)) => {
                let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
                    true => Err(ErrorKind::IsADirectory.into()),
                    false => Ok(opened),
                });
                let opened = opened.map_err(|error| Error::input(format!("file = \"{}\": {error}", file.display())))?;
                let name = file.display().to_string();
                thread_named("data-source", move || cut(opened, &name, &into, &buffers))?;
            }
            _ => {
                thread_named("data-source", move || cut(io::stdin().lock(), "standard input", &into, &buffers))?;
            }
        }
        Ok(inlet)
    }

    /// Appends the next datagram to `bytes`, if one waits; its length.
    pub fn next(&mut self, bytes: &mut Vec<u8>) -> Option<usize> {
        let next = self.full.try_recv().ok()?;
        bytes.extend_from_slice(&next);
        let length = next.len();
        // There is room for as many as there are.
        let _ = self.free.try_send(next);
        Some(length)
    }

    /// Datagrams that found no room since it was asked last.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

/// A buffer that came back, or a new one.
fn buffer(buffers: &Receiver<Vec<u8>>) -> Vec<u8> {
    buffers.try_recv().unwrap_or_default()
}

fn listen(
    socket: &UdpSocket,
    into: &Sender<Vec<u8>>,
    buffers: &Receiver<Vec<u8>>,
    refused: &AtomicU64,
    unwanted: &AtomicBool,
) {
    let mut packet = vec![0; MOST_BYTES];
    while !unwanted.load(Ordering::Relaxed) {
        // An error is a time without a packet, or what another host's ICMP told of an earlier one.
        let Ok(length) = socket.recv(&mut packet) else { continue };
        // An empty packet cannot be told from none.
        if length == 0 || into.is_full() {
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut datagram = buffer(buffers);
        datagram.clear();
        datagram.extend_from_slice(&packet[..length]);
        if into.send(datagram).is_err() {
            return;
        }
    }
}

fn cut(mut from: impl Read, name: &str, into: &Sender<Vec<u8>>, buffers: &Receiver<Vec<u8>>) {
    loop {
        let mut datagram = buffer(buffers);
        datagram.clear();
        match from.by_ref().take(CUT_BYTES as u64).read_to_end(&mut datagram) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return remark!("issc: {name}: {error}; what comes after is not sent"),
        }
        if into.send(datagram).is_err() {
            return;
        }
    }
}

/// Takes the datagrams that came.
pub(super) struct Outlet {
    full: Option<Sender<Vec<u8>>>,
    free: Receiver<Vec<u8>>,
    policy: Policy,
    thread: Option<JoinHandle<()>>,
}

impl Outlet {
    /// Opens it; what could not be written is said to `trouble`.
    pub fn open(keys: SinkKeys, policy: Policy, trouble: Trouble) -> Result<Self> {
        let (udp, file) = given(keys.udp, keys.file);
        only_one(udp.is_some(), file.is_some(), (keys.stdout, "stdout"))?;
        let ((full, out), (buffers, free)) = (bounded::<Vec<u8>>(WAITING), bounded(WAITING));
        let thread = match (&udp, file) {
            (Some(text), _) => {
                let cannot = |error: io::Error| Error::input(format!("udp = \"{text}\": {error}"));
                let to = address(text)?;
                let here: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(here).map_err(cannot)?;
                socket.connect(to).map_err(cannot)?;
                thread_named("data-sink", move || {
                    for datagram in out {
                        // Nobody listens: that is UDP's way.
                        let _ = socket.send(&datagram);
                        let _ = buffers.try_send(datagram);
                    }
                })?
            }
            (_, Some(file)) => {
                // A device or a pipe takes the bytes as they come.
                let part = (!part::is_special(&file)).then(|| Part::of(&file));
                let opened = match &part {
                    Some(part) => File::create(part.path()),
                    None => File::options().write(true).open(&file),
                };
                let writer = BufWriter::new(opened.map_err(|error| part::failed(&file, &error))?);
                thread_named("data-sink", move || keep(&file, part, writer, &out, &buffers, &trouble))?
            }
            _ => {
                crate::say::leave_standard_output_to_data();
                thread_named("data-sink", move || {
                    let name = Path::new("standard output");
                    let _ = write_all(&mut io::stdout().lock(), name, &out, &buffers, &trouble);
                })?
            }
        };
        Ok(Self { full: Some(full), free, policy, thread: Some(thread) })
    }

    /// Gives a datagram on; `false` where there is no room and nobody may wait.
    pub fn give(&mut self, datagram: &[u8]) -> bool {
        let Some(full) = &self.full else { return false };
        if self.policy == Policy::DropOldest && full.is_full() {
            return false;
        }
        let mut buffer = buffer(&self.free);
        buffer.clear();
        buffer.extend_from_slice(datagram);
        full.send(buffer).is_ok()
    }

    /// Waits until all is written.
    pub fn finish(&mut self) {
        self.full = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.full = None;
        // Its panic has been said, or ends the run elsewhere.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn keep(
    file: &Path,
    part: Option<Part>,
    mut writer: BufWriter<File>,
    out: &Receiver<Vec<u8>>,
    buffers: &Sender<Vec<u8>>,
    trouble: &Trouble,
) {
    let written = write_all(&mut writer, file, out, buffers, trouble);
    drop(writer);
    if let Some(part) = part.filter(|_| written)
        && let Err(error) = part.keep()
    {
        trouble.say(format_args!("data-sink: {}", part::failed(file, &error)));
    }
}

/// Writes whatever comes; `false` where something could not be written: then nothing more is tried. Whoever reads along may
/// leave when they like.
fn write_all(
    to: &mut impl Write,
    name: &Path,
    out: &Receiver<Vec<u8>>,
    buffers: &Sender<Vec<u8>>,
    trouble: &Trouble,
) -> bool {
    let note = |result: io::Result<()>| {
        let error = result.as_ref().err().filter(|error| error.kind() != ErrorKind::BrokenPipe);
        if let Some(error) = error {
            trouble.say(format_args!("data-sink: {}", part::failed(name, error)));
        }
        result.is_ok()
    };
    let mut goes_on = true;
    for datagram in out {
        if goes_on {
            goes_on = note(to.write_all(&datagram));
            // Whoever reads along wants it now, where nothing else waits.
            if goes_on && out.is_empty() {
                goes_on = note(to.flush());
            }
        }
        let _ = buffers.try_send(datagram);
    }
    goes_on && note(to.flush())
}
