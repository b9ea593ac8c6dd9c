//! Models of a connection's life, which the model checker runs with every order of the threads'
//! steps.
//!
//! The queue, the places, the two bits, the drain's flag and the outbox are those of the program.
//! The socket is a number of bytes, and a turn does the same as [`take_turn`], in its order.
//!
//! [`take_turn`]: crate::mix_ins::reactor::service

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use loom::thread;

use crate::mix_ins::reactor::queue::Queue;
use crate::requests::outbox::{Outbox, OutboxReceiver};
use crate::running::unparks::{Unpark, Unparks};
use crate::transport::connection::Connection;

/// A request of the model.
struct Client {
    connection: Arc<Connection>,
    socket: Arc<AtomicUsize>,
    outbox: Option<OutboxReceiver>,
    served: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    /// Whether something has arrived, and no receive has begun since.
    edge: bool,
    unread: usize,
    /// Whether the client has a turn, which must not overlap with another.
    in_turn: bool,
}

/// The part of a client that a test keeps.
struct Seen {
    token: u64,
    connection: Arc<Connection>,
    socket: Arc<AtomicUsize>,
    outbox: Option<Outbox>,
    served: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

struct Reactor {
    queue: Mutex<Queue<Client>>,
    draining: AtomicBool,
}

/// The reactor as an outbox uses it.
struct Crew(Arc<Reactor>);

impl Unparks for Crew {
    fn unpark(&self, token: u64) {
        self.0.event(token);
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the crew of the model")
    }
}

impl Reactor {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new()),
            draining: AtomicBool::new(false),
        })
    }

    /// A client enters, and has its first turn.
    fn enter(self: &Arc<Self>, with_outbox: bool) -> Seen {
        let connection = Connection::new(None);
        let [socket, served, turns] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let ended = Arc::new(AtomicBool::new(false));
        let client = Client {
            connection: connection.clone(),
            socket: socket.clone(),
            outbox: None,
            served: served.clone(),
            turns: turns.clone(),
            ended: ended.clone(),
            edge: false,
            unread: 0,
            in_turn: false,
        };
        let place = self.queue.lock().unwrap().enter(client);
        let token = place.token;
        let receiver = with_outbox.then(|| {
            let crew = Arc::new(Crew(self.clone()));
            OutboxReceiver::new(Some(Unpark::new(crew, token)))
        });
        let outbox = receiver.as_ref().map(OutboxReceiver::outbox);
        place
            .occupant
            .lock()
            .unwrap()
            .as_mut()
            .unwrap()
            .request
            .outbox = receiver;
        self.queue.lock().unwrap().push(place);
        Seen {
            token,
            connection,
            socket,
            outbox,
            served,
            turns,
            ended,
        }
    }

    fn event(&self, token: u64) {
        self.queue.lock().unwrap().event(token);
    }

    /// A byte arrives, and the kernel reports it.
    fn byte_arrives(&self, client: &Seen) {
        client.socket.fetch_add(1, SeqCst);
        self.event(client.token);
    }

    /// The server stops: as `Lifecycle::request_stop` and `RequestTable::interrupt_idle`.
    fn drain(&self, client: &Seen) {
        self.draining.store(true, SeqCst);
        client.connection.interrupt_idle();
        if client.connection.activity().was_idle() {
            // The shutdown of the reading side is an event.
            self.event(client.token);
        }
    }

    /// Serves the queue until it is empty.
    fn serve(&self) {
        loop {
            let Some(place) = self.queue.lock().unwrap().pop() else {
                return;
            };
            let mut guard = place.occupant.lock().unwrap();
            let Some(occupant) = &mut *guard else {
                continue;
            };
            let client = &mut occupant.request;
            assert!(!std::mem::replace(&mut client.in_turn, true));
            client.turns.fetch_add(1, Relaxed);
            client.edge |= place.readiness.take_edge().is_something();
            client.connection.activity().end_wait();
            let mut is_last = false;
            let next = loop {
                while let Some(_message) = client.outbox.as_ref().and_then(|it| it.take()) {
                    client.served.fetch_add(1, Relaxed);
                }
                if client.unread > 0 {
                    // A turn serves one message, and receives nothing as long as some are unread.
                    client.unread -= 1;
                    client.served.fetch_add(1, Relaxed);
                    break Next::Again;
                }
                if std::mem::take(&mut client.edge) {
                    client.unread = client.socket.swap(0, SeqCst);
                    if client.unread > 0 {
                        continue;
                    }
                }
                if is_last || client.connection.activity().is_interrupted() {
                    break Next::Ended;
                }
                if client.connection.activity().begin_wait(&self.draining) {
                    break Next::Park;
                }
                client.edge = true;
                is_last = true;
            };
            client.in_turn = false;
            match next {
                Next::Again => {
                    drop(guard);
                    self.queue.lock().unwrap().push(place);
                }
                Next::Park => {
                    drop(guard);
                    if !place.readiness.park() {
                        self.queue.lock().unwrap().push(place);
                    }
                }
                Next::Ended => {
                    client.ended.store(true, Relaxed);
                    *guard = None;
                    drop(guard);
                    self.queue.lock().unwrap().leave(place.token);
                }
            }
        }
    }
}

enum Next {
    Again,
    Park,
    Ended,
}

/// Runs a model with at most three preemptions. This bound finds nearly all faults in a short time.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_drain_ends_a_connection_that_parks_at_the_same_time() {
    check(|| {
        let reactor = Reactor::new();
        let client = Arc::new(reactor.enter(false));
        let stopping = {
            let (reactor, client) = (reactor.clone(), client.clone());
            thread::spawn(move || reactor.drain(&client))
        };
        reactor.serve();
        stopping.join().unwrap();
        reactor.serve();
        assert!(client.ended.load(Relaxed));
    });
}

#[test]
fn a_byte_that_arrives_during_a_drain_is_served_before_the_end() {
    check(|| {
        let reactor = Reactor::new();
        let client = Arc::new(reactor.enter(false));
        client.socket.store(1, SeqCst);
        let stopping = {
            let (reactor, client) = (reactor.clone(), client.clone());
            thread::spawn(move || reactor.drain(&client))
        };
        reactor.serve();
        stopping.join().unwrap();
        reactor.serve();
        assert_eq!(client.served.load(Relaxed), 1);
        assert!(client.ended.load(Relaxed));
    });
}

#[test]
fn a_byte_that_arrives_while_earlier_ones_are_unread_is_served() {
    check(|| {
        let reactor = Reactor::new();
        let client = Arc::new(reactor.enter(false));
        client.socket.store(2, SeqCst);
        let sender = {
            let (reactor, client) = (reactor.clone(), client.clone());
            thread::spawn(move || reactor.byte_arrives(&client))
        };
        reactor.serve();
        sender.join().unwrap();
        reactor.serve();
        assert_eq!(client.served.load(Relaxed), 3);
    });
}

#[test]
fn a_message_of_the_outbox_is_delivered_to_a_connection_that_parks_at_the_same_time() {
    check(|| {
        let reactor = Reactor::new();
        let client = Arc::new(reactor.enter(true));
        let sender = {
            let client = client.clone();
            thread::spawn(move || client.outbox.as_ref().unwrap().send(b"hello").unwrap())
        };
        let worker = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.serve())
        };
        sender.join().unwrap();
        worker.join().unwrap();
        reactor.serve();
        assert_eq!(client.served.load(Relaxed), 1);
        // The receiver is dropped here, and not in the queue of a reactor that it refers to.
        reactor.drain(&client);
        reactor.serve();
    });
}

#[test]
fn bytes_and_messages_that_come_together_are_all_served() {
    check(|| {
        let reactor = Reactor::new();
        let client = Arc::new(reactor.enter(true));
        reactor.serve();
        let sender = {
            let client = client.clone();
            thread::spawn(move || client.outbox.as_ref().unwrap().send(b"hello").unwrap())
        };
        let worker = {
            let (reactor, client) = (reactor.clone(), client.clone());
            thread::spawn(move || {
                reactor.byte_arrives(&client);
                reactor.serve();
            })
        };
        sender.join().unwrap();
        reactor.serve();
        worker.join().unwrap();
        reactor.serve();
        assert_eq!(client.served.load(Relaxed), 2);
        reactor.drain(&client);
        reactor.serve();
    });
}

#[test]
fn a_late_event_reaches_neither_an_ended_connection_nor_the_next_one_in_its_place() {
    check(|| {
        let reactor = Reactor::new();
        let first = Arc::new(reactor.enter(false));
        // The first connection ends in its next turn, and its client is replaced.
        reactor.drain(&first);
        let late = {
            let (reactor, first) = (reactor.clone(), first.clone());
            thread::spawn(move || reactor.event(first.token))
        };
        reactor.serve();
        reactor.draining.store(false, SeqCst);
        let second = reactor.enter(false);
        assert_ne!(first.token, second.token);
        reactor.serve();
        late.join().unwrap();
        reactor.serve();
        assert!(first.ended.load(Relaxed));
        // The second is parked, and a byte of its own gives it its next turns.
        reactor.byte_arrives(&second);
        reactor.serve();
        // One when it entered, one for the byte, and one that finds nothing more.
        assert_eq!(second.turns.load(Relaxed), 3);
        assert_eq!(second.served.load(Relaxed), 1);
        assert!(!second.ended.load(Relaxed));
    });
}
