//! A terminal in which a block runs: the commands, what a person types, and what is shown.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::page::Block;

/// Between the outputs of two commands. No program prints it.
const SEPARATOR: char = '\u{1e}';

/// The prompts of the programs, behind which a person types.
const PROMPTS: &[&str] = &[
    "message (q leaves)> ",
    "message> ",
    "reply> ",
    "text> ",
    "command> ",
    "format> ",
];

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Shown(String),
    Typed(String),
}

/// The commands of a block, and their conversation with the person.
#[derive(Debug, Default)]
struct Script {
    commands: Vec<String>,
    parts: Vec<Part>,
}

impl Script {
    fn parse(text: &str) -> Self {
        let mut script = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(command) = line.strip_prefix("$ ") {
                let mut command = command.to_owned();
                while goes_on(&command) {
                    command.push('\n');
                    command.push_str(lines.next().expect("the command has an end"));
                }
                if !script.commands.is_empty() {
                    script.show(&SEPARATOR.to_string());
                }
                script.commands.push(command);
            } else if let Some((prompt, typed)) = after_prompt(line) {
                script.show(prompt);
                script.type_line(typed, lines.peek().is_none());
            } else if let Some(rest) = line.strip_prefix("^C") {
                script.type_line("^C", false);
                script.show(rest);
                script.show("\n");
            } else {
                script.show(line);
                script.show("\n");
            }
        }
        script
    }

    fn show(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Shown(shown)) => shown.push_str(text),
            _ => self.parts.push(Part::Shown(text.to_owned())),
        }
    }

    /// The terminal shows what is typed.
    fn type_line(&mut self, typed: &str, is_last: bool) {
        let (keys, shown) = match typed {
            "^C" => (CTRL_C.to_owned(), "^C".to_owned()),
            "" if is_last => (CTRL_D.to_owned(), String::new()),
            line => (format!("{line}\n"), format!("{line}\n")),
        };
        self.parts.push(Part::Typed(keys));
        self.parts.push(Part::Shown(shown));
    }

    /// One program for the shell.
    fn program(&self) -> String {
        let between = format!("\nprintf '{SEPARATOR}'\n");
        self.commands.join(&between)
    }
}

/// A quote is open, or the line break is escaped.
fn goes_on(command: &str) -> bool {
    let mut quote = None;
    let mut characters = command.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None | Some('"'), '\\') if characters.next().is_none() => return true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    quote.is_some()
}

fn after_prompt(line: &str) -> Option<(&str, &str)> {
    let fixed = PROMPTS.iter().find(|&&prompt| line.starts_with(prompt));
    let length = match fixed {
        Some(prompt) => prompt.len(),
        None if line.starts_with("friend (") => line.find(")> ")? + ")> ".len(),
        None => return None,
    };
    Some(line.split_at(length))
}

/// What has been shown in a terminal so far.
#[derive(Debug, Default)]
struct Screen {
    shown: Vec<u8>,
    /// Every program in the terminal has ended.
    has_ended: bool,
}

pub type Changed = Arc<Condvar>;

/// A block while it runs. All programs in it are killed when it is dropped.
pub struct Terminal<'b> {
    block: &'b Block,
    parts: Vec<Part>,
    /// How many parts were shown or typed.
    done: usize,
    keyboard: File,
    screen: Arc<Mutex<Screen>>,
    shell: Child,
}

impl<'b> Terminal<'b> {
    /// Starts the commands of `block` in `directory`, with `path` before the other directories of
    /// programs.
    pub fn start(block: &'b Block, directory: &Path, path: &Path, changed: &Changed) -> Self {
        let script = Script::parse(&block.text);
        let ends = openpty(None, None).unwrap();
        let input = || std::process::Stdio::from(ends.slave.try_clone().unwrap());
        let mut paths = vec![path.to_owned()];
        paths.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        // The terminal controls the shell, so that Ctrl-C is a signal.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "bash", "-c", &script.program()]);
        command.current_dir(directory).env_remove("RUST_LOG");
        command.env("PATH", std::env::join_paths(paths).unwrap());
        command.env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
        command.stdin(input()).stdout(input()).stderr(input());
        let shell = command.spawn().unwrap();
        drop(command);
        drop(ends.slave);
        let keyboard = File::from(ends.master);
        let screen = Arc::<Mutex<Screen>>::default();
        watch(keyboard.try_clone().unwrap(), &screen, changed);
        Self {
            block,
            parts: script.parts,
            done: 0,
            keyboard,
            screen,
            shell,
        }
    }

    /// Types what is due. Returns whether something was typed.
    pub fn advance(&mut self) -> bool {
        let Some(Part::Typed(keys)) = self.parts.get(self.next_typed()) else {
            return false;
        };
        let expected = self.expected_until(self.next_typed());
        if self.shown() != self.block.varying.without(&expected) {
            return false;
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.done = self.next_typed() + 1;
        true
    }

    /// The line that was typed last, without its end.
    pub fn last_typed(&self) -> Option<&str> {
        let typed = self.parts[..self.done].iter().rev();
        typed.into_iter().find_map(|part| match part {
            Part::Typed(keys) => Some(keys.trim_end()).filter(|keys| !keys.is_empty()),
            Part::Shown(_) => None,
        })
    }

    /// The text is there, if the page shows it in this terminal.
    pub fn has_noticed(&self, text: &str) -> bool {
        !self.expected().contains(text) || self.shown().contains(text)
    }

    fn next_typed(&self) -> usize {
        let parts = self.parts[self.done..].iter();
        let shown = parts.take_while(|it| matches!(it, Part::Shown(_))).count();
        self.done + shown
    }

    fn expected_until(&self, end: usize) -> String {
        let text = |part: &Part| match part {
            Part::Shown(text) => text.clone(),
            Part::Typed(_) => String::new(),
        };
        self.parts[..end].iter().map(text).collect()
    }

    /// The text in the terminal, with signs for what differs.
    fn shown(&self) -> String {
        let plain = plain(&String::from_utf8_lossy(&lock(&self.screen).shown));
        self.block.varying.without(&plain)
    }

    fn expected(&self) -> String {
        let whole = self.expected_until(self.parts.len());
        self.block.varying.without(&whole)
    }

    /// The terminal shows what the page shows.
    pub fn is_as_shown(&self) -> bool {
        self.shown().trim_end() == self.expected().trim_end()
    }

    /// The server of this block has a line by which it announces that it listens.
    pub fn announces_itself(&self) -> bool {
        first_line(&self.expected()).starts_with("listening on ")
    }

    /// That line is there.
    pub fn has_announced_itself(&self) -> bool {
        let shown = self.shown();
        shown.contains('\n') && first_line(&shown) == first_line(&self.expected())
    }

    /// The page shows an output at all.
    pub fn has_output(&self) -> bool {
        !self.expected().trim().is_empty()
    }

    pub fn has_ended(&self) -> bool {
        lock(&self.screen).has_ended
    }

    /// The difference, for a person.
    pub fn complaint(&self) -> String {
        let (line, shown) = (self.block.line, self.shown());
        let expected = self.expected();
        format!("{line}: the page shows\n{expected}\nand the terminal\n{shown}")
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // The shell leads its own group, and is not waited for yet: nobody else has the number.
        let group = Pid::from_raw(self.shell.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.shell.wait();
    }
}

/// The first line of the last command.
fn first_line(text: &str) -> &str {
    let last = text.rsplit(SEPARATOR).next().unwrap_or_default();
    last.lines().next().unwrap_or_default()
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().expect("the reading thread does not panic")
}

/// Collects what is shown, in a thread.
fn watch(mut master: File, screen: &Arc<Mutex<Screen>>, changed: &Changed) {
    let (screen, changed) = (Arc::clone(screen), Arc::clone(changed));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            // EIO when the last program has closed the terminal.
            let count = master.read(&mut buffer).unwrap_or(0);
            let mut screen = lock(&screen);
            screen.shown.extend_from_slice(&buffer[..count]);
            screen.has_ended = count == 0;
            changed.notify_all();
            if count == 0 {
                return;
            }
        }
    });
}

/// The text without carriage returns, and without sequences that set colours.
fn plain(shown: &str) -> String {
    let mut plain = String::new();
    let mut characters = shown.chars();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {}
            '\u{1b}' => {
                let _ = characters
                    .by_ref()
                    .skip(1)
                    .find(|it| it.is_ascii_alphabetic());
            }
            c => plain.push(c),
        }
    }
    plain
}

/// The longest time between two looks at what wakes nobody, such as a listening socket.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

#[test]
fn a_block_is_commands_and_a_conversation() {
    let script = Script::parse("$ a 'b\nc'\nd\n$ e\ntext> hi\nHI\nfriend (x)> \n");
    assert_eq!(script.commands, ["a 'b\nc'", "e"]);
    let shown = |text: &str| Part::Shown(text.to_owned());
    let typed = |text: &str| Part::Typed(text.to_owned());
    assert_eq!(
        script.parts,
        [
            shown("d\n\u{1e}text> "),
            typed("hi\n"),
            shown("hi\nHI\nfriend (x)> "),
            typed("\u{4}"),
            shown(""),
        ]
    );
}

#[test]
fn a_command_goes_on_while_a_quote_is_open() {
    for (command, more) in [
        ("a 'b", true),
        ("a 'b'", false),
        ("a \\", true),
        ("\"'\"", false),
    ] {
        assert_eq!(goes_on(command), more, "{command}");
    }
}
