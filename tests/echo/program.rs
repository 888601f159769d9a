//! The program: signals, limits, arguments.

use super::*;
use built::{Running, example, start};
use client::{connect, datagrams, exchange, noise};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::process::Command;

struct Program {
    running: Running,
    at: Vec<SocketAddr>,
    out: BufReader<std::process::ChildStdout>,
}

/// Listening.
fn program(addresses: &[&str], files: Option<u64>, on_interrupt: usize) -> Program {
    let mut command = Command::new(example("echo"));
    command.args(addresses);
    let prepare = move || {
        // SAFETY: system calls, which need nothing of the parent's.
        unsafe {
            // These tests may run in the background, where it is ignored.
            libc::signal(libc::SIGINT, on_interrupt);
            let (rlim_cur, rlim_max) = match files {
                None => return Ok(()),
                Some(files) => (files, files),
            };
            let limit = libc::rlimit { rlim_cur, rlim_max };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    };
    // SAFETY: it makes system calls only.
    unsafe { command.pre_exec(prepare) };
    let mut running = start(&mut command);
    let mut out = BufReader::new(running.0.stdout.take().unwrap());
    let at = addresses.iter().map(|_| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let at = line.strip_prefix("listening at ").expect(&line);
        at.split(',').next().unwrap().parse().unwrap()
    });
    let at = at.collect();
    Program { running, at, out }
}

impl Program {
    fn signal(&self, signal: i32) {
        // SAFETY: takes numbers only, and the child was not waited for.
        unsafe { libc::kill(self.running.id(), signal) };
    }

    /// What it says when it is interrupted.
    #[track_caller]
    fn interrupt(mut self, signal: i32) -> String {
        self.signal(signal);
        let status = self.running.wait();
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        let mut err = String::new();
        let mut stderr = self.running.0.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        assert!(status.success() && err.is_empty(), "{status} {err}");
        assert!(said.contains(" 0 in flight"), "{said}");
        said
    }
}

/// The number in front of these words.
#[track_caller]
fn count(said: &str, words: &str) -> u64 {
    let before = said.split(words).next().unwrap().trim_end();
    let number = before.rsplit([' ', '\n']).next().unwrap();
    number.parse().unwrap_or_else(|_| panic!("{words}: {said}"))
}

#[test]
fn an_interrupt_ends_it_with_nothing_in_flight() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let families = families("an_interrupt_ends_it_with_nothing_in_flight");
        let program = program(&families, None, libc::SIG_DFL);
        let mut streams = Vec::new();
        for address in program.at.iter().cycle().take(20) {
            let mut stream = connect(*address).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            streams.push(stream);
        }
        datagrams(program.at[0], &[10, 20]).unwrap();
        let said = program.interrupt(signal);
        assert_eq!(count(&said, "connections"), 20);
        assert_eq!(count(&said, "datagrams echoed"), 2);
        for stream in &mut streams {
            assert_eq!(rest(stream), 0);
        }
    }
}

#[test]
fn in_the_background_an_interrupt_is_for_others() {
    let program = program(&[V4], None, libc::SIG_IGN);
    program.signal(libc::SIGINT);
    exchange(&connect(program.at[0]).unwrap(), &noise(1000, 1)).unwrap();
    assert_eq!(count(&program.interrupt(libc::SIGTERM), "connections"), 1);
}

#[test]
fn connections_wait_while_there_are_no_descriptors() {
    let program = program(&[V4], Some(12), libc::SIG_DFL);
    let streams: Vec<_> = (0..20).map(|_| connect(program.at[0]).unwrap()).collect();
    for (stream, client) in streams.into_iter().zip(0..) {
        exchange(&stream, &noise(1000, client)).unwrap();
    }
    let said = program.interrupt(libc::SIGINT);
    assert_eq!(count(&said, "connections"), 20);
    assert!(count(&said, "times out of descriptors") > 0, "{said}");
    assert_eq!(count(&said, "broken"), 0);
}

#[test]
fn shows_itself_without_arguments() {
    let output = start(&mut Command::new(example("echo"))).end();
    let said = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && err.is_empty(), "{err}");
    assert!(said.contains("80 clients at once had 1048583 bytes each back, all equal"));
    assert_eq!(count(&said, "connections"), 480);
    assert!(said.contains(" 0 in flight"), "{said}");
}

#[test]
fn says_what_it_cannot_do() {
    let tcp = TcpListener::bind(V4).unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    let udp = UdpSocket::bind(V4).unwrap();
    let taken_udp = udp.local_addr().unwrap().to_string();
    for (argument, message) in [
        ("nowhere", "give addresses such as"),
        ("127.0.0.1", "give addresses such as"),
        (&taken, "cannot listen: Address already in use"),
        (&taken_udp, "cannot listen: Address already in use"),
    ] {
        let output = start(Command::new(example("echo")).arg(argument)).end();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(err.starts_with("echo: ") && err.contains(message), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(output.stdout.is_empty());
    }
}
