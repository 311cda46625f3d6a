//! Rows of the simulated world on their way to a device that is not the world's own: another one in this process, or in
//! another process.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use num_complex::Complex32;

use super::lock;

/// Samples per row that may wait for a device in lockstep, and for one in real time.
const WAITING: usize = 16_384;
const WAITING_IN_REAL_TIME: usize = 1 << 20;

/// How long the world waits for a device that does not read; after that it goes on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Some rows of the world, in √W, with the world's own count of samples.
pub(super) struct Feed {
    /// Which rows of the world.
    pub(super) rows: Range<usize>,
    /// Whether the world waits for a device that is slow: in lockstep. A world in real time goes on without it.
    waits: bool,
    queue: Mutex<Queue>,
    moved: Condvar,
}

struct Queue {
    rows: Vec<VecDeque<Complex32>>,
    /// The world's sample at the front.
    begin: i64,
    closed: bool,
}

impl Queue {
    fn length(&self) -> usize {
        self.rows.first().map_or(0, VecDeque::len)
    }
}

impl Feed {
    pub(super) fn new(rows: Range<usize>, waits: bool) -> Self {
        let queue = Queue { rows: vec![VecDeque::new(); rows.len()], begin: 0, closed: false };
        Self { rows, waits, queue: Mutex::new(queue), moved: Condvar::new() }
    }

    /// Adds the samples from `tick` on: once there is room where the world waits, else in the place of what nobody has
    /// taken. False: nobody reads, and nobody will.
    pub(super) fn push<'a>(&self, tick: i64, samples: impl Iterator<Item = &'a [Complex32]>) -> bool {
        let mut queue = match self.waits {
            true => {
                let full = |queue: &mut Queue| queue.length() > WAITING && !queue.closed;
                let waited = self.moved.wait_timeout_while(lock(&self.queue), PATIENCE, full);
                let (mut queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                queue.closed |= timeout.timed_out();
                queue
            }
            false => lock(&self.queue),
        };
        if !queue.closed {
            let is_full = queue.length() > WAITING_IN_REAL_TIME;
            // What is in the queue has no gap in it.
            if is_full || tick != queue.begin + queue.length() as i64 {
                queue.rows.iter_mut().for_each(VecDeque::clear);
                queue.begin = tick;
            }
            queue.rows.iter_mut().zip(samples).for_each(|(row, samples)| row.extend(samples));
        }
        self.moved.notify_all();
        !queue.closed
    }

    /// No more will come, or be taken.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.moved.notify_all();
    }

    /// Whether all was taken.
    pub(super) fn is_over(&self) -> bool {
        let queue = lock(&self.queue);
        queue.closed && queue.length() == 0
    }

    /// Waits for samples, no longer than `longest`. True where there are some, or no more will come.
    pub(super) fn wait_for_some(&self, longest: Duration) -> bool {
        self.wait(longest, |queue| queue.length() > 0)
    }

    /// The same for the world's samples below `tick`.
    pub(super) fn wait_until(&self, tick: i64, longest: Duration) -> bool {
        self.wait(longest, |queue| queue.length() > 0 && queue.begin + queue.length() as i64 >= tick)
    }

    fn wait(&self, longest: Duration, there: impl Fn(&Queue) -> bool) -> bool {
        let missing = |queue: &mut Queue| !there(queue) && !queue.closed;
        let waited = self.moved.wait_timeout_while(lock(&self.queue), longest, missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The world's count at the first sample that nobody has taken yet.
    pub(super) fn front(&self) -> i64 {
        lock(&self.queue).begin
    }

    /// Appends up to `count` samples of each row to `to`; the world's count at the first of them.
    pub(super) fn take(&self, count: usize, to: &mut [Vec<Complex32>]) -> i64 {
        let mut queue = lock(&self.queue);
        let (begin, there) = (queue.begin, count.min(queue.length()));
        to.iter_mut().zip(&mut queue.rows).for_each(|(to, row)| to.extend(row.drain(..there)));
        queue.begin += there as i64;
        self.moved.notify_all();
        begin
    }

    /// Writes the samples from `tick` on into `to` and forgets all before; silence where there are none.
    pub(super) fn copy<'a>(&self, tick: i64, to: impl Iterator<Item = &'a mut [Complex32]>) {
        let mut queue = lock(&self.queue);
        let past = (tick - queue.begin).clamp(0, queue.length() as i64) as usize;
        queue.begin += past as i64;
        let (begin, mut taken) = (queue.begin, 0);
        for (row, samples) in queue.rows.iter_mut().zip(to) {
            row.drain(..past);
            let early = usize::try_from(begin - tick).unwrap_or(0).min(samples.len());
            taken = row.len().min(samples.len() - early);
            samples[early..][..taken].iter_mut().zip(row.drain(..taken)).for_each(|(to, sample)| *to = sample);
        }
        queue.begin += taken as i64;
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_the_world_s_count_and_silence_where_there_are_none() {
        let feed = Feed::new(1..3, true);
        let rows = [1.0, 2.0].map(|value| vec![Complex32::from(value); 10]);
        assert!(feed.push(100, rows.iter().map(Vec::as_slice)));
        assert!(feed.wait_until(110, Duration::ZERO) && !feed.wait_until(111, Duration::ZERO));
        let mut heard = [vec![Complex32::default(); 4], vec![Complex32::default(); 4]];
        feed.copy(98, heard.iter_mut().map(Vec::as_mut_slice));
        assert_eq!(heard[1], [0.0, 0.0, 2.0, 2.0].map(Complex32::from));
        feed.copy(108, heard.iter_mut().map(Vec::as_mut_slice));
        assert_eq!(heard[0][..2], [1.0, 1.0].map(Complex32::from));
        // A world that does not wait: what nobody took makes room, and a gap is one.
        let real = Feed::new(1..3, false);
        for step in 0..=WAITING_IN_REAL_TIME as i64 / 10 + 2 {
            assert!(real.push(10 * step, rows.iter().map(Vec::as_slice)));
        }
        assert!(lock(&real.queue).length() < 100);
        assert!(real.push(1 << 40, rows.iter().map(Vec::as_slice)));
        let queue = lock(&real.queue);
        assert_eq!((queue.begin, queue.length()), (1 << 40, 10));
        drop(queue);
        feed.close();
        assert!(feed.is_over() && !feed.push(110, rows.iter().map(Vec::as_slice)));
    }
}
