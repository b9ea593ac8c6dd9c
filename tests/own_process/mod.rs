//! Tests that change what a whole process has, such as a limit or the logger.

use std::process::Command;

/// Set in the process in which a test runs again.
const IS_ALONE: &str = "SOCKETSERVER_TEST_IS_ALONE";

/// True in a process in which the test called `name` is the only one. Elsewhere this runs the test
/// again in such a process, fails if that fails, and is false.
#[must_use]
pub fn alone(name: &str) -> bool {
    if std::env::var_os(IS_ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let mut again = Command::new(program);
    let again = again.args(["--exact", name]).env(IS_ALONE, "1");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}{complained}");
    false
}
