//! The first process of a virtual machine: makes a system of a kernel, runs the tests one
//! after the other, and says on the second serial line what came of them.
//!
//! What it says, a line each: `ready RELEASE`; for each run `begin NAME`, its output and
//! errors with `| ` or `! ` before each line, what its tests said in the files they were given (`skipped: ...`,
//! `tried<TAB>...`), `end NAME STATUS SECONDS`; in the end `done`. Without that last line the
//! machine died.

mod disks;
mod system;
mod tests;

use std::fs::File;
use std::io::Write;
use std::panic;

/// The line to the host.
pub struct Line(File);

impl Line {
    /// One line.
    pub fn say(&mut self, words: &str) {
        let line = format!("{words}\n");
        self.0.write_all(line.as_bytes()).expect("the serial line");
    }
}

fn main() {
    // It ends with the machine: the first process must not return.
    let ended = panic::catch_unwind(run);
    if ended.is_err() {
        // The panic's message is on the console, where the host looks for it.
        eprintln!("guest: no tests were run to the end");
    }
    system::power_off();
}

fn run() {
    system::mount_kernel_interfaces();
    let line = File::options().write(true).open("/dev/ttyS1");
    let mut line = Line(line.expect("a second serial line"));
    line.say(&format!("ready {}", system::release()));
    system::load_modules();
    system::loopback_up();
    let nvme = disks::mount_tests_and_find_scratch();
    tests::run_all(&mut line, &nvme);
    line.say("done");
}
