//! A list that does not grow with a run: its first and its last entries, and how many there were.

use std::collections::VecDeque;

/// Entries kept at either end.
pub const KEPT: usize = 1000;

/// The first and the last thousand of the entries pushed.
#[derive(Debug, Clone)]
pub struct FirstLast<T> {
    first: Vec<T>,
    last: VecDeque<T>,
    total: u64,
}

impl<T> Default for FirstLast<T> {
    fn default() -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), total: 0 }
    }
}

impl<T> FirstLast<T> {
    /// Adds an entry; one in the middle makes room.
    pub fn push(&mut self, entry: T) {
        self.total += 1;
        if self.first.len() < KEPT {
            return self.first.push(entry);
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(entry);
    }

    /// Entries pushed so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The entries kept, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.last)
    }

    /// The entry kept that was pushed last.
    pub fn last(&self) -> Option<&T> {
        self.last.back().or(self.first.last())
    }

    /// The entries kept, in their order.
    pub fn into_vec(mut self) -> Vec<T> {
        self.first.extend(self.last);
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_are_kept_whole_and_long_ones_at_both_ends() {
        let mut list = FirstLast::default();
        (0..1500).for_each(|entry| list.push(entry));
        assert_eq!(list.clone().into_vec(), (0..1500).collect::<Vec<_>>());
        (1500..5000).for_each(|entry| list.push(entry));
        assert_eq!((list.total(), list.last()), (5000, Some(&4999)));
        let expected: Vec<_> = (0..1000).chain(4000..5000).collect();
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(list.into_vec(), expected);
    }
}
