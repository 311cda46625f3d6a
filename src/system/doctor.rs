//! What makes a radio stumble on this machine, and what mends it. Only looked at, never changed.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What.
    pub check: &'static str,
    /// What it is.
    pub found: String,
    /// What a radio needs.
    pub wanted: &'static str,
    /// The command, or the change, that mends it.
    pub mend: &'static str,
    /// Whether it is as wanted; null where it cannot be told here.
    pub ok: Option<bool>,
}

/// Socket buffers that UHD asks for at 10 GbE.
const BUFFER_BYTES: u64 = 24_862_979;

/// Share of a core that others may take.
const OTHER_LOAD: f64 = 0.2;

/// How late a thread may wake.
const LATE: Duration = Duration::from_millis(2);

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Looks at everything.
pub fn examine() -> Vec<Finding> {
    vec![
        governor(text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        priority(text("/proc/self/limits")),
        buffer("receive buffer", "/proc/sys/net/core/rmem_max", "sudo sysctl -w net.core.rmem_max=24862979"),
        buffer("send buffer", "/proc/sys/net/core/wmem_max", "sudo sysctl -w net.core.wmem_max=24862979"),
        frames(interfaces()),
        usb_memory(text("/sys/module/usbcore/parameters/usbfs_memory_mb")),
        isolated(text("/sys/devices/system/cpu/isolated")),
        load(busy(Duration::from_millis(500)), std::thread::available_parallelism().map_or(1, usize::from)),
        wake_ups(latest_wake_up()),
    ]
}

fn governor(found: Option<String>) -> Finding {
    Finding {
        check: "governor",
        ok: found.as_ref().map(|found| found == "performance"),
        found: found.unwrap_or_else(|| "none to be seen".into()),
        wanted: "performance",
        mend: "sudo cpupower frequency-set -g performance",
    }
}

fn priority(limits: Option<String>) -> Finding {
    let line =
        limits.and_then(|text| text.lines().find(|line| line.starts_with("Max realtime priority")).map(str::to_owned));
    let allowed = line.as_deref().and_then(|line| line.split_whitespace().nth(3)).map(str::to_owned);
    let ok = allowed.as_deref().map(|most| most == "unlimited" || most.parse().is_ok_and(|most: u32| most >= 50));
    Finding {
        check: "realtime priority",
        found: allowed.unwrap_or_else(|| "cannot be told".into()),
        wanted: "50 or more",
        mend: "echo '@usrp - rtprio 99' | sudo tee /etc/security/limits.d/issc.conf, join the group, log in again",
        ok,
    }
}

fn buffer(check: &'static str, path: &str, mend: &'static str) -> Finding {
    let bytes = text(path).and_then(|text| text.parse::<u64>().ok());
    Finding {
        check,
        found: bytes.map_or("cannot be told".into(), |bytes| format!("{bytes} bytes")),
        wanted: "24862979 bytes for radios on Ethernet",
        mend,
        ok: bytes.map(|bytes| bytes >= BUFFER_BYTES),
    }
}

/// Wired interfaces that are up, with their longest frames.
fn interfaces() -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let read = |what: &str| text(&format!("/sys/class/net/{name}/{what}"));
        let is_wired = read("type").as_deref() == Some("1") && read("operstate").as_deref() == Some("up");
        if let Some(mtu) = read("mtu").and_then(|mtu| mtu.parse().ok()).filter(|_| is_wired) {
            found.push((name, mtu));
        }
    }
    found.sort();
    found
}

fn frames(interfaces: Vec<(String, u32)>) -> Finding {
    let listed: Vec<_> = interfaces.iter().map(|(name, mtu)| format!("{name} {mtu}")).collect();
    Finding {
        check: "Ethernet frames",
        ok: (!interfaces.is_empty()).then(|| interfaces.iter().any(|(_, mtu)| *mtu >= 8000)),
        found: if listed.is_empty() { "no wired interface is up".into() } else { listed.join(", ") },
        wanted: "8000 bytes or more towards a radio on 10 GbE",
        mend: "sudo ip link set dev INTERFACE mtu 9000, and the same at the radio",
    }
}

fn usb_memory(found: Option<String>) -> Finding {
    let megabytes = found.and_then(|text| text.parse::<u32>().ok());
    Finding {
        check: "USB memory",
        found: megabytes.map_or("no USB to be seen".into(), |megabytes| format!("{megabytes} MB")),
        wanted: "256 MB or more for radios on USB",
        mend: "echo 256 | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb",
        // Zero means no limit.
        ok: megabytes.map(|megabytes| megabytes == 0 || megabytes >= 256),
    }
}

fn isolated(found: Option<String>) -> Finding {
    Finding {
        check: "isolated cores",
        found: found.filter(|cores| !cores.is_empty()).unwrap_or_else(|| "none".into()),
        wanted: "not needed below some 20 MS/s",
        mend: "isolcpus= at the kernel's command line",
        ok: None,
    }
}

/// Cores that all processes but this one keep busy over a time, and who takes most.
fn busy(time: Duration) -> Option<(f64, Option<(String, f64)>)> {
    let before = (Instant::now(), processes());
    std::thread::sleep(time);
    let after = processes();
    let ticks = before.0.elapsed().as_secs_f64() * 100.0;
    let mut shares: Vec<(String, f64)> = after
        .into_iter()
        .filter(|(id, ..)| *id != std::process::id())
        .filter_map(|(id, name, now)| {
            let (_, _, then) = before.1.iter().find(|(other, ..)| *other == id)?;
            Some((name, now.saturating_sub(*then) as f64 / ticks))
        })
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let sum = shares.iter().map(|(_, share)| share).sum();
    (!before.1.is_empty()).then(|| (sum, shares.into_iter().next()))
}

/// Every process: its number, its name and the hundredths of a second that it has had.
fn processes() -> Vec<(u32, String, u64)> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|id| {
            let stat = text(&format!("/proc/{id}/stat"))?;
            let (front, back) = stat.rsplit_once(") ")?;
            let name = front.split_once('(')?.1.to_owned();
            let mut times = back.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
            Some((id, name, times.next()? + times.next()?))
        })
        .collect()
}

fn load(busy: Option<(f64, Option<(String, f64)>)>, cores: usize) -> Finding {
    let found = match &busy {
        Some((sum, Some((name, most)))) if *sum >= 0.01 => {
            format!("{sum:.2} of {cores} cores taken by others, {most:.2} by `{name}`")
        }
        Some((sum, _)) => format!("{sum:.2} of {cores} cores taken by others"),
        None => "cannot be told".into(),
    };
    Finding {
        check: "other load",
        found,
        wanted: "0.2 cores or less",
        mend: "stop what runs beside the radio, or give it other cores (taskset)",
        ok: busy.map(|(sum, _)| sum <= OTHER_LOAD),
    }
}

/// How late this thread woke at most, over a tenth of a second.
fn latest_wake_up() -> Duration {
    const NAP: Duration = Duration::from_millis(1);
    let late = |_| {
        let since = Instant::now();
        std::thread::sleep(NAP);
        since.elapsed().saturating_sub(NAP)
    };
    (0..100).map(late).max().unwrap_or_default()
}

fn wake_ups(latest: Duration) -> Finding {
    Finding {
        check: "wake-ups",
        found: format!("up to {:.2} ms late", latest.as_secs_f64() * 1e3),
        wanted: "2 ms at most",
        mend: "less load, the performance governor, or a tx.lead_ms that is longer than this",
        ok: Some(latest <= LATE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_held_against_what_is_wanted() {
        assert_eq!(governor(Some("powersave".into())).ok, Some(false));
        assert_eq!(governor(None).ok, None);
        let limits = "Limit  Soft  Hard  Units\nMax realtime priority     0                    0\n";
        assert_eq!((priority(Some(limits.into())).ok, &*priority(Some(limits.into())).found), (Some(false), "0"));
        assert_eq!(priority(Some(limits.replace('0', "99"))).ok, Some(true));
        assert_eq!(frames(vec![("eth0".into(), 1500), ("eth1".into(), 9000)]).ok, Some(true));
        assert_eq!(usb_memory(Some("16".into())).ok, Some(false));
        let busy = load(Some((1.2, Some(("train".into(), 0.9)))), 2);
        assert_eq!(busy.ok, Some(false));
        assert!(busy.found.contains("`train`"), "{}", busy.found);
    }

    #[test]
    fn a_process_that_keeps_a_core_busy_is_seen() {
        assert!(processes().iter().any(|(id, _, ticks)| *id == std::process::id() && *ticks < 1_000_000));
        let all = examine();
        assert!(all.len() >= 8 && all.iter().all(|finding| !finding.mend.is_empty() && !finding.found.is_empty()));
    }
}
