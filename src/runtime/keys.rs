//! Every key of a flowgraph file but those of its stages, which each kind states itself.

use crate::keys::Default::{Absent, Required, Toml};
use crate::keys::Range::{Number, Text, Truth, Whole, Word};
use crate::keys::{Default, Key, Range};

const fn key(path: &'static str, unit: &'static str, range: Range, default: Default, doc: &'static str) -> Key {
    Key { path, unit, range, default, doc }
}

const ROLE: Range = Word(&["communication-receiver", "sensing-receiver"]);

/// All keys of a flowgraph file.
pub const KEYS: &[Key] = &[
    key("summary", "", Text("one line"), Required, "What the flowgraph is for."),
    key("scene", "", Text("a shipped name or a path"), Required, "The scene."),
    key(
        "frames",
        "",
        Whole(0, 1 << 50),
        Absent,
        "Frames to send where the command line says nothing; without end where absent.",
    ),
    key(
        "follow_frames",
        "",
        Whole(1, 1 << 20),
        Absent,
        "Frames from one plan after the sensing receiver's track to the next; the beams do not follow where absent.",
    ),
    key("hold_beams", "", Truth, Toml("false"), "Whether soundings leave the first plan's beams as they are."),
    key(
        "serves",
        "",
        Text("the id of a communication receiver"),
        Absent,
        "The receiver that the plan is made for; the scene's first where absent. Others listen.",
    ),
    key(
        "link_frames",
        "",
        Whole(2, 64),
        Absent,
        "Frames that a link between two chains holds; where absent, 4 if its writer waits and 64 if frames are dropped.",
    ),
    key(
        "http",
        "",
        Text("ADDRESS:PORT"),
        Absent,
        "Where page, API and metrics of the run are served; nowhere where absent and without --http.",
    ),
    key("link.listen", "", Text("HOST:PORT"), Absent, "Where receivers find this transmitter."),
    key("link.peers", "", Text("a list of roles"), Toml("[]"), "The receivers without which the transmitter waits."),
    key("link.connect", "", Text("HOST:PORT"), Absent, "Where this receiver finds its transmitter."),
    key("link.role", "", ROLE, Absent, "What this receiver is."),
    key(
        "link.key_file",
        "",
        Text("a path"),
        Absent,
        "File with the secret that the processes of a system share; a transmitter without one is heard on this machine alone.",
    ),
    key("link.wait_s", "s", Number(0.0, 1e6), Toml("60.0"), "Time that the others may take to come."),
    key("chain[].name", "", Text("a name of its own"), Required, "The chain's name, also its thread's."),
    key("chain[].from", "", Text("the name of a chain above"), Absent, "The chain that feeds this one."),
    key("chain[].first_row", "", Whole(0, 4096), Toml("0"), "First row that is taken from that chain."),
    key("chain[].rows", "", Whole(1, 4096), Absent, "Number of rows that are taken; all that follow where absent."),
    key(
        "chain[].link",
        "",
        Word(&["wait", "drop-oldest"]),
        Absent,
        "What happens where the chain is late: its feeder waits, or the oldest frames are dropped and counted. Where absent, \
         chains behind a radio drop and others wait.",
    ),
    key(
        "chain[].cores",
        "",
        Text("a list of processor cores"),
        Absent,
        "Cores that the chain's thread may run on; any where absent. Refused where the machine does not let it.",
    ),
    key(
        "chain[].realtime_priority",
        "",
        Whole(1, 99),
        Absent,
        "Priority of the chain's thread in real time (SCHED_FIFO); the usual scheduling where absent. Refused where it is not \
         permitted.",
    ),
    key("chain[].stages[].kind", "", Text("see `issc blocks`"), Required, "The stage's kind."),
];
