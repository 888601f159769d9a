//! The `echo` example: every byte comes back, whatever the clients do, and it ends with
//! nothing in flight.

#[path = "../child/built.rs"]
mod built;
#[path = "../child/mod.rs"]
mod child;
mod program;
mod steps;
mod tcp;
mod udp;

#[path = "../../examples/echo/buffers.rs"]
mod buffers;
#[path = "../../examples/echo/client.rs"]
mod client;
#[path = "../../examples/echo/datagram.rs"]
mod datagram;
#[path = "../../examples/echo/server.rs"]
mod server;
#[path = "../../examples/echo/stream.rs"]
mod stream;

use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::{io, thread};

use server::{Report, Server, Settings};

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

/// IPv4, and IPv6 where there is one.
fn families(test: &str) -> Vec<&'static str> {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => vec![V4, V6],
        Err(error) => {
            child::skip(&format!("{test}, with IPv6"), &error.to_string());
            vec![V4]
        }
    }
}

/// Runs a server while `clients` use it.
#[track_caller]
fn serve(addresses: &[&str], settings: Settings, clients: impl FnOnce(&[SocketAddr])) -> Report {
    serve_after(addresses, settings, |_| (), |at, ()| clients(at))
}

/// As `serve`, with something that the clients do before the server looks.
#[track_caller]
fn serve_after<T>(
    addresses: &[&str],
    settings: Settings,
    before: impl FnOnce(&[SocketAddr]) -> T,
    clients: impl FnOnce(&[SocketAddr], T),
) -> Report {
    let addresses: Vec<_> = addresses.iter().map(|at| at.parse().unwrap()).collect();
    let (stop, stopper) = io::pipe().unwrap();
    let server = Server::bind(&addresses, settings, stop.into()).unwrap();
    let at = server.addresses().unwrap();
    let first = before(&at);
    let serve = || server.run().map_err(|error| error.to_string());
    let report = thread::scope(|threads| {
        let server = threads.spawn(serve);
        // Also when the clients panic, so that the scope ends.
        let stopper = stopper;
        clients(&at, first);
        drop(stopper);
        server.join().unwrap().unwrap()
    });
    assert_eq!(report.stats.in_flight, 0);
    // There was always room for completions.
    let stats = report.stats;
    assert_eq!((stats.stale, stats.flushes, stats.refusals), (0, 0, 0));
    report
}

/// A number for setsockopt(2).
#[track_caller]
fn set(socket: &impl AsRawFd, option: i32, value: i32) {
    let (value, len) = (&raw const value, size_of::<i32>() as u32);
    // SAFETY: the value is that long.
    let set = unsafe {
        let fd = socket.as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, option, value.cast(), len)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// How many bytes come before the server closes.
#[track_caller]
fn rest(stream: &mut TcpStream) -> usize {
    stream.read_to_end(&mut Vec::new()).unwrap()
}

/// Closes so that the peer is reset.
fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the value is that long.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Room for so many descriptors; false if there may not be so many.
fn raise_files(wanted: u64) -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads and writes one structure.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_cur.max(wanted);
        limit.rlim_cur <= limit.rlim_max && libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
    }
}
