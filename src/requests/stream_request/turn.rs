//! The turn of a connection, which ends when another client waits for its place.

use std::time::{Duration, Instant};

use crate::requests::stream_request::StreamRequest;
use crate::running::client_name::ClientName;
use crate::support::log::{Level, log_line};

impl StreamRequest {
    /// Whether the connection has had its [turn](crate::Limits::turn), and another client waits for
    /// its place. The first call begins the turn.
    pub(super) fn has_had_its_turn(&mut self) -> bool {
        match self.guard.server().shared().settings().turn() {
            None => false,
            Some(turn) => self.has_had_turn_of(turn),
        }
    }

    fn has_had_turn_of(&mut self, turn: Duration) -> bool {
        let shared = self.guard.server().shared();
        let Some(began) = self.turn_began else {
            self.turn_began = Some(Instant::now());
            return false;
        };
        let is_over = began.elapsed() >= turn && shared.has_waiting_client();
        if is_over {
            let (client, server) = (self.client_address(), self.server());
            let client = ClientName { client, server };
            log_line!(
                Level::Debug,
                "{client}: has had its turn of {turn:?}, and another client waits"
            );
        }
        is_over
    }
}
