//! A process beside the program that silences the device when the program dies: a killed program can do nothing any more,
//! and its transmitter goes on as it was left.
//!
//! The supervisor is this program again, at the other end of a pipe. As long as the pipe is open it waits; a line says
//! that all is well, an end without one that the program is dead. Then it opens the device, turns every gain to its
//! minimum, and leaves.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::device::{Side, SoapyDevice};
use crate::{Error, Result};

/// What is said before an end in order.
const ALL_IS_WELL: &[u8] = b"silent\n";

/// How long the supervisor tries to open the device.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program's side of it.
pub(super) struct Supervisor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Supervisor {
    /// Starts the supervisor of a device.
    pub(super) fn start(args: &str) -> Result<Self> {
        let failed = |what: std::io::Error| Error::device(format!("no supervisor: {what}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["supervise", "--device", args]).stdin(Stdio::piped()).stdout(Stdio::null());
        // An interrupt at the terminal is for the program alone, which says so itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }
}

impl Drop for Supervisor {
    /// The device is silent: there is nothing to look after.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // One that is gone needs no word.
            let _ = pipe.write_all(ALL_IS_WELL);
        }
        let _ = self.child.wait();
    }
}

/// The supervisor's side: waits for the program's end and silences the device where that was its death.
pub fn supervise(args: &str, mut pipe: impl Read) -> Result<()> {
    let mut said = Vec::new();
    // An end by an error is an end.
    let _ = pipe.read_to_end(&mut said);
    if said == ALL_IS_WELL {
        return Ok(());
    }
    // The virtual radio's world went with the program.
    let args = args.split(',').filter(|item| !item.trim_start().starts_with("air=")).collect::<Vec<_>>().join(",");
    let since = Instant::now();
    let silenced = loop {
        let silenced = silence(&args);
        if silenced.is_ok() || since.elapsed() > PATIENCE {
            break silenced;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    match &silenced {
        Ok(()) => remark!("issc: the program died while it transmitted: its gains are at their minimum"),
        Err(error) => remark!("issc: the program died while it transmitted: check the transmitter: {error}"),
    }
    silenced
}

fn silence(args: &str) -> Result<()> {
    let device = SoapyDevice::open(args)?;
    (0..device.channels(Side::Tx)?).try_for_each(|channel| device.silence(channel))
}
