//! The service manager that has started the program, such as systemd: sd_notify(3).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use socketserver::ServersHandle;

/// How often the manager is sent the number of requests that are left, while the program stops.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// How long the end of the program waits until the manager has taken the last messages.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// More messages than a manager leaves unread. Further messages are lost.
const QUEUE: usize = 64;

/// The service manager, if the program has one (`NOTIFY_SOCKET`). A clone is the same manager.
///
/// A thread sends the messages, so that no other thread waits for a manager that does not read.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    messages: SyncSender<Message>,
    /// The longest time between two signs of life, if the manager watches the program.
    watchdog: Option<Duration>,
    /// The last pass of each loop.
    pulses: Mutex<Vec<Arc<AtomicU64>>>,
    begun: Instant,
}

enum Message {
    State(String),
    /// The program stops: further states have the number of requests of these servers.
    Stopping(ServersHandle),
    /// Another process is the service from now on: this program sends nothing after this message.
    SucceededBy(u32),
    /// Confirms that every earlier message was sent.
    End(SyncSender<()>),
}

/// The sign of life of one loop, which a watched loop gives at each pass.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Option<(Arc<AtomicU64>, Instant)>);

impl ServiceManager {
    /// The manager of this program.
    ///
    /// # Errors
    ///
    /// If the system has no thread for the messages.
    pub fn connect() -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Ok(Self(None));
        }
        let (messages, receiver) = mpsc::sync_channel(QUEUE);
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        let link = Arc::new(Link {
            messages,
            watchdog,
            pulses: Mutex::default(),
            begun: Instant::now(),
        });
        // Weak: the thread ends with the last user of the manager.
        let watched = Arc::downgrade(&link);
        let is_alive = move |since| watched.upgrade().is_some_and(|link| link.is_alive(since));
        let thread = thread::Builder::new().name("service manager".to_owned());
        thread.spawn(move || send(&receiver, watchdog, is_alive))?;
        Ok(Self(Some(link)))
    }

    /// How long a loop may be idle, if the manager watches the program: a quarter of its time.
    pub fn service_interval(&self) -> Option<Duration> {
        let link = self.0.as_ref()?;
        link.watchdog.map(|time| time / 4)
    }

    /// The pulse of a further loop.
    pub fn pulse(&self) -> Pulse {
        let Some(link) = self.0.as_ref().filter(|link| link.watchdog.is_some()) else {
            return Pulse(None);
        };
        let pulse = Arc::new(AtomicU64::new(link.now()));
        let mut pulses = link.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.push(pulse.clone());
        Pulse(Some((pulse, link.begun)))
    }

    /// Every address is served.
    pub fn ready(&self) {
        let process = std::process::id();
        self.state(&[
            NotifyState::Ready,
            NotifyState::MainPid(process),
            NotifyState::Status("serving"),
        ]);
    }

    /// Files are being loaded again. [`reloaded`](Self::reloaded) ends that.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.state(&[NotifyState::Reloading, now]),
            Err(_) => self.state(&[NotifyState::Reloading]),
        }
    }

    pub fn reloaded(&self, status: &str) {
        self.state(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The servers stop. From now on the status has the number of requests that are left.
    pub fn stopping(&self, servers: ServersHandle) {
        self.send(Message::Stopping(servers));
    }

    /// The service continues in another process. This process sends nothing any more.
    pub fn succeeded_by(&self, process: u32) {
        self.send(Message::SucceededBy(process));
    }

    /// Waits until the manager has every message, for a bounded time.
    pub fn finish(&self) {
        let (end, ended) = mpsc::sync_channel(1);
        self.send(Message::End(end));
        let _ = ended.recv_timeout(LAST_MESSAGES);
    }

    fn state(&self, states: &[NotifyState<'_>]) {
        self.send(Message::State(text(states)));
    }

    fn send(&self, message: Message) {
        if let Some(link) = &self.0 {
            // A manager that does not read loses messages.
            let _ = link.messages.try_send(message);
        }
    }
}

impl Pulse {
    /// Shows that the loop runs.
    pub fn beat(&self) {
        if let Some((pulse, begun)) = &self.0 {
            // Relaxed: the number orders nothing.
            pulse.store(millis(begun.elapsed()), Relaxed);
        }
    }
}

impl Link {
    fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    /// Whether each loop has made a pass within this time.
    fn is_alive(&self, within: Duration) -> bool {
        let since = self.now().saturating_sub(millis(within));
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.iter().all(|pulse| pulse.load(Relaxed) >= since)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn text(states: &[NotifyState<'_>]) -> String {
    Vec::from_iter(states.iter().map(ToString::to_string)).join("\n")
}

/// Sends what comes, and a sign of life twice in the time of the watchdog, if every loop is alive.
///
/// A program that stops has no loops any more, and its requests end within the drain timeout.
fn send(
    messages: &Receiver<Message>,
    watchdog: Option<Duration>,
    is_alive: impl Fn(Duration) -> bool,
) {
    let mut stopping: Option<ServersHandle> = None;
    let mut is_succeeded = false;
    let mut next_sign = watchdog.map(|_| Instant::now());
    loop {
        let next_status = stopping.as_ref().map(|_| Instant::now() + STATUS_EVERY);
        let until = [next_sign, next_status].into_iter().flatten().min();
        let received = match until {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => messages.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(Message::State(_) | Message::Stopping(_)) if is_succeeded => {}
            Ok(Message::SucceededBy(process)) => {
                notify(&[NotifyState::MainPid(process)]);
                is_succeeded = true;
                next_sign = None;
            }
            Ok(Message::State(text)) => notify(&[NotifyState::Custom(&text)]),
            Ok(Message::Stopping(_)) if stopping.is_some() => {}
            Ok(Message::Stopping(servers)) => {
                notify(&[NotifyState::Stopping, NotifyState::Status(&left(&servers))]);
                stopping = Some(servers);
            }
            Ok(Message::End(end)) => drop(end.try_send(())),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(servers) = &stopping {
                    notify(&[NotifyState::Status(&left(servers))]);
                }
            }
        }
        if let (Some(sign), Some(time)) = (next_sign, watchdog)
            && sign <= Instant::now()
        {
            if stopping.is_some() || is_alive(time / 2) {
                notify(&[NotifyState::Watchdog]);
            }
            next_sign = Some(Instant::now() + time / 2);
        }
    }
}

fn left(servers: &ServersHandle) -> String {
    let each = servers.each().iter();
    let requests: usize = each.map(|server| server.active_request_count()).sum();
    format!("stopping, requests left: {requests}")
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = send_states(states) {
        log::warn!("cannot notify the service manager (NOTIFY_SOCKET): {error}");
    }
}

/// Sends the states. The function of the crate does not support names of the abstract namespace.
fn send_states(states: &[NotifyState<'_>]) -> io::Result<()> {
    let place = env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(text(states).as_bytes(), &address)?;
    Ok(())
}
