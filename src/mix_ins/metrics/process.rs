//! The numbers of the process, under the names that Prometheus' client libraries use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Encodes the numbers of the process. A number that the system does not have is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = system::numbers();
        let mut gauge = |name, help, unit, value: Option<f64>| match value {
            Some(value) => encoder
                .encode_descriptor(name, help, unit, MetricType::Gauge)?
                .encode_gauge(&value),
            None => Ok(()),
        };
        let seconds = Some(&Unit::Seconds);
        gauge(
            "process_open_fds",
            "Open descriptors",
            None,
            numbers.open_fds,
        )?;
        gauge(
            "process_max_fds",
            "The most descriptors that may be open",
            None,
            numbers.max_fds,
        )?;
        gauge(
            "process_resident_memory",
            "Memory of the process that is not swapped out",
            Some(&Unit::Bytes),
            numbers.resident_memory,
        )?;
        gauge(
            "process_start_time",
            "When the process was started, since the beginning of 1970",
            seconds,
            numbers.start_time,
        )?;
        if let Some(cpu) = numbers.cpu {
            let help = "The time that the process has used its processors";
            encoder
                .encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&cpu, None)?;
        }
        Ok(())
    }
}

/// The numbers of this process.
#[derive(Debug, Default)]
struct ProcessNumbers {
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    /// The resident memory in bytes.
    resident_memory: Option<f64>,
    /// The time of the start in seconds since the beginning of 1970.
    start_time: Option<f64>,
    /// The time on processors in seconds.
    cpu: Option<f64>,
}

/// The numbers as proc(5) has them.
#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use nix::sys::resource::{Resource, getrlimit};
    use nix::unistd::{SysconfVar, sysconf};

    use super::ProcessNumbers;

    pub(super) fn numbers() -> ProcessNumbers {
        let times = Times::read();
        ProcessNumbers {
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|it| it.0 as f64),
            resident_memory: resident_memory(),
            start_time: times.as_ref().and_then(Times::start),
            cpu: times.as_ref().and_then(Times::cpu),
        }
    }

    fn open_fds() -> Option<f64> {
        let entries = fs::read_dir("/proc/self/fd").ok()?;
        // The descriptor of the directory itself is one of its entries.
        Some(entries.count().saturating_sub(1) as f64)
    }

    fn resident_memory() -> Option<f64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        let kibibytes = line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()?;
        Some(kibibytes * 1024.0)
    }

    /// The times of proc_pid_stat(5), in ticks of the clock.
    pub(super) struct Times {
        user: u64,
        system: u64,
        /// The time from the boot to the start.
        start: u64,
        ticks_of_second: f64,
    }

    impl Times {
        fn read() -> Option<Self> {
            let ticks = sysconf(SysconfVar::CLK_TCK).ok()??;
            Self::parse(&fs::read_to_string("/proc/self/stat").ok()?, ticks as f64)
        }

        pub(super) fn parse(stat: &str, ticks_of_second: f64) -> Option<Self> {
            // The name of the program, in parentheses, may have spaces and parentheses itself.
            let (_, fields) = stat.rsplit_once(')')?;
            let fields = Vec::from_iter(fields.split_whitespace());
            // The first of these fields is the third of the manual page.
            let field = |number: usize| fields.get(number - 3)?.parse().ok();
            Some(Self {
                user: field(14)?,
                system: field(15)?,
                start: field(22)?,
                ticks_of_second,
            })
        }

        pub(super) fn cpu(&self) -> Option<f64> {
            Some((self.user + self.system) as f64 / self.ticks_of_second)
        }

        fn start(&self) -> Option<f64> {
            let stat = fs::read_to_string("/proc/stat").ok()?;
            let boot = stat.lines().find_map(|it| it.strip_prefix("btime "))?;
            let boot = boot.trim().parse::<f64>().ok()?;
            Some(boot + self.start as f64 / self.ticks_of_second)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::ProcessNumbers;

    pub(super) fn numbers() -> ProcessNumbers {
        ProcessNumbers::default()
    }
}

#[cfg(all(test, not(loom), target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_numbers_of_this_process_are_those_of_the_system() {
        let before = system::numbers();
        let _files = [(); 50].map(|()| File::open("/dev/null").unwrap());
        let now = system::numbers();
        // Other tests open and close descriptors meanwhile.
        assert!(now.open_fds.unwrap() > before.open_fds.unwrap());
        assert!(now.max_fds.unwrap() >= now.open_fds.unwrap());
        assert!(now.resident_memory.unwrap() > 1e6);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = seconds.as_secs_f64() - now.start_time.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(now.cpu.unwrap() >= 0.0);
    }

    #[test]
    fn the_name_of_a_program_may_look_like_fields() {
        let stat = "7 (a ) 1 (b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 777 0 0";
        let times = system::Times::parse(stat, 100.0).unwrap();
        assert_eq!(times.cpu(), Some(2.0));
        assert!(system::Times::parse("7 (a", 100.0).is_none());
    }
}
