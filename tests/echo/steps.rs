//! What a connection needs next, one step at a time.

use super::*;
use client::noise;
use ringway::Ring;
use ringway::pool::{Driver, Event, Op, OpId, Outcome};
use std::io::Read;
use stream::{BACKLOG, Step, Stream};

struct Bench {
    driver: Driver,
    stream: Stream,
    peer: TcpStream,
}

fn bench() -> Bench {
    let listener = TcpListener::bind(V4).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(client::PATIENCE)).unwrap();
    let (socket, _) = listener.accept().unwrap();
    set(&socket, libc::SO_SNDBUF, 1);
    let ring = Ring::builder(8).build().unwrap();
    Bench {
        driver: Driver::builder().build(ring).unwrap(),
        stream: Stream::new(socket),
        peer,
    }
}

impl Bench {
    fn submit(&self, op: Op) -> OpId {
        self.driver.try_submit(op).unwrap()
    }

    fn outcome(&self) -> Outcome {
        let mut found = None;
        while found.is_none() {
            let take = |event| match event {
                Event::Completed(completion) => found = Some(completion.outcome()),
                Event::Stale(cqe) => panic!("{cqe:?}"),
            };
            self.driver.wait_reap(Some(client::PATIENCE), take).unwrap();
        }
        found.unwrap()
    }
}

#[test]
fn a_send_that_took_a_part_is_resumed() {
    let mut bench = bench();
    let data = noise(5 << 20, 1);
    bench.stream.received(&data);
    let mut sends = 0;
    let mut back = Vec::new();
    bench.peer.set_nonblocking(true).unwrap();
    while bench.stream.next() == Step::Send {
        bench.submit(bench.stream.send(1));
        bench.stream.is_sending();
        sends += 1;
        let Outcome::Done(count) = bench.outcome() else {
            panic!("a send failed")
        };
        bench.stream.has_sent(count);
        // Makes room for the next. It ends when there is nothing yet.
        let _ = bench.peer.read_to_end(&mut back);
    }
    assert!(sends > 1, "the kernel took it all at once");
    bench.peer.set_nonblocking(false).unwrap();
    let mut rest = vec![0; data.len() - back.len()];
    bench.peer.read_exact(&mut rest).unwrap();
    back.extend(rest);
    assert!(back == data);
}

#[test]
fn a_backlog_pauses_receiving() {
    let mut bench = bench();
    let stream = &mut bench.stream;
    assert_eq!(stream.next(), Step::Receive);
    let op = bench.driver.try_submit(stream.receive(0, 1)).unwrap();
    stream.is_receiving(op);
    assert_eq!(stream.next(), Step::Wait);

    // The first goes out, the rest must wait for it.
    stream.received(b"first");
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    stream.received(&vec![0; BACKLOG - 1]);
    assert_eq!(stream.next(), Step::Wait);
    stream.received(b"!");
    assert_eq!(stream.next(), Step::Pause(op));
    assert_eq!(stream.next(), Step::Wait, "it is asked once");
    stream.has_received();
    assert_eq!(stream.next(), Step::Wait, "the client still does not read");
    assert!(!stream.has_sent(3));
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    assert_eq!(stream.next(), Step::Wait);
    assert!(stream.has_sent(2));
    assert_eq!(stream.next(), Step::Send, "the backlog is next");
    stream.is_sending();
    assert_eq!(stream.next(), Step::Receive);
}

#[test]
fn an_ended_stream_closes_when_all_is_sent() {
    let mut bench = bench();
    let stream = &mut bench.stream;
    stream.received(b"last");
    stream.was_ended();
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    assert_eq!(stream.next(), Step::Wait);
    assert!(!stream.has_sent(1));
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    assert!(stream.has_sent(3));
    assert_eq!(stream.next(), Step::Close);
}

#[test]
fn a_broken_stream_closes_when_nothing_is_in_flight() {
    let mut bench = bench();
    let stream = &mut bench.stream;
    let op = bench.driver.try_submit(stream.receive(0, 1)).unwrap();
    stream.is_receiving(op);
    stream.received(b"never sent");
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    assert!(stream.has_failed());
    assert!(!stream.broke(), "once is enough");
    assert_eq!(stream.next(), Step::Pause(op));
    assert_eq!(stream.next(), Step::Wait);
    stream.received(b"too late");
    stream.has_received();
    assert_eq!(stream.next(), Step::Close);

    // The other way round: the receive ends first.
    let mut bench = self::bench();
    let stream = &mut bench.stream;
    stream.received(b"in flight");
    assert_eq!(stream.next(), Step::Send);
    stream.is_sending();
    assert!(stream.broke());
    assert_eq!(stream.next(), Step::Wait, "the kernel reads its memory");
    stream.has_failed();
    assert_eq!(stream.next(), Step::Close);
}
