//! What became of the last bursts: drivers tell it late, once for each channel, in any order, or not at all. An event
//! belongs to the burst that its time lies in, so one of the past neither ends the burst that is open nor counts twice.

use std::collections::VecDeque;

/// Bursts that are remembered.
const KEPT: usize = 16;

/// What is known of a burst, in samples of the device's clock.
#[derive(Debug, Clone, Copy)]
struct Burst {
    begin: i64,
    is_open: bool,
    /// Something went wrong in it, and that was counted.
    faulted: bool,
    /// Its end is not acknowledged yet.
    awaited: bool,
}

/// The last bursts, the newest at the back.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    last: VecDeque<Burst>,
    /// A burst in which something went wrong is not acknowledged.
    forgives: bool,
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// Nobody told it before.
    pub(super) is_news: bool,
    /// It is the open burst's.
    pub(super) is_open: bool,
}

impl Bursts {
    /// None yet; whether bursts in which something went wrong may end without a word.
    pub(super) fn new(forgives: bool) -> Self {
        Self { last: VecDeque::with_capacity(KEPT), forgives }
    }

    pub(super) fn open(&mut self, begin: i64) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Burst { begin, is_open: true, faulted: false, awaited: false });
    }

    /// The open burst ends; whether its end will be acknowledged.
    pub(super) fn close(&mut self, awaited: bool) {
        if let Some(burst) = self.last.back_mut() {
            (burst.is_open, burst.awaited) = (false, awaited);
        }
    }

    /// Whether something is known to be wrong with the newest burst.
    pub(super) fn is_faulted(&self) -> bool {
        self.last.back().is_some_and(|burst| burst.faulted)
    }

    /// Something went wrong at a time of the device's, or just now.
    pub(super) fn fault(&mut self, at: Option<i64>) -> Fault {
        let place = at.and_then(|at| self.last.iter().rposition(|burst| burst.begin <= at));
        let place = if at.is_some() { place.unwrap_or(0) } else { self.last.len().saturating_sub(1) };
        // Before the first burst nothing can go wrong: whatever it is, it is told once.
        let Some(burst) = self.last.get_mut(place) else { return Fault { is_news: true, is_open: false } };
        let is_news = !std::mem::replace(&mut burst.faulted, true);
        burst.awaited &= !self.forgives;
        Fault { is_news, is_open: burst.is_open }
    }

    /// A burst's end was acknowledged, and with it those before.
    pub(super) fn acknowledged(&mut self, at: Option<i64>) {
        for burst in &mut self.last {
            if at.is_none_or(|at| burst.begin < at) && !burst.is_open {
                burst.awaited = false;
            }
        }
    }

    /// Whether an end is not acknowledged yet.
    pub(super) fn is_awaited(&self) -> bool {
        self.last.iter().any(|burst| burst.awaited)
    }

    /// Nobody waits any more.
    pub(super) fn give_up(&mut self) {
        self.last.iter_mut().for_each(|burst| burst.awaited = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_and_for_the_burst_that_its_time_lies_in() {
        let mut bursts = Bursts::new(true);
        bursts.open(1000);
        assert_eq!(bursts.fault(Some(1500)), Fault { is_news: true, is_open: true });
        bursts.close(true);
        bursts.open(9000);
        // The other channels' events of the first burst, and its late packets.
        for at in [1500, 1600, 8999] {
            assert_eq!(bursts.fault(Some(at)), Fault { is_news: false, is_open: false });
        }
        assert!(!bursts.is_faulted() && !bursts.is_awaited(), "a broken burst may end without a word");
        assert_eq!(bursts.fault(None), Fault { is_news: true, is_open: true });
    }

    #[test]
    fn an_acknowledgement_is_that_of_the_bursts_before_its_time() {
        let mut bursts = Bursts::new(false);
        for begin in [0, 5000] {
            bursts.open(begin);
            bursts.close(true);
        }
        bursts.acknowledged(Some(4000));
        assert!(bursts.is_awaited());
        bursts.acknowledged(Some(7000));
        assert!(!bursts.is_awaited());
    }
}
