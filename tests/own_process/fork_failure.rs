//! Where the system gives no process, the one client is closed, and the server serves on.

use socketserver::{ForkingMixIn, Serve, TcpServer, UdpServer};
use support::own_process::alone;
use support::reports::reports;
use support::services::{EchoLine, stream_handler};
use support::task_limit::{
    ErrorReports, NoMoreTasks, answer_lines, drop_privileges,
    only_connections_without_a_task_are_closed, only_datagrams_without_a_task_fail,
};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_connection_for_which_there_is_no_process_is_closed_and_others_go_on() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer_lines))
            .mix_in(ForkingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot fork a child for the request";
        only_connections_without_a_task_are_closed(
            layers,
            &mut reports,
            reason,
            1,
            NoMoreTasks::begin,
        );
    });
}

#[test]
fn a_datagram_for_which_there_is_no_process_has_failed_and_the_next_is_answered() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = UdpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ForkingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot fork a child for the request";
        only_datagrams_without_a_task_fail(layers, &mut reports, reason);
    });
}
