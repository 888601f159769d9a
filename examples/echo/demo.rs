//! What `echo` does without arguments: serves clients of its own, and compares.

use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use crate::server::{Server, Settings};
use crate::{client, say};

const CLIENTS: u64 = 80;
/// Both ends of each connection are in this process, which may often have 1024 files only.
const MANY: usize = 400;
const LEN: usize = (1 << 20) + 7;

pub fn run() -> Result<(), Box<dyn Error>> {
    let (stop, stopper) = std::io::pipe()?;
    // Without IPv6, or without a way for it, with IPv4 alone.
    let both: [SocketAddr; 2] = ["127.0.0.1:0".parse()?, "[::1]:0".parse()?];
    let settings = Settings::default();
    let server = Server::bind(&both, settings, stop.try_clone()?.into())
        .or_else(|_| Server::bind(&both[..1], settings, stop.into()))?;
    let addresses = server.addresses()?;
    for address in &addresses {
        say(format_args!("listening at {address}, TCP and UDP"));
    }

    let serve = || server.run().map_err(|error| error.to_string());
    let report = thread::scope(|threads| {
        let server = threads.spawn(serve);
        let told = clients(&addresses);
        // The server ends when nobody can write to the pipe.
        drop(stopper);
        let report = server.join().map_err(|_| "the server panicked")??;
        told.map(|()| report)
    })?;
    say(report);
    Ok(())
}

fn clients(addresses: &[SocketAddr]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    client::each(addresses, CLIENTS, LEN)?;
    let seconds = start.elapsed().as_secs_f64();
    let speed = (CLIENTS as usize * LEN) as f64 / 1e6 / seconds;
    say(format_args!(
        "{CLIENTS} clients at once had {LEN} bytes each back, all equal, in {seconds:.3} s \
         ({speed:.0} MB/s)"
    ));
    client::together(addresses, MANY, 10_000)?;
    say(format_args!(
        "{MANY} clients, connected before the first of them sent, had 10000 bytes each back"
    ));
    let lengths: Vec<usize> = (0..1000).map(|i| i * 8).collect();
    let start = Instant::now();
    for address in addresses {
        client::datagrams(*address, &lengths)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let count = lengths.len() * addresses.len();
    say(format_args!(
        "{count} datagrams came back, all equal, in {seconds:.3} s"
    ));
    Ok(())
}
