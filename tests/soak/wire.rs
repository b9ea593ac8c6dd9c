//! What clients and servers say to each other: a header, and bytes that follow from it.
//!
//! Everything that is sent follows from the header's salt, so both sides know every byte of a
//! question and of its answer, and neither has to keep them.

/// The most bytes of a stream's message behind its header.
pub const LONGEST_BODY: usize = 256 << 10;

/// The longest datagram that a server takes, header included.
pub const LONGEST_PACKET: usize = 60_000;

/// The most bytes that a server gives for one [`Kind::Give`].
pub const MOST_GIVEN: usize = 64 << 20;

/// What a server says to a client that is above a limit. No answer begins like it.
pub const REFUSAL: &[u8] = b"!too busy\n";

/// The size of a header.
pub const HEADER: usize = 14;

const QUESTION: u8 = 0x5a;
const ANSWER: u8 = 0xa5;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The body that follows, changed.
    Transform = b'T',
    /// So many bytes, without having sent any.
    Give = b'G',
    /// To be answered after so many milliseconds of work, in which the handler looks at nothing.
    Work = b'W',
    /// The process id of the handler, which then waits for the next question.
    Identify = b'I',
    /// A handler that fails.
    Fail = b'F',
    /// A handler that panics.
    Panic = b'P',
    /// A handler that kills its process, if that is a forked child; else it fails.
    Die = b'D',
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Die, Fail, Give, Identify, Panic, Transform, Work};
        [Transform, Give, Work, Identify, Fail, Panic, Die]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A question, or the head of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub kind: Kind,
    /// Of the body, or of what is to be given, in bytes; for [`Kind::Work`] a time.
    pub length: usize,
    pub salt: u64,
}

impl Question {
    /// The bytes of the question.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.header();
        if self.kind == Kind::Transform {
            bytes.extend(self.body());
        }
        bytes
    }

    /// The bytes of the right answer. A question for an identity has none that are known.
    pub fn answer(self) -> Vec<u8> {
        let mut bytes = self.answer_header();
        match self.kind {
            Kind::Transform => bytes.extend(transformed(&self.body(), self.salt, 0)),
            Kind::Give => bytes.extend(transformed(&vec![0; self.length], self.salt, 0)),
            _ => {}
        }
        bytes
    }

    /// What comes before the body of the question.
    pub fn header(self) -> Vec<u8> {
        self.with_mark(QUESTION)
    }

    /// What comes before the body of the answer.
    pub fn answer_header(self) -> Vec<u8> {
        self.with_mark(ANSWER)
    }

    /// What the header that a server has received asks for.
    pub fn from_header(header: &[u8]) -> Option<Self> {
        Self::marked(header, QUESTION)
    }

    /// The question to which this is the answer, by its own account.
    pub fn answered_by(answer: &[u8]) -> Option<Self> {
        Self::marked(answer.get(..HEADER)?, ANSWER)
    }

    fn marked(header: &[u8], mark: u8) -> Option<Self> {
        let ([first, kind], rest) = header.split_first_chunk()?;
        let (length, salt) = rest.split_first_chunk()?;
        Some(Self {
            kind: Kind::from_byte(*kind).filter(|_| *first == mark)?,
            length: u32::from_le_bytes(*length) as usize,
            salt: u64::from_le_bytes(salt.try_into().ok()?),
        })
    }

    fn with_mark(self, mark: u8) -> Vec<u8> {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        let mut bytes = vec![mark, self.kind as u8];
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes
    }

    fn body(self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        fastrand::Rng::with_seed(self.salt).fill(&mut bytes);
        bytes
    }
}

/// What a server makes of `bytes`, of which the first is the one at `position`. A byte that is
/// missing, doubled or at another place changes every answer.
pub fn transformed(bytes: &[u8], salt: u64, position: u64) -> Vec<u8> {
    let mask = |at: u64| (salt.wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (position..)
        .zip(bytes)
        .map(|(at, byte)| byte.rotate_left(3) ^ mask(at))
        .collect()
}
