//! Coded pictures in a file: any number of records, each `ISSC` followed by the protected part and the body.

use super::bitstream::{HEADER_BYTES, Header};
use super::encoder::Picture;

/// First bytes of each record.
pub const MAGIC: [u8; 4] = *b"ISSC";

/// Appends a picture.
pub fn write(file: &mut Vec<u8>, picture: &Picture) {
    file.extend(MAGIC);
    file.extend(&picture.protected);
    file.extend(&picture.body);
}

/// The records of a file, as (protected part, body); a cut one comes as far as it goes. Bytes that are no record are
/// skipped, so a damaged picture does not cost those after it.
pub fn records(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = file.get(at..)?.windows(MAGIC.len()).position(|w| w == MAGIC) {
            let begin = at + found + MAGIC.len();
            let rest = &file[begin..];
            if let Some(header) = rest.get(..HEADER_BYTES).and_then(Header::read) {
                let protected = header.protected_bytes().min(rest.len());
                let end = (protected + header.body_bytes).min(rest.len());
                at = begin + end;
                return Some((&rest[..protected], &rest[protected..end]));
            }
            at = begin;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(number: u16) -> Picture {
        let header = Header {
            model: 1,
            bank: 7,
            picture_number: number,
            width: 32,
            height: 16,
            slices: 2,
            lengths_bytes: 3,
            hyper_bytes: 4,
            body_bytes: 9,
        };
        let mut protected = header.write().unwrap().to_vec();
        protected.extend([1; 7]);
        Picture { protected, body: vec![2; 9], header, information_bits: 0 }
    }

    #[test]
    fn records_come_back_and_a_damaged_one_costs_only_itself() {
        let mut file = b"rubbish".to_vec();
        for number in 0..3 {
            write(&mut file, &picture(number));
        }
        let all: Vec<_> = records(&file).collect();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|(p, b)| p.len() == 27 && *b == [2; 9]));
        let second = 7 + 40;
        file[second + 10] ^= 4;
        assert_eq!(records(&file).count(), 2);
        let cut: Vec<_> = records(&file[..file.len() - 5]).collect();
        assert_eq!((cut.len(), cut[1].1.len()), (2, 4));
        assert_eq!(records(b"ISSCISSCISS").count(), 0);
        assert_eq!(records(b"").count(), 0);
    }
}
