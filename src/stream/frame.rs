//! Frames: planar buffers `[channel][sample]`, one allocation each, made at load and reused for ever.

use num_complex::Complex32;

use super::CodedFrame;

/// What every frame says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Counts the frames of this stream.
    pub sequence: u64,
    /// Time of the first sample, in samples of the stream's clock.
    pub sample_time: u64,
    /// The plan that made this frame.
    pub epoch: u64,
    /// Valid samples per channel, at most the capacity.
    pub valid: usize,
    /// No frame follows.
    pub last: bool,
    /// When its last sample came from the antennas, in nanoseconds of this process's clock ([`now_ns`](super::now_ns)); 0 where
    /// it came from none.
    pub heard_ns: u64,
}

impl Head {
    /// Times of samples are at most this, a little below 2^63, so that times near them have room too. Recordings whose times
    /// are later are refused.
    pub const MOST_TIME: u64 = (1 << 63) - (1 << 32);
}

/// What a frame's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Nothing: the inlet of a source and the outlet of a sink.
    Nothing,
    /// Complex baseband samples or symbols.
    Complex,
    /// Log-likelihood ratios, [`SOFT_SCALE`](crate::modem::constellation::SOFT_SCALE) = 4 units per nat, positive = bit 0.
    Soft,
    /// Bits, one per byte, 0 or 1.
    Bit,
    /// Headers and payload bits of whole frames ([`CodedFrame`]).
    Coded,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Complex => "complex samples",
            Self::Soft => "soft bits",
            Self::Bit => "bits",
            Self::Coded => "coded frames",
        })
    }
}

/// A type that frames can carry.
pub trait Sample: Copy + Default + Send + 'static {
    /// The tag of this type.
    const ITEM: Item;
    /// The typed frame inside, if it is of this type.
    fn of(frame: &AnyFrame) -> Option<&Frame<Self>>;
    /// The typed frame inside, if it is of this type.
    fn of_mut(frame: &mut AnyFrame) -> Option<&mut Frame<Self>>;
    /// A typed frame as one of any item.
    fn wrap(frame: Frame<Self>) -> AnyFrame;
}

/// Channels, samples and item of a frame; what the two ends of a connection must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What a sample is.
    pub item: Item,
    /// Rows.
    pub channels: usize,
    /// Capacity of a row.
    pub samples: usize,
}

impl Shape {
    /// The shape of no data.
    pub const NOTHING: Self = Self { item: Item::Nothing, channels: 0, samples: 0 };

    /// Complex rows.
    pub const fn complex(channels: usize, samples: usize) -> Self {
        Self { item: Item::Complex, channels, samples }
    }

    /// Bit rows.
    pub const fn bits(channels: usize, samples: usize) -> Self {
        Self { item: Item::Bit, channels, samples }
    }

    /// One coded frame in each frame.
    pub const CODED: Self = Self { item: Item::Coded, channels: 1, samples: 1 };
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.item {
            Item::Nothing => write!(f, "nothing"),
            Item::Complex => write!(f, "{} × {} complex", self.channels, self.samples),
            Item::Soft => write!(f, "{} × {} soft bits", self.channels, self.samples),
            Item::Bit => write!(f, "{} × {} bits", self.channels, self.samples),
            Item::Coded => write!(f, "coded frames"),
        }
    }
}

/// A planar frame of `T`.
#[derive(Debug, Clone)]
pub struct Frame<T> {
    /// What the frame says about itself.
    pub head: Head,
    channels: usize,
    capacity: usize,
    data: Box<[T]>,
}

impl<T: Copy + Default> Frame<T> {
    /// An empty frame of `channels` rows with room for `capacity` samples each.
    pub fn new(channels: usize, capacity: usize) -> Self {
        Self {
            head: Head::default(),
            channels,
            capacity,
            data: vec![T::default(); channels * capacity].into_boxed_slice(),
        }
    }

    /// Rows.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Room per row.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The valid samples of one row.
    pub fn row(&self, channel: usize) -> &[T] {
        &self.data[channel * self.capacity..][..self.head.valid]
    }

    /// All rows at full capacity, one after the other.
    pub fn samples(&self) -> &[T] {
        &self.data
    }

    /// One whole row, to be written.
    pub fn row_mut(&mut self, channel: usize) -> &mut [T] {
        &mut self.data[channel * self.capacity..][..self.capacity]
    }

    /// All whole rows, to be written.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        self.data.chunks_exact_mut(self.capacity.max(1))
    }

    /// Takes over head and rows `first..first + self.channels()` of `other`, which has at least these rows and
    /// no more valid samples than fit.
    pub fn copy_rows(&mut self, other: &Self, first: usize) {
        self.head = other.head;
        for channel in 0..self.channels {
            self.row_mut(channel)[..other.head.valid].copy_from_slice(other.row(first + channel));
        }
    }
}

/// A frame of any item: what links carry.
#[derive(Debug, Clone)]
pub enum AnyFrame {
    /// No samples, only a head.
    Nothing(Frame<()>),
    /// Complex samples.
    Complex(Frame<Complex32>),
    /// Soft bits.
    Soft(Frame<i8>),
    /// Bits.
    Bit(Frame<u8>),
    /// Coded frames.
    Coded(Frame<CodedFrame>),
}

impl AnyFrame {
    /// An empty frame of this shape.
    pub fn new(shape: Shape) -> Self {
        let Shape { item, channels, samples } = shape;
        match item {
            Item::Nothing => Self::Nothing(Frame::new(channels, samples)),
            Item::Complex => Self::Complex(Frame::new(channels, samples)),
            Item::Soft => Self::Soft(Frame::new(channels, samples)),
            Item::Bit => Self::Bit(Frame::new(channels, samples)),
            Item::Coded => Self::Coded(Frame::new(channels, samples)),
        }
    }

    /// The head, whatever the item.
    pub fn head(&self) -> &Head {
        match self {
            Self::Nothing(frame) => &frame.head,
            Self::Complex(frame) => &frame.head,
            Self::Soft(frame) => &frame.head,
            Self::Bit(frame) => &frame.head,
            Self::Coded(frame) => &frame.head,
        }
    }

    /// [`Frame::copy_rows`] between frames of the same item; shapes were checked at load.
    pub fn copy_rows(&mut self, other: &Self, first: usize) {
        match (self, other) {
            (Self::Nothing(to), Self::Nothing(from)) => to.copy_rows(from, first),
            (Self::Complex(to), Self::Complex(from)) => to.copy_rows(from, first),
            (Self::Soft(to), Self::Soft(from)) => to.copy_rows(from, first),
            (Self::Bit(to), Self::Bit(from)) => to.copy_rows(from, first),
            (Self::Coded(to), Self::Coded(from)) => to.copy_rows(from, first),
            _ => unreachable!("the two ends of a link have one item, checked at load"),
        }
    }
}

macro_rules! sample {
    ($type:ty, $variant:ident) => {
        impl Sample for $type {
            const ITEM: Item = Item::$variant;

            fn of(frame: &AnyFrame) -> Option<&Frame<Self>> {
                match frame {
                    AnyFrame::$variant(frame) => Some(frame),
                    _ => None,
                }
            }

            fn of_mut(frame: &mut AnyFrame) -> Option<&mut Frame<Self>> {
                match frame {
                    AnyFrame::$variant(frame) => Some(frame),
                    _ => None,
                }
            }

            fn wrap(frame: Frame<Self>) -> AnyFrame {
                AnyFrame::$variant(frame)
            }
        }
    };
}

sample!((), Nothing);
sample!(Complex32, Complex);
sample!(i8, Soft);
sample!(u8, Bit);
sample!(CodedFrame, Coded);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_planar_and_cut_to_the_valid_count() {
        let mut frame = Frame::<u8>::new(2, 4);
        frame.row_mut(1).copy_from_slice(&[1, 2, 3, 4]);
        frame.head.valid = 3;
        assert_eq!((frame.row(0), frame.row(1)), (&[0, 0, 0][..], &[1, 2, 3][..]));
    }

    #[test]
    fn selected_rows_carry_over_with_the_head() {
        let mut wide = Frame::<u8>::new(3, 2);
        wide.row_mut(2).copy_from_slice(&[7, 8]);
        wide.head = Head { sequence: 5, valid: 2, ..Head::default() };
        let mut narrow = Frame::<u8>::new(1, 2);
        narrow.copy_rows(&wide, 2);
        assert_eq!((narrow.row(0), narrow.head.sequence), (&[7, 8][..], 5));
    }
}
