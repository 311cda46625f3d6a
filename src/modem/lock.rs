//! From header words to headers: what a receiver believes of the stream it is locked to, and how it comes to believe it.
//!
//! The first word after a search is taken as it is, and all that follow must agree with it: numbers go up by one, pages say
//! what they said. A word that does not is dropped and counted; only where the next one agrees with that one, and not with
//! what was believed, the lock begins anew there. Until every page has come frames wait, and are then read with what the
//! pages say: nothing is lost at the beginning of a stream, nor where the formats of blocks change.

use super::frame::BLOCKS;
use super::header::{FrameHeader, MOST_BODY_BITS, MOST_PROTECTED_BITS, VERSION, unwrap_count};
use super::word::{COUNT_BITS, Foreknown, Formats, HeaderWord, NUMBER_BITS, PAGES, PICTURE_BITS};
use crate::coding::{BLOCK_CRC, planned_format};

/// Local numbers begin here: a multiple of 64, and room before it.
const FIRST: u64 = 1 << 40;

/// Bits of a frame number that word and page have together.
const COUNTED_BITS: u32 = NUMBER_BITS + 24;

/// Most frames in a row that may be missing in a picture whose place is still known: four blocks each, counted by 6 bits.
const MOST_MISSING: u64 = 15;

/// Pages 0 and 2 of formats that are on their way.
#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    formats: u8,
    pages: [Option<u32>; 2],
}

/// How far the picture under way is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    picture: u16,
    /// Its blocks so far.
    blocks: u64,
    protected_offset: usize,
    body_offset: usize,
    /// Whether the offsets are right.
    placed: bool,
    /// Number of the frame after the last one.
    next: u64,
    /// Bits of a body block in that one, and which formats were in force.
    body_bits: usize,
    formats: u8,
}

/// What is believed of the stream.
#[derive(Debug, Clone, Default)]
pub struct Lock {
    /// Number of the next frame, in a count of the receiver's own whose low bits are the transmitter's.
    next: Option<u64>,
    /// What the transmitter's count is above the receiver's own, modulo 2⁶⁴.
    above: Option<u64>,
    /// Pages 1 and 3 as they came last; and those of the newest formats.
    pages: [Option<u32>; PAGES],
    gathered: Gathered,
    /// The two newest formats, the newest first.
    formats: [Option<(u8, Formats)>; 2],
    /// Number of the picture under way when page 3 came last.
    picture: Option<u16>,
    /// The last contradiction: the next word agrees with it if it was right.
    rival: Option<HeaderWord>,
    /// Whether the last word agreed with the one before it, which had contradicted what was believed.
    followed: bool,
    progress: Option<Progress>,
    /// Whether there was data in the frames lately read: then page 3 says something else each time.
    data_flows: bool,
    /// Data blocks sent before the frame that page 3 came with last.
    data_sequence: u16,
    /// The last number believed, through searches too: counts go on above what a page reaches.
    last_number: u64,
    last_picture: u16,
    /// Words that contradicted what was believed.
    pub contradictions: u64,
}

impl Lock {
    /// What is known of the next frame's word.
    pub fn foreknown(&self) -> Option<Foreknown> {
        let next = self.next?;
        let number = (next & 0x3f) as u8;
        let page = match usize::from(number) % PAGES {
            1 => self.above.map(|above| page_of_number(next.wrapping_add(above))),
            page => self.pages[page],
        };
        Some(Foreknown { number, page })
    }

    /// Number of the next frame in the receiver's own count.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Frames have gone by unread.
    pub fn skip(&mut self, frames: u64) {
        self.next = self.next.map(|next| next + frames);
        if self.data_flows {
            self.pages[3] = None;
        }
        // Pictures may have, more than a word can count.
        self.picture = self.picture.filter(|_| frames < 10);
    }

    /// The stream is lost: counts begin anew, from where they were.
    pub fn lose(&mut self) {
        *self = Self {
            progress: self.progress,
            last_number: self.last_number,
            last_picture: self.last_picture,
            contradictions: self.contradictions,
            ..Self::default()
        };
    }

    /// Takes in a frame's word, after `missed` frames in a row without one; the frame's number in the receiver's own count, or
    /// nothing where the word contradicts what is believed.
    pub fn take(&mut self, word: &HeaderWord, missed: u32) -> Option<u64> {
        self.followed = false;
        let local = match self.next {
            None => FIRST + u64::from(word.number),
            Some(next) => self.agree(word, next, missed)?,
        };
        self.rival = None;
        self.next = Some(local + 1);
        self.learn(word, local);
        Some(local)
    }

    /// The number of a word that agrees with what is believed, or with the word before it, against it.
    fn agree(&mut self, word: &HeaderWord, next: u64, missed: u32) -> Option<u64> {
        let local = unwrap_count(u64::from(word.number), NUMBER_BITS, next);
        let page = self.says_the_same(word, local);
        // Samples may be missing: then frames have gone by that nobody counted.
        if local == next && page != Some(false) || missed > 0 && local > next && page == Some(true) {
            return Some(local);
        }
        self.contradictions += 1;
        match self.rival.replace(*word) {
            Some(rival) if (rival.number + 1) & 0x3f == word.number => {
                // Number 63 comes before 64: room for the rival's own.
                let local = FIRST + 64 + u64::from(word.number);
                self.lose();
                self.followed = true;
                self.learn(&rival, local - 1);
                Some(local)
            }
            _ => None,
        }
    }

    /// Whether the last word agreed with the one before it, which had been refused: that one's frame is right as well.
    pub fn has_followed_a_rival(&self) -> bool {
        self.followed
    }

    /// Whether a word's page says what is believed; nothing where that is not known, or may have changed.
    fn says_the_same(&self, word: &HeaderWord, local: u64) -> Option<bool> {
        match word.page_number() {
            1 => self.above.map(|above| page_of_number(local.wrapping_add(above)) == word.page),
            // A new picture, or data, change it.
            3 => self.pages[3].filter(|page| *page == word.page).map(|_| true),
            page if word.formats == self.gathered.formats => self.pages[page].map(|page| page == word.page),
            _ => None,
        }
    }

    fn learn(&mut self, word: &HeaderWord, local: u64) {
        self.read_page(word, local);
        // What page 3 is going to say: data blocks sent before are counted there.
        if word.kinds.data > 0 {
            self.data_flows = true;
            self.pages[3] = self.pages[3].map(|page| page & !0xfff | (page + u32::from(word.kinds.data)) & 0xfff);
        }
    }

    fn read_page(&mut self, word: &HeaderWord, local: u64) {
        if word.formats != self.gathered.formats {
            self.gathered = Gathered { formats: word.formats, ..Gathered::default() };
            (self.pages[0], self.pages[2]) = (None, None);
        }
        let page = word.page_number();
        self.pages[page] = Some(word.page);
        match page {
            1 if self.above.is_none() => {
                let counted = u64::from(word.page) << NUMBER_BITS | u64::from(word.number);
                let number = unwrap_count(counted, COUNTED_BITS, self.last_number);
                self.above = Some(number.wrapping_sub(local));
            }
            1 => {}
            3 => {
                self.data_sequence = word.page as u16 & 0xfff;
                self.picture = Some((word.page >> 12 << PICTURE_BITS) as u16 | u16::from(word.picture));
            }
            _ => {
                self.gathered.pages[page / 2] = Some(word.page);
                self.learn_formats();
            }
        }
    }

    fn learn_formats(&mut self) {
        let [Some(sizes), Some(rest)] = self.gathered.pages else { return };
        if self.formats[0].is_none_or(|(known, _)| known != self.gathered.formats)
            && let Some(formats) = Formats::of_pages([sizes, rest])
        {
            self.formats = [Some((self.gathered.formats, formats)), self.formats[0]];
        }
    }

    fn formats(&self, which: u8) -> Option<Formats> {
        self.formats.iter().flatten().find(|(known, _)| *known == which).map(|(_, formats)| *formats)
    }

    /// The formats of which only the sizes are known, if they are planned ones.
    fn planned_formats(&self, which: u8) -> Option<Formats> {
        let sizes = self.gathered.pages[0].filter(|_| self.gathered.formats == which)?;
        let formats = Formats::of_pages([sizes, u32::from(VERSION) << 14])?;
        let [payload, protected] = formats.bits.map(|bits| planned_format(bits.into()));
        Some(Formats {
            modulations: [payload, protected].map(|format| format.modulation.index() as u8),
            shaped: [payload.shaped, protected.shaped],
            ..formats
        })
    }

    /// Whether a frame's formats will never be known: others came before their pages had.
    pub fn is_hopeless(&self, word: &HeaderWord) -> bool {
        word.formats != self.gathered.formats && self.formats(word.formats).is_none()
    }

    /// The header of a frame that is next in the receiver's order, by its word and its number in the receiver's own count.
    /// Nothing while pages are missing; at the stream's `end` what is missing is taken to be nearest to what was.
    pub fn header(&mut self, word: &HeaderWord, local: u64, end: bool) -> Option<FrameHeader> {
        let near = || end.then(|| unwrap_count(u64::from(word.number), NUMBER_BITS, self.last_number));
        let number = self.above.map(|above| local.wrapping_add(above)).or_else(near)?;
        let planned = || if end { self.planned_formats(word.formats) } else { None };
        let formats = self.formats(word.formats).or_else(planned)?;
        let picture = match (self.progress, self.picture) {
            // Since page 3 came there were few pictures, forward or back.
            (_, Some(picture)) => nearest(word.picture, picture),
            _ if end => nearest(word.picture, self.last_picture),
            _ => return None,
        };
        let [payload_bits, protected_bits] = formats.bits;
        let kinds = word.kinds;
        let mut header = FrameHeader {
            version: VERSION,
            last_of_picture: word.last,
            number,
            picture,
            formats: word.formats,
            formats_since: formats.since,
            payload_bits,
            payload_modulation: formats.modulations[0],
            payload_shaped: formats.shaped[0],
            protected_bits,
            protected_modulation: formats.modulations[1],
            protected_shaped: formats.shaped[1],
            protected_blocks: kinds.protected,
            used_blocks: kinds.protected + kinds.body,
            data_blocks: kinds.data,
            data_sequence: self.data_sequence,
            ..FrameHeader::default()
        };
        self.place(&mut header, word, &formats);
        (self.last_number, self.last_picture) = (number, picture);
        self.picture = self.picture.map(|_| picture);
        Some(header)
    }

    /// Says where the frame's bits stand in their picture, and goes on behind them.
    fn place(&mut self, header: &mut FrameHeader, word: &HeaderWord, formats: &Formats) {
        let [body_bits, protected_bits] = formats.bits.map(|bits| usize::from(bits).saturating_sub(BLOCK_CRC.bits()));
        let new = Progress {
            picture: header.picture,
            blocks: u64::from(word.count),
            protected_offset: 0,
            body_offset: 0,
            placed: word.kinds.begins,
            next: header.number,
            body_bits,
            formats: word.formats,
        };
        let mut at = match self.progress {
            _ if word.kinds.begins => Progress { blocks: 0, ..new },
            Some(before) if before.picture == header.picture && before.placed => {
                self.follow(before, header.number, word, formats, body_bits).unwrap_or(new)
            }
            _ => new,
        };
        header.placed = at.placed;
        header.picture_blocks = at.blocks as u16;
        header.protected_offset = at.protected_offset as u32;
        header.body_offset = at.body_offset as u32;
        at.protected_offset += usize::from(word.kinds.protected) * protected_bits;
        at.body_offset += usize::from(word.kinds.body) * body_bits;
        at.blocks += u64::from(word.kinds.protected + word.kinds.body);
        at.placed &= at.protected_offset < MOST_PROTECTED_BITS && at.body_offset < MOST_BODY_BITS;
        (at.next, at.body_bits, at.formats) = (header.number + 1, body_bits, word.formats);
        self.progress = Some(at);
    }

    /// How far the picture is at this frame: missing ones were full of its body, if the count of blocks says so.
    fn follow(
        &self,
        before: Progress,
        number: u64,
        word: &HeaderWord,
        formats: &Formats,
        body_bits: usize,
    ) -> Option<Progress> {
        let missing = number.checked_sub(before.next).filter(|missing| *missing <= MOST_MISSING)?;
        let in_body = missing == 0 || before.body_offset > 0 && word.kinds.protected == 0;
        let blocks = before.blocks + missing * BLOCKS as u64;
        let counts = blocks & ((1 << COUNT_BITS) - 1) == u64::from(word.count);
        // Formats may have changed in a frame that is missing, but only once.
        let changes = word.formats.wrapping_sub(before.formats) & 7;
        let in_body = in_body && (missing == 0 || changes <= 1);
        let since = number - (number.wrapping_sub(u64::from(formats.since)) & 0x3f).min(number);
        let with_new = number.saturating_sub(since.max(before.next)).min(missing);
        let bits = (missing - with_new) as usize * before.body_bits + with_new as usize * body_bits;
        let offset = before.body_offset + BLOCKS * bits;
        (in_body && counts).then_some(Progress { blocks, body_offset: offset, ..before })
    }
}

/// What page 1 says of a frame number.
fn page_of_number(number: u64) -> u32 {
    (number >> NUMBER_BITS) as u32 & 0xff_ffff
}

/// The picture number with these low bits nearest to another one, rather above than below.
fn nearest(low: u8, near: u16) -> u16 {
    let ahead = (u16::from(low).wrapping_sub(near)) & 0xf;
    if ahead < 11 { near.wrapping_add(ahead) } else { near.wrapping_sub(16 - ahead) }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
