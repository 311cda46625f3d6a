//! Where and how urgently a chain's thread runs: cores and a priority in real time, where the machine lets it.

use std::thread;

use crate::{Error, Result};

/// What a thread asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Cores that it may run on; any where absent.
    pub cores: Option<Vec<usize>>,
    /// Priority in real time, 1 to 99; the usual scheduling where absent.
    pub priority: Option<u8>,
}

/// Whether the machine gives a thread what it asks for, tried on a thread that ends at once.
///
/// # Errors
/// Which chain asked for what, and why it is refused.
pub fn check(chain: &str, asked: &Scheduling) -> Result<()> {
    if *asked == Scheduling::default() {
        return Ok(());
    }
    let tried = thread::scope(|scope| scope.spawn(|| asked.take()).join());
    let refused = |what: String| Error::input(format!("chain `{chain}`: {what}"));
    tried.unwrap_or_else(|_| Err("its thread panicked".into())).map_err(refused)
}

impl Scheduling {
    /// Gives the calling thread what is asked for.
    ///
    /// # Errors
    /// What was not given, and what would be.
    #[cfg(target_os = "linux")]
    pub fn take(&self) -> Result<(), String> {
        if let Some(cores) = &self.cores {
            // SAFETY: a set of cores is plain bits, for which all zeros is a value; the macros of libc write inside it as
            // cores are at most 1023. The call reads it and changes the calling thread (0) alone.
            let failed = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                cores.iter().filter(|core| **core < 1024).for_each(|core| libc::CPU_SET(*core, &mut set));
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) != 0
            };
            if failed {
                let error = std::io::Error::last_os_error();
                let there = thread::available_parallelism().map_or(1, usize::from);
                return Err(format!("cores = {cores:?}: {error}; accepted: cores of this machine, which has {there}"));
            }
        }
        if let Some(priority) = self.priority {
            // SAFETY: the structure has the priority alone where others are zero; the call reads it.
            let failed = unsafe {
                let mut parameters: libc::sched_param = std::mem::zeroed();
                parameters.sched_priority = i32::from(priority);
                libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &parameters)
            };
            if failed != 0 {
                let error = std::io::Error::from_raw_os_error(failed);
                return Err(format!(
                    "realtime_priority = {priority}: {error}; accepted: what `issc doctor` calls the realtime priority"
                ));
            }
        }
        Ok(())
    }

    /// Gives the calling thread what is asked for.
    ///
    /// # Errors
    /// Always, where anything is asked for: only Linux is known here.
    #[cfg(not(target_os = "linux"))]
    pub fn take(&self) -> Result<(), String> {
        match self == &Self::default() {
            true => Ok(()),
            false => Err("cores, realtime_priority; accepted: on Linux alone".into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_on_the_cores_that_it_asks_for_and_one_that_is_not_there_is_refused() {
        let on = |cores: Vec<usize>| Scheduling { cores: Some(cores), priority: None };
        check("chain", &on(vec![0])).unwrap();
        let found = thread::spawn(move || {
            on(vec![0]).take().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        assert!(found.join().unwrap().contains("Cpus_allowed_list:\t0\n"));
        let error = check("late", &on(vec![1000])).unwrap_err().to_string();
        assert!(
            error.contains("chain `late`: cores = [1000]") && error.contains("accepted: cores of this machine"),
            "{error}"
        );
    }

    #[test]
    fn a_priority_in_real_time_is_had_or_refused_with_the_reason() {
        let asked = Scheduling { cores: None, priority: Some(10) };
        // SAFETY: asks for the calling thread's policy alone.
        let policy = move || asked.take().map(|()| unsafe { libc::sched_getscheduler(0) });
        match thread::spawn(policy).join().unwrap() {
            Ok(policy) => assert_eq!(policy, libc::SCHED_FIFO),
            Err(error) => {
                assert!(error.contains("realtime_priority = 10: ") && error.contains("issc doctor"), "{error}")
            }
        }
    }
}
