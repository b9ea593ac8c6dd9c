//! Tests that run in a process of their own.

use std::any::type_name;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::processes::children;

/// The environment variable that is set in a test's own process.
const IS_ALONE: &str = "SOCKETSERVER_TEST_IS_ALONE";

/// Returns true in a process that [`alone`] has started.
#[must_use]
pub fn is_alone() -> bool {
    std::env::var_os(IS_ALONE).is_some()
}

/// Runs `test`, a closure in the body of a test, in a process in which that test is the only one.
/// Starts the test program again for this one test, and panics if the test fails there.
///
/// The closure's type has the path of the test, which is the test's name for the test program.
pub fn alone<F: FnOnce()>(test: F) {
    if is_alone() {
        let _children = KilledOnPanic;
        return test();
    }
    let name = test_around(type_name::<F>());
    let program = std::env::current_exe().unwrap();
    let mut again = Command::new(program);
    let again = again.args(["--exact", name]).env(IS_ALONE, "1");
    let output = again.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("1 passed"), "{printed}{errors}");
}

/// Returns `module::test` of `program::module::test::{{closure}}`.
fn test_around(closure: &str) -> &str {
    let test = closure.strip_suffix("::{{closure}}");
    let name = test.and_then(|path| path.split_once("::"));
    name.unwrap_or_else(|| panic!("no closure of a test: {closure}"))
        .1
}

/// Kills the children of a test that panics. They have the test's output open, and the process that
/// started the test waits for the end of that output.
struct KilledOnPanic;

impl Drop for KilledOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for child in children().into_iter().map(Pid::from_raw) {
                // The child has not been collected, so no other process can have its number.
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
            }
        }
    }
}
