//! Streams.

use super::*;
use client::{connect, each, exchange, noise, together};
use std::io::{Read, Write};
use std::net::Shutdown;

fn bytes(report: &Report) -> (u64, u64) {
    (report.tally.connections, report.tally.bytes)
}

#[test]
fn eighty_clients_at_once() {
    const LEN: usize = 300_007;
    let families = families("eighty_clients_at_once");
    let report = serve(&families, Settings::default(), |at| {
        each(at, 80, LEN).unwrap();
    });
    assert_eq!(bytes(&report), (80, 80 * LEN as u64));
    assert_eq!(report.tally.broken, 0);
}

#[test]
fn a_thousand_clients_at_once() {
    const LEN: usize = 10_001;
    // Both ends are in this process.
    if !raise_files(3000) {
        return child::skip("a_thousand_clients_at_once", "RLIMIT_NOFILE is below 3000");
    }
    let families = families("a_thousand_clients_at_once");
    let report = serve(&families, Settings::default(), |at| {
        together(at, 1000, LEN).unwrap();
    });
    assert_eq!(bytes(&report), (1000, 1000 * LEN as u64));
    assert_eq!((report.tally.broken, report.tally.out_of_files), (0, 0));
}

#[test]
fn a_client_of_each_family() {
    for family in families("a_client_of_each_family") {
        let report = serve(&[family], Settings::default(), |at| {
            for len in [0, 1, 16 << 10, 100_000] {
                exchange(&connect(at[0]).unwrap(), &noise(len, 3)).unwrap();
            }
        });
        assert_eq!(bytes(&report), (4, 1 + (16 << 10) + 100_000));
    }
}

#[test]
fn a_half_closed_client_gets_the_rest() {
    let data = noise(150_000, 1);
    let report = serve(&[V4], Settings::default(), |at| {
        let mut stream = connect(at[0]).unwrap();
        stream.write_all(&data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == data);
    });
    assert_eq!(report.tally.broken, 0);
}

#[test]
fn a_reset_concerns_nobody_else() {
    let report = serve(&[V4], Settings::default(), |at| {
        let mut other = connect(at[0]).unwrap();
        other.write_all(b"before").unwrap();

        // While it is received from.
        let mut one = connect(at[0]).unwrap();
        one.write_all(b"hello").unwrap();
        one.read_exact(&mut [0; 5]).unwrap();
        reset(one);

        // While it is sent to, because it does not read. That this send stands still is
        // likely; the others are served in either case.
        let mut one = connect(at[0]).unwrap();
        one.set_nonblocking(true).unwrap();
        let data = noise(1 << 20, 1);
        while one.write(&data).is_ok() {}
        reset(one);

        other.write_all(b" and after").unwrap();
        let mut back = [0; 16];
        other.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"before and after");
        exchange(&connect(at[0]).unwrap(), &noise(100_000, 2)).unwrap();
    });
    assert_eq!((report.tally.connections, report.tally.broken), (4, 2));
}

#[test]
fn two_buffers_are_enough() {
    const LEN: usize = 60_000;
    let settings = Settings {
        buffers: 2,
        ..Settings::default()
    };
    // Sent before anybody receives: more than two buffers hold.
    let first = |at: &[SocketAddr]| {
        let mut stream = connect(at[0]).unwrap();
        stream.write_all(&noise(LEN, 1)).unwrap();
        stream
    };
    let report = serve_after(&[V4], settings, first, |at, mut first| {
        each(at, 20, LEN).unwrap();
        let mut back = vec![0; LEN];
        first.read_exact(&mut back).unwrap();
        assert!(back == noise(LEN, 1));
    });
    assert!(report.tally.starved > 0, "{report}");
    assert_eq!(bytes(&report), (21, 21 * LEN as u64));
}

#[test]
fn one_client_too_many_is_turned_away() {
    let settings = Settings {
        clients: 2,
        ..Settings::default()
    };
    let report = serve(&[V4], settings, |at| {
        let mut streams: Vec<_> = (0..3).map(|_| connect(at[0]).unwrap()).collect();
        // Accepted in the order in which they came.
        assert_eq!(rest(&mut streams[2]), 0);
        for stream in &streams[..2] {
            exchange(stream, &noise(1000, 1)).unwrap();
        }
        // They are gone, there is room again.
        exchange(&connect(at[0]).unwrap(), &noise(1000, 2)).unwrap();
    });
    let tally = report.tally;
    assert_eq!((tally.connections, tally.turned_away), (3, 1));
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 512;
    let data = noise(PIECE * PIECES, 1);
    let settings = Settings::default();
    let report = serve(&[V4], settings, |at| {
        let mut other = connect(at[0]).unwrap();
        let mut stream = connect(at[0]).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        for _ in 0..PIECES {
            // Nothing goes when the server has stopped reading, and the sockets are full.
            let end = data.len().min(sent + PIECE);
            sent += stream.write(&data[sent..end]).unwrap_or(0);
            // The server has received what was sent before this.
            other.write_all(b"?").unwrap();
            other.read_exact(&mut [0]).unwrap();
        }
        // Others are served meanwhile.
        each(at, 20, 200_000).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(sent > stream::BACKLOG && back == data[..sent]);
    });
    // When the receive is asked to end, the kernel may have filled every buffer.
    let most = stream::BACKLOG + usize::from(settings.buffers) * server::SIZE as usize;
    let tally = report.tally;
    assert!(tally.paused > 0 && tally.backlog <= most, "{tally:?}");
}

#[test]
fn stops_with_everything_in_flight() {
    let mut streams = Vec::new();
    let families = families("stops_with_everything_in_flight");
    let report = serve(&families, Settings::default(), |at| {
        for address in at.iter().cycle().take(50) {
            let mut stream = connect(*address).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            streams.push(stream);
        }
        // These are being sent to, as far as their buffers go.
        for stream in &mut streams[..5] {
            stream.set_nonblocking(true).unwrap();
            let data = noise(1 << 20, 1);
            while stream.write(&data).is_ok() {}
            stream.set_nonblocking(false).unwrap();
        }
    });
    assert_eq!(report.tally.connections, 50);
    // The server has closed its ends.
    for stream in &mut streams[5..] {
        assert_eq!(rest(stream), 0);
    }
}
