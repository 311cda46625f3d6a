//! The blocks: state and one kernel call each, one file each, one entry each in the table of shipped kinds.

mod bits;
mod coded_picture;
mod context;
mod data_sink;
mod data_source;
mod datagram_ends;
mod datagrams;
mod discard;
mod echo_locator;
mod frame_builder;
mod frame_receiver;
mod kind;
mod picture_decoders;
mod picture_sink;
mod picture_source;
mod pulse_shaper;
mod recorder;
mod recording_source;
mod reference_sender;
mod reference_source;
mod shipped;
pub(crate) mod simulated_air;
pub mod snapshots;
mod stationary;
mod superposer;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use image::RgbImage;
use serde::de::DeserializeOwned;
use toml::Table;

use bits::unpack;
pub use context::{ChainContext, Codec, Collected, Context, Run, Sinks, first_plan};
pub use kind::{Description, Key, Kind, Make, Port, Registry, Role};

use crate::coding::BlockCode;
use crate::scene::Point;
use crate::semantic::Picture;
pub(crate) use crate::stream::digest_of_bits;
use crate::stream::{Plan, Stage};
use crate::{Error, Result};

/// Frames that a tap holds: more than can be under way between transmitter and receiver.
const TAP_FRAMES: usize = 64;

/// The transmitter's clock at its first sample: received rows lag it by this much and more.
pub(crate) const FIRST_SAMPLE: u64 = crate::channel::RECEIVE_LAG as u64;

/// Where a source gets its pictures from. Asking never waits.
pub trait PictureFeed: Send + Sync {
    /// Picture `number` of the run as it is to be sent under a plan: `Ready`, `NotYet` (the asking thread is woken later),
    /// or `End` where there are no more.
    fn picture(&self, number: u64, plan: &Plan) -> Feed;
}

/// What a feed has.
pub enum Feed {
    /// The picture in its source model.
    Ready {
        /// Its bits.
        picture: Arc<Picture>,
        /// Its place in the source's list.
        source: usize,
        /// The code of its body's blocks.
        payload: Arc<BlockCode>,
    },
    /// It is being encoded.
    NotYet,
    /// There is none.
    End,
}

/// A picture that came through the air.
#[derive(Debug, Default)]
pub struct ReceivedPicture {
    /// Its number, as the headers say (16 bits, unwrapped).
    pub number: u64,
    /// What it looks like; `None` where not even its header survived.
    pub image: Option<RgbImage>,
    /// Slices that were lost.
    pub lost_slices: usize,
    /// Slices in all.
    pub slices: usize,
    /// Blocks that arrived.
    pub blocks: u64,
    /// Place of the receiver that it came to among the scene's communication receivers.
    pub receiver: u8,
    /// Not looked at: no decoder had time for it.
    pub dropped: bool,
}

/// A change to the simulated world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WorldChange {
    /// Where a target is; it moves on from there.
    Target {
        /// Its place in the scene's list.
        target: usize,
        /// In metres.
        point: Point,
    },
    /// |β_0| of a target.
    Reflection {
        /// Its place in the scene's list.
        target: usize,
        /// |β_0|.
        x: f64,
    },
    /// A number of an impairment.
    Impairment {
        /// Its place in the scene's list.
        impairment: usize,
        /// The number's place among those of its kind.
        number: usize,
        /// What it becomes.
        value: f64,
    },
}

/// Changes to the simulated world and the frames from which they hold.
pub type WorldChanges = ArcSwap<Vec<(u64, WorldChange)>>;

/// What everything that needs a radio says where there can be none.
pub(crate) fn no_radios() -> Error {
    Error::input(if cfg!(feature = "soapy") {
        "no radio outside a system; accepted: a flowgraph that is run by a `System`"
    } else {
        "this program was built without radios; accepted: one built with --features soapy"
    })
}

/// Stands in for the blocks of radios, which live above this folder in the front end.
fn radio(_context: &mut Context, _keys: Table) -> Result<Box<dyn Stage>> {
    Err(no_radios())
}

/// A block's keys as its settings; unknown ones are refused with the nearest known.
pub(crate) fn settings<T: DeserializeOwned>(keys: Table) -> Result<T> {
    let text = toml::to_string(&keys).map_err(|error| Error::input(error.to_string()))?;
    crate::config::from_toml(&text, "keys").map_err(|error| {
        let text = error.to_string();
        // The keys were one line of a flowgraph: a line number here would mislead.
        Error::input(text.split_once(": ").map_or(text.clone(), |(_, what)| what.to_owned()))
    })
}

/// Refuses every key, for a block that has none.
fn no_settings(keys: Table) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {}
    settings(keys).map(|Keys {}| ())
}

/// The names of the keys that settings of this type accept: what their `Deserialize` asks for.
#[cfg(test)]
pub(crate) fn accepted_keys<T: DeserializeOwned>() -> &'static [&'static str] {
    use serde::de::value::Error as Refusal;
    use serde::de::{Deserializer, Error as _, Visitor};

    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Refusal;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
            Err(Refusal::custom("settings are a table"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Refusal> {
            *self.0 = fields;
            Err(Refusal::custom("they were only asked for"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Asked(&mut fields)).is_err());
    fields
}
