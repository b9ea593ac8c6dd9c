//! The operator at standard input and output.

use std::io::{self, BufReader, IsTerminal};
use std::sync::OnceLock;

use socketserver_handlers::chat::Operator;

use crate::standard_streams;

/// The person at the keyboard, who is the operator of all servers of the program. The first call
/// sets the prompt. The prompt and colours are for a terminal only.
pub fn operator(prompt: &'static str) -> Operator {
    static OPERATOR: OnceLock<Operator> = OnceLock::new();
    OPERATOR.get_or_init(|| at_standard_streams(prompt)).clone()
}

fn at_standard_streams(prompt: &'static str) -> Operator {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let at_terminal = stdin.is_terminal() && stdout.is_terminal();
    let highlight = stdout.is_terminal();
    let input = BufReader::new(standard_streams::input());
    let operator = Operator::new(input, standard_streams::output());
    operator
        .prompt(if at_terminal { prompt } else { "" })
        .highlight(highlight)
}
