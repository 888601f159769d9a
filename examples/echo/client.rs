//! Clients that look at every byte: of the demonstration, and of the tests.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// Far more than any of this takes. What hangs is an error.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that differ from client to client.
pub fn noise(len: usize, client: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ client.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends all of it, says that this was all, and reads until the server closes.
pub fn exchange(mut stream: &TcpStream, data: &[u8]) -> io::Result<()> {
    let back = thread::scope(|threads| {
        let writer = threads.spawn(move || {
            stream.write_all(data)?;
            stream.shutdown(Shutdown::Write)
        });
        let mut back = Vec::with_capacity(data.len());
        stream.read_to_end(&mut back)?;
        writer.join().map_err(|_| io::Error::other("panicked"))??;
        Ok::<_, io::Error>(back)
    })?;
    same(&back, data)
}

/// So many clients, all connected before the first sends, each sending before the first
/// reads. What they send must fit the sockets.
pub fn together(addresses: &[SocketAddr], clients: usize, len: usize) -> io::Result<()> {
    let mut streams = Vec::with_capacity(clients);
    for address in addresses.iter().cycle().take(clients) {
        streams.push(connect(*address)?);
    }
    for (stream, client) in streams.iter_mut().zip(0..) {
        stream.write_all(&noise(len, client))?;
    }
    for (stream, client) in streams.iter_mut().zip(0..) {
        stream.shutdown(Shutdown::Write)?;
        let mut back = Vec::with_capacity(len);
        stream.read_to_end(&mut back)?;
        same(&back, &noise(len, client))?;
    }
    Ok(())
}

/// So many clients at once, each on a thread of its own.
pub fn each(addresses: &[SocketAddr], clients: u64, len: usize) -> io::Result<()> {
    thread::scope(|threads| {
        let client = |(client, address): (u64, &SocketAddr)| {
            let address = *address;
            threads.spawn(move || exchange(&connect(address)?, &noise(len, client)))
        };
        let all: Vec<_> = (0..clients)
            .zip(addresses.iter().cycle())
            .map(client)
            .collect();
        for client in all {
            client.join().map_err(|_| io::Error::other("panicked"))??;
        }
        Ok(())
    })
}

/// Sends datagrams of these lengths, each after the one before it came back.
pub fn datagrams(address: SocketAddr, lengths: &[usize]) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([127, 0, 0, 1], 0).into(),
        SocketAddr::V6(_) => ([0, 0, 0, 0, 0, 0, 0, 1], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut back = vec![0; 1 << 16];
    for (len, client) in lengths.iter().zip(0..) {
        let data = noise(*len, client);
        socket.send_to(&data, address)?;
        let (len, from) = receive(&socket, &mut back)?;
        if from != address {
            return Err(io::Error::other(format!("an answer from {from}")));
        }
        same(&back[..len], &data)?;
    }
    Ok(())
}

/// Receives a datagram. A ring that is taken apart interrupts the threads that it knows.
pub fn receive(socket: &UdpSocket, back: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(back) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn same(back: &[u8], data: &[u8]) -> io::Result<()> {
    let (got, sent) = (back.len(), data.len());
    match back == data {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{got} bytes came back, which are not the {sent} sent"
        ))),
    }
}
