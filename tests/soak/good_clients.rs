//! Clients that do everything right, and look at every byte that they get.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::connections::{Connection, DatagramSocket, Ending, question};
use crate::site::{Count, LIMIT, Site};
use crate::wire::{HEADER, Kind, LONGEST_BODY, LONGEST_PACKET, Question, REFUSAL};

/// Messages that are sent before an answer is read have no more bytes together: more could fill the
/// buffers of both sides, and each would wait for the other to read.
const PIPELINED: usize = 24 << 10;

/// The first and the longest time to wait for an answer to a datagram before it is sent again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Holds conversations until it is told to stop, and has had an answer at least.
pub fn streams(site: &Site<'_>, mut rng: fastrand::Rng) {
    let begun = Instant::now();
    let mut exchanges = 0;
    while !site.stop.is_set() || (exchanges == 0 && begun.elapsed() < LIMIT) {
        let before = exchanges;
        match conversation(site, &mut rng, &mut exchanges) {
            Ok(()) => {}
            Err(Ending::Early) => site.count(Count::CutShort, 1),
            Err(Ending::Refused) => site.count(Count::Refused, 1),
            Err(Ending::Wrong(what)) => site.fail(format_args!("a good client: {what}")),
        }
        match exchanges == before {
            true => std::thread::sleep(Duration::from_millis(rng.u64(5..30))),
            false => site.pause(rng.u64(1..20)),
        }
    }
}

fn conversation(
    site: &Site<'_>,
    rng: &mut fastrand::Rng,
    exchanges: &mut u64,
) -> Result<(), Ending> {
    let Some(mut connection) = Connection::open(site) else {
        return Ok(());
    };
    let mut has_been_answered = false;
    let rounds = match rng.bool() {
        true => 1,
        false => rng.usize(2..30),
    };
    for round in 0..rounds {
        let questions = questions(rng);
        for question in &questions {
            send_in_pieces(&mut connection, &question.to_bytes(), rng)?;
        }
        let is_last = round + 1 == rounds;
        if is_last && rng.bool() {
            connection.shut_down(Shutdown::Write);
        }
        for question in questions {
            connection.expect(&question.answer())?;
            *exchanges += 1;
            site.count(Count::Exchanges, 1);
            if !std::mem::replace(&mut has_been_answered, true) {
                site.count(Count::GoodConnections, 1);
            }
        }
        if site.stop.is_set() {
            break;
        }
        if rng.u8(..) < 32 {
            site.pause(rng.u64(1..10));
        }
    }
    connection.shut_down(Shutdown::Write);
    connection.expect_close()
}

/// What is asked in one go: one question of any size, or several small ones.
fn questions(rng: &mut fastrand::Rng) -> Vec<Question> {
    match rng.u8(0..10) {
        0 => vec![question(rng, Kind::Transform, LONGEST_BODY)],
        1 => {
            let length = rng.usize(1..LONGEST_BODY);
            vec![question(rng, Kind::Transform, length)]
        }
        2 => {
            let length = rng.usize(..LONGEST_BODY);
            vec![question(rng, Kind::Give, length)]
        }
        3 => {
            let milliseconds = rng.usize(..20);
            vec![question(rng, Kind::Work, milliseconds)]
        }
        4 | 5 => {
            let count = rng.usize(2..12);
            let most = PIPELINED / count;
            let each = |_| {
                let length = rng.usize(..most);
                question(rng, Kind::Transform, length)
            };
            (0..count).map(each).collect()
        }
        _ => {
            let length = 1 << rng.u32(..15);
            vec![question(rng, Kind::Transform, length)]
        }
    }
}

fn send_in_pieces(
    connection: &mut Connection<'_>,
    mut bytes: &[u8],
    rng: &mut fastrand::Rng,
) -> Result<(), Ending> {
    let most = match rng.u8(0..4) {
        0 => 1 + bytes.len() / 5,
        1 => HEADER - 1,
        _ => bytes.len(),
    };
    // Of long messages the first pieces are small, and the last one is not.
    for _ in 0..20 {
        if bytes.len() <= most {
            break;
        }
        let (piece, rest) = bytes.split_at(rng.usize(1..=most));
        connection.send(piece)?;
        bytes = rest;
    }
    connection.send(bytes)
}

/// Sends datagrams until it is told to stop, and has had an answer at least.
pub fn datagrams(site: &Site<'_>, mut rng: fastrand::Rng) {
    let mut last_answer = Instant::now();
    let mut exchanges = 0;
    while !site.stop.is_set() || (exchanges == 0 && last_answer.elapsed() < LIMIT) {
        let before = exchanges;
        if let Some(socket) = DatagramSocket::open(site) {
            // It fails when the server is closed under it.
            if with_socket(site, &socket, &mut rng, &mut exchanges).is_err() {
                site.count(Count::CutShort, 1);
            }
        }
        if exchanges > before {
            last_answer = Instant::now();
        } else if last_answer.elapsed() > LIMIT && !site.stop.is_set() {
            site.fail(format_args!("no datagram was answered for {LIMIT:?}"));
            last_answer = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(rng.u64(1..10)));
    }
}

fn with_socket(
    site: &Site<'_>,
    socket: &DatagramSocket<'_>,
    rng: &mut fastrand::Rng,
    exchanges: &mut u64,
) -> io::Result<()> {
    let mut asked = Asked::default();
    for _ in 0..rng.usize(1..40) {
        let question = datagram(rng);
        let mut wait = FIRST_WAIT;
        let begun = Instant::now();
        asked.remember(question);
        loop {
            let sent = socket.send(&packet(question), wait)?;
            if sent && asked.is_answered(site, socket, question, wait)? {
                *exchanges += 1;
                site.count(Count::Exchanges, 1);
                break;
            }
            site.count(Count::Lost, 1);
            if site.stop.is_set() || begun.elapsed() > LIMIT / 2 {
                return Ok(());
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        if site.stop.is_set() {
            break;
        }
        site.pause(rng.u64(..if site.kind.forks() { 10 } else { 4 }));
    }
    Ok(())
}

/// The question that an empty packet is.
const EMPTY: Option<Question> = None;

fn datagram(rng: &mut fastrand::Rng) -> Option<Question> {
    const LONGEST: usize = LONGEST_PACKET - HEADER;
    match rng.u8(0..16) {
        0 => EMPTY,
        1 => Some(question(rng, Kind::Transform, LONGEST)),
        2..5 => {
            let length = rng.usize(..=LONGEST);
            Some(question(rng, Kind::Transform, length))
        }
        5 => {
            let length = rng.usize(..=LONGEST);
            Some(question(rng, Kind::Give, length))
        }
        _ => {
            let length = rng.usize(..1500);
            Some(question(rng, Kind::Transform, length))
        }
    }
}

fn packet(question: Option<Question>) -> Vec<u8> {
    question.map(Question::to_bytes).unwrap_or_default()
}

/// What has been asked through a socket: an answer may come late, and more than once if the
/// question was repeated.
#[derive(Debug, Default)]
struct Asked {
    questions: HashMap<u64, Question>,
    empty: bool,
}

impl Asked {
    fn remember(&mut self, question: Option<Question>) {
        match question {
            Some(question) => drop(self.questions.insert(question.salt, question)),
            None => self.empty = true,
        }
    }

    /// Whether the answer to `question` comes in time. Every other that comes is looked at too.
    fn is_answered(
        &self,
        site: &Site<'_>,
        socket: &DatagramSocket<'_>,
        question: Option<Question>,
        wait: Duration,
    ) -> io::Result<bool> {
        let until = Instant::now() + wait;
        while let Some(packet) = socket.receive(until)? {
            if packet == REFUSAL {
                site.count(Count::Refused, 1);
                site.pause(10);
                return Ok(false);
            }
            let answered = Question::answered_by(&packet);
            let known = answered.and_then(|it| self.questions.get(&it.salt).copied());
            let is_right = match known {
                Some(known) => packet == known.answer(),
                None => packet.is_empty() && self.empty,
            };
            if !is_right && socket.is_for_predecessor(&packet) {
                continue;
            }
            if !is_right {
                let begin = packet[..packet.len().min(2 * HEADER)].escape_ascii();
                let length = packet.len();
                site.fail(format_args!(
                    "a good client: a wrong datagram of {length} bytes: {begin}"
                ));
            }
            site.count(Count::Bytes, packet.len() as u64);
            if known == question && is_right {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
