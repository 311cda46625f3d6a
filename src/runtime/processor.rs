//! Processor time, which says what work costs whatever else the machine does.

use std::time::Duration;

/// Processor time of the calling thread since it began; zero where the system does not say.
pub fn time_of_thread() -> Duration {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of all threads of this process since it began; zero where the system does not say.
pub fn time_of_process() -> Duration {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lives until it returns.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    if failed {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let before = [time_of_thread(), time_of_process()];
        std::thread::sleep(Duration::from_millis(50));
        let slept = time_of_thread() - before[0];
        let since = Instant::now();
        let mut sum = 0u64;
        while since.elapsed() < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
        }
        assert!(slept < Duration::from_millis(25), "{slept:?}");
        assert!(time_of_thread() > before[0] + slept && time_of_process() > before[1]);
    }
}
