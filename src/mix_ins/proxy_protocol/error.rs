//! The errors of a PROXY header.

/// The reason why a PROXY header is refused. The connection is closed without an answer.
///
/// Each error is final: no further byte could mend the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The connection does not begin with a header.
    #[error(
        "the trusted proxy has sent no PROXY header; let the proxy send one (\"send-proxy\" or \
         \"send-proxy-v2\" in HAProxy), or do not trust its address"
    )]
    Absent,

    /// The header is longer than [`max_header`](crate::ProxyProtocolMixIn::max_header) allows.
    #[error("the PROXY header has {length} bytes, and at most {max} are allowed")]
    TooLong {
        /// The length that the header states, in bytes.
        length: usize,
        /// The greatest length that is allowed, in bytes.
        max: usize,
    },

    /// The header breaks the specification.
    #[error("the PROXY header of version {version} is invalid: {reason}")]
    Invalid {
        /// The version of the header: 1 or 2.
        version: u8,
        /// The fault, without a full stop.
        reason: &'static str,
    },

    /// The header does not have the checksum that it states.
    #[error("the PROXY header of version 2 is damaged: its checksum is wrong")]
    WrongChecksum,
}
