//! Work that is in independent pieces, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::{Error, Result};

/// `work` of each index below `count`, in their order; the cores take the next index as they come free, each with a workspace
/// of its own from `space`. Results must not depend on which core did what. After a failure no new piece is begun.
///
/// # Errors
/// The failure of the lowest index that has one.
pub(super) fn in_parallel<S, T: Send>(
    count: usize,
    space: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut space = space();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(result) = results.get(index) else { break };
            let found = work(&mut space, index);
            if found.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(count).max(1);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
    let results = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    // What is missing was not begun because something failed.
    let done: Vec<T> = results.flatten().collect::<Result<_>>()?;
    if done.len() == count { Ok(done) } else { Err(Error::internal("a piece of the work was not done")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_each_worker_keeps_its_space() {
        let found = in_parallel(100, Vec::new, |seen, index| {
            seen.push(index);
            assert!(seen.is_sorted());
            Ok(index * index)
        });
        assert_eq!(found.unwrap(), (0..100).map(|index| index * index).collect::<Vec<_>>());
        assert!(in_parallel(0, || (), |(), _| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn the_first_failure_is_told_and_nothing_is_begun_after_it() {
        let begun = AtomicUsize::new(0);
        let found = in_parallel(
            10_000,
            || (),
            |(), index| {
                begun.fetch_add(1, Ordering::Relaxed);
                if index == 3 { Err(Error::input("the third")) } else { Ok(()) }
            },
        );
        assert_eq!(found.unwrap_err().to_string(), "the third");
        assert!(begun.into_inner() < 10_000);
    }
}
