//! Datagrams.

use super::*;
use client::{PATIENCE, datagrams, noise, receive};
use std::net::UdpSocket;

#[test]
fn datagrams_of_all_lengths_come_back() {
    for family in families("datagrams_of_all_lengths_come_back") {
        // As much as an IP packet holds.
        let most = if family == V4 { 65_507 } else { 65_527 };
        let lengths = [0, 1, 100, 0, 0, 1472, 9000, most, 5];
        let report = serve(&[family], Settings::default(), |at| {
            datagrams(at[0], &lengths).unwrap();
        });
        assert_eq!(report.tally.datagrams, lengths.len() as u64);
        assert_eq!(report.tally.dropped, 0);
    }
}

/// Twice as many as there are buffers lie there before the server looks.
#[test]
fn more_datagrams_than_buffers_come_back() {
    let count = 2 * usize::from(datagram::REPLIES);
    let send = |at: &[SocketAddr]| {
        let socket = |i| {
            let socket = UdpSocket::bind(V4).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(&noise(100, i), at[0]).unwrap();
            socket
        };
        (0..count as u64).map(socket).collect()
    };
    let receive = |at: &[SocketAddr], sockets: Vec<UdpSocket>| {
        for (socket, i) in sockets.iter().zip(0..) {
            let mut back = [0; 200];
            let (len, from) = receive(socket, &mut back).unwrap();
            assert_eq!(from, at[0]);
            assert!(back[..len] == noise(100, i));
        }
    };
    let report = serve_after(&[V4], Settings::default(), send, receive);
    assert_eq!(report.tally.datagrams, count as u64);
    assert!(report.tally.starved > 0, "{report}");
}
