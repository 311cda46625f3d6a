//! The kinds of this program, one entry each. `issc blocks NAME` prints what stands here.

use std::sync::Arc;

use toml::Table;

use super::{
    Context, Key, Kind, Port, Role, data_sink, data_source, discard, echo_locator, frame_builder, frame_receiver,
    picture_sink, picture_source, pulse_shaper, radio, recorder, recording_source, reference_sender, reference_source,
    simulated_air, superposer,
};
use crate::Result;
use crate::stream::Stage;

const STREAMS: Port = Port::complex("s_c, s_0 and the sounding");
const ANTENNAS: Port = Port::complex("one per transmit antenna");
const SAMPLES: Port = Port::complex("any");

const RADIO: Key = Key {
    name: "radio",
    value: "text",
    unit: "",
    range: "a shipped profile or a path",
    default: None,
    doc: "Profile of the device.",
};

const RECEIVER: Key = Key {
    name: "receiver",
    value: "text",
    unit: "",
    range: "id of a communication receiver of the scene",
    default: Some("the first"),
    doc: "Which receiver of the scene this one is.",
};

const UDP: Key = Key { name: "udp", value: "text", unit: "", range: "ADDRESS:PORT", default: Some("none"), doc: "" };

const FILE: Key = Key { name: "file", range: "a path that exists; empty: none", ..UDP };

const STANDARD: Key = Key { name: "", value: "true or false", range: "true or false", default: Some("false"), ..UDP };

/// All of them, in the order of a signal's way.
pub(super) fn kinds() -> Vec<Kind> {
    let mut kinds = senders();
    kinds.extend(receivers());
    kinds.extend(recordings());
    kinds
}

type Function = fn(&mut Context, Table) -> Result<Box<dyn Stage>>;

fn kind(name: &'static str, role: Role, [inlet, outlet]: [Port; 2], summary: &'static str, make: Function) -> Kind {
    Kind { name, summary, role, inlet, outlet, keys: &[], make: Arc::new(make) }
}

fn senders() -> Vec<Kind> {
    vec![
        Kind {
            keys: &[Key {
                name: "pictures_per_s",
                value: "number",
                unit: "per second of signal",
                range: "above 0; inf: as many as fit",
                default: Some("a video's own; 30 with --pace or a radio; inf otherwise"),
                doc: "How often a picture begins; frames between pictures are left to data.",
            }],
            ..kind(
                "picture-source",
                Role::Creates,
                [Port::NOTHING, Port::CODED],
                "pictures as header and payload bits of frames, under the plan of each frame",
                picture_source::make,
            )
        },
        Kind {
            keys: &[
                Key { doc: "Where packets are taken from; each is a datagram.", ..UDP },
                Key { doc: "A file whose bytes are sent, as datagrams of 1200.", ..FILE },
                Key { name: "stdin", doc: "The standard input's bytes are sent, as datagrams of 1200.", ..STANDARD },
            ],
            ..kind(
                "data-source",
                Role::Carries,
                [Port::CODED, Port::CODED],
                "user data into the blocks that pictures leave free: one of `udp`, `file`, `stdin`",
                data_source::make,
            )
        },
        kind(
            "frame-builder",
            Role::Shapes,
            [Port::CODED, STREAMS],
            "channel code, modulation and frame: bits to the symbols of both streams",
            frame_builder::make,
        ),
        Kind {
            keys: &[Key {
                name: "tap",
                value: "text",
                unit: "",
                range: "a name that no other tap has",
                default: Some("no tap"),
                doc: "Name under which sensing receivers read the shaped streams, any number of them.",
            }],
            ..kind(
                "pulse-shaper",
                Role::Shapes,
                [STREAMS, STREAMS],
                "root-raised-cosine pulses; `tap` copies the shaped streams for sensing receivers",
                pulse_shaper::make,
            )
        },
        kind(
            "superposer",
            Role::Shapes,
            [STREAMS, ANTENNAS],
            "both streams on all antennas with the plan's beams (eq. 1), and the sounding",
            superposer::make,
        ),
        kind(
            "simulated-air",
            Role::Hears,
            [ANTENNAS, Port::complex("the communication receiver's antenna, then the sensing array's")],
            "direct path, echo and noise: antennas to the communication receiver and the sensing array",
            simulated_air::make,
        ),
        kind(
            "reference-sender",
            Role::Relays,
            [Port::CODED, Port::CODED],
            "passes frames on, and copies them to sensing receivers in other processes and to a recording",
            reference_sender::make,
        ),
        kind(
            "reference-source",
            Role::Repeats,
            [Port::NOTHING, Port::CODED],
            "the frames sent by another process or in a recording, for the reference",
            reference_source::make,
        ),
        Kind {
            keys: &[RADIO],
            ..kind(
                "soapy-sink",
                Role::Sends,
                [ANTENNAS, Port::NOTHING],
                "antenna samples to a radio (feature soapy), with `radio` a profile",
                radio,
            )
        },
    ]
}

fn receivers() -> Vec<Kind> {
    vec![
        Kind {
            keys: &[
                RECEIVER,
                Key {
                    name: "sensing_stream",
                    value: "text",
                    unit: "",
                    range: "noise, cancel or demap",
                    default: Some("noise"),
                    doc: "What becomes of s_0: it counts as noise, is known and taken out, or is unknown and demapped too.",
                },
            ],
            ..kind(
                "frame-receiver",
                Role::Receives,
                [Port::complex("one antenna"), Port::CODED],
                "synchronises, equalises, demaps and decodes: samples to bits; `sensing_stream` says what becomes of s_0",
                frame_receiver::make,
            )
        },
        Kind {
            keys: &[
                Key { doc: "Where datagrams are sent to, a packet each.", ..UDP },
                Key { range: "a path; empty: none", doc: "File that is written: there once it is whole.", ..FILE },
                Key {
                    name: "stdout",
                    doc: "The bytes go to the standard output, and the report to the standard error.",
                    ..STANDARD
                },
            ],
            ..kind(
                "data-sink",
                Role::Carries,
                [Port::CODED, Port::CODED],
                "user data out of the frames that carry some, in order: one of `udp`, `file`, `stdout`; passes frames on",
                data_sink::make,
            )
        },
        Kind {
            keys: &[Key {
                name: "decoders",
                value: "integer",
                unit: "threads",
                range: "1 to 16",
                default: Some("half of the cores"),
                doc: "Threads that decode pictures beside the chain.",
            }],
            ..kind(
                "picture-sink",
                Role::Delivers,
                [Port::CODED, Port::NOTHING],
                "bits to pictures, lost parts concealed",
                picture_sink::make,
            )
        },
        Kind {
            keys: LOCATOR,
            ..kind(
                "echo-locator",
                Role::Locates,
                [Port::complex("one per receive antenna"), Port::NOTHING],
                "the targets' positions from the echo of each frame, with `reference` a tap",
                echo_locator::make,
            )
        },
        kind(
            "discard",
            Role::Discards,
            [SAMPLES, Port::NOTHING],
            "forgets samples: the end of a chain made for a tap or a recording",
            discard::make,
        ),
        Kind {
            keys: &[
                RADIO,
                Key {
                    name: "channels",
                    value: "list of integers",
                    unit: "",
                    range: "receiving channels of the device",
                    default: Some("all of the profile's"),
                    doc: "Channels to receive, a row each.",
                },
            ],
            ..kind(
                "soapy-source",
                Role::Hears,
                [Port::NOTHING, Port::complex("one per channel")],
                "samples of a radio's receiving channels (feature soapy), with `radio` a profile",
                radio,
            )
        },
    ]
}

const LOCATOR: &[Key] = &[
    Key { range: "id of a sensing receiver of the scene", ..RECEIVER },
    Key {
        name: "reference",
        value: "text",
        unit: "",
        range: "a tap of a chain above",
        default: None,
        doc: "The tap that holds the shaped streams.",
    },
    Key {
        name: "moving",
        value: "true or false",
        unit: "",
        range: "true or false",
        default: Some("false"),
        doc: "Whether targets may move: then the Doppler shift within a frame is estimated.",
    },
    Key {
        name: "acceleration_density_m2_s3",
        value: "number",
        unit: "m²/s³ per axis",
        range: "above 0",
        default: Some("1"),
        doc: "Density of the target's acceleration noise for the track.",
    },
    Key {
        name: "coast_s",
        value: "number",
        unit: "s",
        range: "above 0",
        default: Some("2"),
        doc: "Time without a position after which a track ends.",
    },
    Key {
        name: "remove_stationary",
        value: "true or false",
        unit: "",
        range: "true or false",
        default: Some("false"),
        doc: "Whether what stands still is learned and removed.",
    },
    Key {
        name: "learn_frames",
        value: "integer",
        unit: "frames",
        range: "60 or more, with remove_stationary = true",
        default: Some("all"),
        doc: "Frames under the same beams that are learned from.",
    },
    Key {
        name: "coherent_frames",
        value: "integer",
        unit: "frames",
        range: "1 to 256",
        default: Some("1"),
        doc: "Frames that are added up in phase for one position.",
    },
    Key {
        name: "path_rate_max_m_s",
        value: "number",
        unit: "m/s",
        range: "above 0, with coherent_frames above 1 and moving = true",
        default: Some("120"),
        doc: "Fastest growth or shrinking of the path that is searched where frames are added up.",
    },
];

fn recordings() -> Vec<Kind> {
    vec![
        Kind {
            keys: &[Key {
                name: "name",
                value: "text",
                unit: "",
                range: "a file name without a suffix",
                default: None,
                doc: "Name of the pair of files.",
            }],
            ..kind(
                "recorder",
                Role::Records,
                [SAMPLES, SAMPLES],
                "passes samples on, and writes them to the recording as SigMF, `name` the pair of files",
                recorder::make,
            )
        },
        Kind {
            keys: &[Key {
                name: "recording",
                value: "text",
                unit: "",
                range: "a path",
                default: None,
                doc: "The metadata file; beside the recording that is played where it is a bare name.",
            }],
            ..kind(
                "recording-source",
                Role::Replays,
                [Port::NOTHING, Port::complex("one per channel of the recording")],
                "samples of a SigMF recording, with `recording` its metadata file",
                recording_source::make,
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::blocks::{Registry, accepted_keys};

    #[test]
    fn every_key_that_a_block_accepts_is_documented_and_no_other() {
        let registry = Registry::shipped();
        let known = vec![
            ("pulse-shaper", accepted_keys::<pulse_shaper::Keys>()),
            ("frame-receiver", accepted_keys::<frame_receiver::Keys>()),
            ("picture-source", accepted_keys::<picture_source::Keys>()),
            ("data-source", accepted_keys::<data_source::Keys>()),
            ("data-sink", accepted_keys::<data_sink::Keys>()),
            ("picture-sink", accepted_keys::<picture_sink::Keys>()),
            ("echo-locator", accepted_keys::<echo_locator::Keys>()),
            ("recorder", accepted_keys::<recorder::Keys>()),
            ("recording-source", accepted_keys::<recording_source::Keys>()),
        ];
        for (name, accepted) in &known {
            let documented: HashSet<_> = registry.get(name).unwrap().keys.iter().map(|key| key.name).collect();
            assert_eq!(documented, accepted.iter().copied().collect(), "{name}");
        }
        let named: Vec<_> = known.iter().map(|(name, _)| *name).chain(["soapy-sink", "soapy-source"]).collect();
        for kind in registry.kinds().iter().filter(|kind| !named.contains(&kind.name)) {
            assert!(kind.keys.is_empty(), "{}", kind.name);
            let (mut context, _) = Context::alone(crate::scene::Scene::paper());
            let error = registry.make(kind.name, "gain = 1", &mut context).err().unwrap().to_string();
            assert!(error.contains("unknown key `gain`"), "{}: {error}", kind.name);
        }
    }

    #[test]
    fn a_misspelt_kind_is_answered_with_the_nearest_one() {
        let error = Registry::shipped().find("frame-bilder").unwrap_err();
        assert!(error.to_string().contains("`frame-builder`"), "{error}");
    }

    #[test]
    fn a_kind_of_the_caller_takes_the_place_of_one_of_its_name() {
        let own = Kind { summary: "mine", ..Kind::new("discard", discard::make) };
        let registry = Registry::shipped().with(own);
        assert_eq!(registry.kinds().iter().filter(|kind| kind.name == "discard").count(), 1);
        assert_eq!((registry.get("discard").unwrap().summary, registry.role("discard")), ("mine", Some(Role::Other)));
    }
}
