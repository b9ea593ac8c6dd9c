//! The service of all servers, good and bad things to order from it.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socketserver::{
    DatagramRequest, ExchangeHandler, HandlerResult, RequestHandler, StreamRequest,
};

use crate::wire::{HEADER, Kind, LONGEST_BODY, MOST_GIVEN, Question, transformed};

/// The longest that a handler works without looking at anything.
const LONGEST_WORK: u64 = 300;

/// Bytes that are given are written in such pieces.
const PIECE: usize = 16 << 10;

/// Answers questions.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The handler runs in a child of the server, which it may kill.
    pub in_child: bool,
}

impl Service {
    /// Does what is told and has no answer of its own.
    fn obey(self, question: Question) -> HandlerResult {
        match question.kind {
            Kind::Work => {
                let time = (question.length as u64).min(LONGEST_WORK);
                std::thread::sleep(Duration::from_millis(time));
                Ok(())
            }
            Kind::Fail => Err("told to fail".into()),
            // Without a word to standard error, whose lock a forked child may find taken.
            Kind::Panic => std::panic::resume_unwind(Box::new("told to panic")),
            Kind::Die if self.in_child => Ok(kill(Pid::this(), Signal::SIGKILL)?),
            Kind::Die => Err("told to die, which only a child does".into()),
            Kind::Transform | Kind::Give | Kind::Identify => Ok(()),
        }
    }
}

impl ExchangeHandler for Service {
    fn is_complete(&self, unread: &[u8]) -> bool {
        let Some(header) = unread.first_chunk::<HEADER>() else {
            return false;
        };
        match Question::from_header(header) {
            Some(question) if question.kind == Kind::Transform => {
                unread.len() - HEADER >= question.length
            }
            _ => true,
        }
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut header = [0; HEADER];
        request.read_exact(&mut header)?;
        let question = understood(&header)?;
        self.obey(question)?;
        let length = question.length;
        match question.kind {
            Kind::Transform if length > LONGEST_BODY => return Err("too long".into()),
            Kind::Transform => {
                let mut body = vec![0; length];
                request.read_exact(&mut body)?;
                request.write_all(&question.answer_header())?;
                request.write_all(&transformed(&body, question.salt, 0))?;
            }
            Kind::Give if length > MOST_GIVEN => return Err("too much".into()),
            Kind::Give => {
                request.write_all(&question.answer_header())?;
                for position in (0..length).step_by(PIECE) {
                    let zeros = vec![0; PIECE.min(length - position)];
                    let piece = transformed(&zeros, question.salt, position as u64);
                    request.write_all(&piece)?;
                }
            }
            Kind::Identify => {
                request.write_all(&question.answer_header())?;
                request.write_all(&std::process::id().to_le_bytes())?;
            }
            _ => request.write_all(&question.answer_header())?,
        }
        Ok(())
    }
}

impl RequestHandler<DatagramRequest> for Service {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        if request.is_truncated() {
            return Err("longer than a packet may be".into());
        }
        if request.packet().is_empty() {
            return Ok(request.send(&[])?);
        }
        let (header, body) = request
            .packet()
            .split_at_checked(HEADER)
            .ok_or("shorter than a header")?;
        let question = understood(header)?;
        if question.kind == Kind::Transform && body.len() != question.length {
            return Err("not the length that it says".into());
        }
        let body = match question.kind {
            Kind::Transform => transformed(body, question.salt, 0),
            Kind::Give if question.length > MOST_GIVEN => return Err("too much".into()),
            Kind::Give => transformed(&vec![0; question.length], question.salt, 0),
            _ => Vec::new(),
        };
        self.obey(question)?;
        request.write_all(&question.answer_header())?;
        Ok(request.write_all(&body)?)
    }
}

fn understood(header: &[u8]) -> Result<Question, Box<dyn Error + Send + Sync>> {
    Question::from_header(header).ok_or_else(|| "not a question".into())
}
