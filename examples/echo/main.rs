//! `echo`: sends back what it receives, over TCP and UDP, on one io_uring.
//!
//! ```text
//! cargo run --release --example echo                                  serves clients of its own
//! cargo run --release --example echo -- 127.0.0.1:7777 '[::1]:7777'   serves until Ctrl-C
//! ```
//!
//! Nothing here waits but the one call that reaps: an accept, a receive or a send is an
//! operation of the ring, and what follows from its completion is the next operation
//! (`server.rs`). A `user_data` says what an operation is for, and which connection it
//! belongs to (`Key`).
//!
//! - **Accepts** and **receives** are multishot: one operation for each socket, which
//!   completes again and again. A receive takes a buffer when the data is there: a connection
//!   that is idle has none (`buffers.rs`).
//! - A **connection** copies what came in, and gives the buffer back at once. It stops
//!   receiving while its client does not read. A send that took a part is resumed
//!   (`stream.rs`).
//! - A **datagram** goes back from the buffer that it came in (`datagram.rs`).
//! - What the kernel has no memory or no descriptors for is tried again a little later.
//!   A connection that breaks concerns nobody else.
//! - **Ctrl-C** is a file that becomes readable: one more operation. Then all that is in
//!   flight is cancelled and reaped, before its memory is freed and the program ends.

mod buffers;
mod client;
mod datagram;
mod demo;
mod server;
mod stream;

use std::error::Error;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::{env, fmt, ptr};

use server::{Server, Settings};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("echo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    if arguments.is_empty() {
        return demo::run();
    }
    let addresses = arguments
        .iter()
        .map(|argument| argument.parse())
        .collect::<Result<Vec<SocketAddr>, _>>()
        .map_err(|_| "give addresses such as 127.0.0.1:7777 or [::1]:7777, or nothing")?;
    let server = Server::bind(&addresses, Settings::default(), signals()?)
        .map_err(|error| format!("cannot listen: {error}"))?;
    for address in server.addresses()? {
        say(format_args!("listening at {address}, TCP and UDP"));
    }
    say(server.run()?);
    Ok(())
}

/// Prints a line. That nobody wants to read it is no failure.
fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A file that is readable when a signal would have ended the program.
/// To be called before there are threads: they inherit what is blocked.
fn signals() -> io::Result<OwnedFd> {
    let mut signals = MaybeUninit::uninit();
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigemptyset(3) and sigaction(2) write what is read after them; the descriptor
    // is new.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
            // Under nohup(1), and in the background, they are not for us.
            if (*action.as_ptr()).sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(signals.as_mut_ptr(), signal);
            }
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), ptr::null_mut());
        match libc::signalfd(-1, signals.as_ptr(), libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
