//! What an interrupt or a termination does, from the first instant of a command on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::radios::silence_all;
use crate::runtime::StopSwitch;
use crate::{Error, Result};

/// Exit status after an end at once.
const INTERRUPTED: i32 = 130;

/// An interrupt or a termination: the first ends a run in order, the second at once. Whatever transmits has its gains
/// turned down.
pub struct Signals {
    /// Is pulled by the first.
    pub stop: StopSwitch,
}

impl Signals {
    /// From now on they are caught.
    pub fn catch() -> Result<Self> {
        let stop = StopSwitch::default();
        let pulled = stop.clone();
        handle(move || {
            if pulled.is_pulled() {
                leave();
            }
            remark!("issc: stopping; once more to leave at once");
            pulled.pull();
        })?;
        Ok(Self { stop })
    }

    /// From now on the first one ends the program at once: for commands with nothing to end in order.
    pub fn leave_at_once() -> Result<()> {
        handle(|| leave())
    }
}

static LEAVING: AtomicBool = AtomicBool::new(false);

/// Waits for the end where one is under way: the program does not end before its transmitters are silent.
pub fn wait_for_end() {
    while LEAVING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

fn leave() -> ! {
    LEAVING.store(true, Ordering::SeqCst);
    silence_all();
    std::process::exit(INTERRUPTED)
}

fn handle(handler: impl FnMut() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(handler).map_err(|error| Error::device(format!("no signal handler: {error}")))
}
