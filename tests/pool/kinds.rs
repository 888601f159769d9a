//! Operations of every kind: batches, chains, several CQEs, the polling form, cancels.

use super::*;
use ringway::pool::{Outcome, Refusal};
use ringway::prep::{PollFlags, SendFlags, TimeoutFlags, Timespec};
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

fn sqe(prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) -> Sqe {
    let mut sqe = Sqe::default();
    prep(&mut sqe);
    sqe
}

fn plain(user_data: u64) -> Sqe {
    // SAFETY: a NOP names nothing.
    sqe(|sqe| unsafe { sqe.prep_nop() }.user_data(user_data))
}

fn read(file: &impl std::os::fd::AsFd, len: usize, user_data: u64) -> Sqe {
    let buf = vec![0; len].leak();
    // SAFETY: the buffer is leaked, and the caller keeps the file.
    sqe(|sqe| unsafe { sqe.prep_read(file, buf.as_mut_ptr(), len as u32, 0) }.user_data(user_data))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (stream, listener.accept().unwrap().0)
}

fn send_zc(stream: &TcpStream, bytes: &'static [u8], how: SendFlags) -> Sqe {
    let (buf, len) = (bytes.as_ptr(), bytes.len() as u32);
    // SAFETY: the bytes are constant, and the caller keeps the socket.
    sqe(|sqe| unsafe { sqe.prep_send_zc(stream, buf, len, 0, how) }.user_data(3))
}

#[test]
fn a_batch_is_all_or_nothing() {
    let driver = driver(8, 16, Driver::builder().permits(3));
    driver.try_submit(nop(1)).unwrap();
    let refused = driver.try_submit_batch([1, 2, 3].map(plain)).unwrap_err();
    assert_eq!((refused.why, driver.in_flight()), (Refusal::Full, 1));
    next(&driver);
    let ids = driver.try_submit_batch(refused.op).unwrap();
    let told = next_of::<3>(&driver).map(|told| (told.op(), told.user_data()));
    assert_eq!(told, [(ids[0], 1), (ids[1], 2), (ids[2], 3)]);
    // Linked: the first fails, the second is cancelled, and each says so.
    let (_reader, writer) = pipe().unwrap();
    let mut bad = read(&writer, 1, 5);
    bad.link();
    let ids = driver.try_submit_batch([bad, plain(6)]).unwrap();
    let mut told = next_of::<2>(&driver).map(|told| (told.op() == ids[0], told.outcome()));
    told.sort_by_key(|told| !told.0);
    assert!(matches!(told[0].1, Outcome::Failed(_)), "{told:?}");
    assert_eq!(told[1], (false, Outcome::Cancelled));
    // Each posts two CQEs.
    let driver = self::driver(8, 16, Driver::builder().permits(5));
    let (stream, mut peer) = tcp();
    let send = || send_zc(&stream, b"twice", SendFlags::NONE);
    driver.try_submit_batch([send(), plain(4), send()]).unwrap();
    assert_eq!(driver.in_flight(), 5);
    next_of::<5>(&driver);
    assert_eq!(driver.in_flight(), 0);
    peer.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn a_chain_is_one_operation() {
    let driver = driver(8, 16, Driver::builder().permits(1));
    let (mut reader, writer) = pipe().unwrap();
    let write = |bytes: &'static [u8]| {
        let len = bytes.len() as u32;
        // SAFETY: the bytes are constant, and the pipe is kept.
        sqe(|sqe| unsafe { sqe.prep_write(&writer, bytes.as_ptr(), len, 0) })
    };
    let mut last = write(b"three");
    last.user_data(9);
    let chain = [write(b"one "), write(b"two "), last];
    let id = driver.try_submit_chain(chain).unwrap();
    assert_eq!(driver.in_flight(), 1);
    let told = next(&driver);
    assert_eq!((told.op(), told.user_data()), (id, 9));
    assert_eq!((told.outcome(), told.member()), (Outcome::Done(5), 2));
    let mut bytes = [0; 13];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one two three");
    // The second fails: its answer is the chain's, and the third never runs.
    let (_reader, other) = pipe().unwrap();
    let chain = [write(b"a"), read(&other, 1, 0), write(b"c")];
    driver.try_submit_chain(chain).unwrap();
    let told = next(&driver);
    assert_eq!((told.member(), told.is_last()), (1, true));
    assert!(matches!(told.outcome(), Outcome::Failed(errno) if errno.raw() == libc::EBADF));
    let mut one = [0; 1];
    reader.read_exact(&mut one).unwrap();
    assert_eq!((&one, driver.in_flight()), (b"a", 0));
    let stats = driver.stats();
    assert_eq!((stats.stale, stats.cqes), (0, 2));
    // Cancelled while its second waits.
    let (empty, _writer) = pipe().unwrap();
    let id = driver
        .try_submit_chain([plain(1), read(&empty, 1, 2), plain(3)])
        .unwrap();
    driver.cancel(id);
    let told = next(&driver);
    assert_eq!((told.op(), told.member()), (id, 1));
    assert_eq!(
        (told.outcome(), driver.in_flight()),
        (Outcome::Cancelled, 0)
    );
}

#[test]
fn a_chain_posts_what_its_last_operation_posts() {
    let driver = driver(8, 16, Driver::builder());
    let (stream, _peer) = tcp();
    let send = || send_zc(&stream, b"last", SendFlags::NONE);
    driver.try_submit_chain([plain(1), send()]).unwrap();
    assert_eq!(driver.in_flight(), 2);
    let told = next_of::<2>(&driver).map(|told| (told.member(), told.is_last()));
    assert_eq!((told, driver.in_flight()), ([(1, false), (1, true)], 0));
    // Before the last one the kernel does not take it, and begins none of them.
    let (mut reader, writer) = pipe().unwrap();
    // SAFETY: the byte is constant, and the pipe is kept.
    let first = sqe(|sqe| unsafe { sqe.prep_write(&writer, b"!".as_ptr(), 1, 0) });
    driver.try_submit_chain([first, send(), plain(2)]).unwrap();
    let told = next(&driver);
    assert_eq!((told.outcome(), told.member()), (Outcome::Cancelled, 0));
    assert!(told.is_last());
    driver.try_submit(nop(3)).unwrap();
    assert_eq!(next(&driver).user_data(), 3);
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
    drop(writer);
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
}

/// A time limit of an operation, as a part of a batch or chain of the user's own.
fn link_timeout(time: &'static Timespec, user_data: u64) -> Sqe {
    sqe(|sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_link_timeout(time, TimeoutFlags::NONE) }.user_data(user_data)
    })
}

#[test]
fn a_link_timeout_has_its_own_name_or_is_refused() {
    static SOON: Timespec = Timespec::new(0, 10_000_000);
    let driver = driver(8, 16, Driver::builder());
    let (reader, _writer) = pipe().unwrap();
    let mut limited = read(&reader, 1, 1);
    limited.link();
    let batch = [limited, link_timeout(&SOON, 2)];
    driver.try_submit_batch(batch).unwrap();
    let mut told = next_of::<2>(&driver).map(|told| (told.user_data(), told.outcome()));
    told.sort_by_key(|told| told.0);
    assert_eq!(told, [(1, Outcome::Cancelled), (2, Outcome::TimedOut)]);
    for at_the_end in [true, false] {
        let chain = match at_the_end {
            true => [plain(1), read(&reader, 1, 2), link_timeout(&SOON, 3)],
            false => [read(&reader, 1, 1), link_timeout(&SOON, 2), plain(3)],
        };
        let refused = driver.try_submit_chain(chain).unwrap_err();
        assert_eq!(refused.why, Refusal::LinkTimeout);
    }
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
}

/// What is pushed next may be anybody's.
#[test]
fn what_links_to_the_unknown_is_refused() {
    let driver = driver(8, 16, Driver::builder());
    for link in [Sqe::link, Sqe::hardlink] {
        let linked = |user_data| {
            let mut sqe = plain(user_data);
            link(&mut sqe);
            sqe
        };
        let refused = driver.try_submit(linked(1)).unwrap_err();
        assert_eq!(refused.why, Refusal::Linked);
        let timed = refused.op.deadline(LOST);
        assert_eq!(driver.try_submit(timed).unwrap_err().why, Refusal::Linked);
        let batch = [linked(1), linked(2)];
        let refused = driver.try_submit_batch(batch).unwrap_err();
        assert_eq!((refused.why, driver.in_flight()), (Refusal::Linked, 0));
        // A chain is linked, and ends, by itself.
        driver.try_submit_chain(refused.op).unwrap();
        assert_eq!(next(&driver).user_data(), 2);
    }
}

/// Also by those that wait for room, which there will never be.
#[test]
fn what_is_too_large_is_refused_for_good() {
    let driver = driver(8, 16, Driver::builder());
    let too_long = |needs, entries| Refusal::TooLong { needs, entries };
    let why = driver.try_submit_batch([0; 9].map(plain)).unwrap_err().why;
    assert_eq!(why, too_long(9, 8));
    let why = driver.try_submit_chain([0; 9].map(plain)).unwrap_err().why;
    assert_eq!(why, too_long(9, 8));
    let few = self::driver(8, 16, Driver::builder().permits(3));
    let why = few.try_submit_batch([0; 4].map(plain)).unwrap_err().why;
    let (needs, total) = (4, 3);
    assert_eq!(why, Refusal::TooHeavy { needs, total });
    let tiny = self::driver(1, 16, Driver::builder());
    tiny.try_submit(nop(1)).unwrap();
    assert_eq!(next(&tiny).user_data(), 1);
    let refused = tiny.submit(nop(2).deadline(LOST), Some(LOST)).unwrap_err();
    assert_eq!(refused.why, too_long(2, 1));
    assert_eq!(refused.to_string(), "needs 2 SQEs of 1: make a larger SQ");
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        tiny.poll_submit(&mut context, &mut Some(refused.op))
            .is_ready()
    );
    for driver in [driver, few, tiny] {
        assert_eq!(driver.in_flight(), 0);
    }
}

#[test]
fn what_posts_no_cqe_is_refused() {
    let driver = driver(8, 16, Driver::builder());
    let mut silent = plain(1);
    silent.skip_success();
    assert_eq!(driver.try_submit(silent).unwrap_err().why, Refusal::NoCqe);
    let heavy = nop(1).cqes(13);
    let why = Refusal::TooHeavy {
        needs: 13,
        total: 12,
    };
    assert_eq!(driver.try_submit(heavy).unwrap_err().why, why);
    assert_eq!(driver.in_flight(), 0);
}

/// Nothing leaves this machine, so that all of it is copied; asked, the notification says so
/// in a number that is no errno.
#[test]
fn a_zero_copy_send_holds_its_permits_until_the_notification() {
    let driver = driver(8, 16, Driver::builder());
    let (stream, mut peer) = tcp();
    let bytes: &'static [u8] = &[7; 4096];
    for (how, usage) in [(SendFlags::NONE, 0), (SendFlags::ZC_REPORT_USAGE, 1 << 31)] {
        driver.try_submit(send_zc(&stream, bytes, how)).unwrap();
        assert_eq!(driver.in_flight(), 2);
        let mut got = vec![0; 4096];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
        let told = next_of::<2>(&driver);
        let said = told.map(|told| (told.sequence(), told.user_data(), told.outcome()));
        let outcomes = [Outcome::Done(4096), Outcome::Done(usage)];
        assert_eq!(said, [(0, 3, outcomes[0]), (1, 3, outcomes[1])]);
        assert!(!told[0].is_last() && told[1].is_last());
        assert!(told[1].cqe().is_notif());
        assert_eq!(driver.in_flight(), 0);
    }
}

#[test]
fn a_multishot_operation_is_one_until_its_last() {
    let driver = driver(8, 16, Driver::builder());
    let (reader, mut writer) = pipe().unwrap();
    let poll = sqe(|sqe| {
        // SAFETY: the pipe is kept until the last completion.
        unsafe { sqe.prep_poll(&reader, libc::POLLIN as u32, PollFlags::MULTI) }.user_data(4)
    });
    let id = driver.try_submit(Op::from(poll).cqes(4)).unwrap();
    for turn in 0..3 {
        writer.write_all(b"!").unwrap();
        let told = next(&driver);
        assert_eq!(
            (told.op(), told.sequence(), told.is_last()),
            (id, turn, false)
        );
        assert_eq!(driver.in_flight(), 4);
    }
    driver.cancel(id);
    let told = next(&driver);
    assert_eq!((told.outcome(), told.is_last()), (Outcome::Cancelled, true));
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_is_woken_when_there_is_room() {
    let driver = driver(8, 16, Driver::builder().permits(1));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let mut op = Some(nop(1));
    assert!(driver.poll_submit(&mut context, &mut op).is_ready());
    let mut op = Some(nop(2));
    assert!(driver.poll_submit(&mut context, &mut op).is_pending());
    assert!(op.is_some());
    assert_eq!(next(&driver).user_data(), 1);
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(matches!(
        driver.poll_submit(&mut context, &mut op),
        Poll::Ready(Ok(_))
    ));
    assert!(op.is_none());
    assert_eq!(next(&driver).user_data(), 2);
}

#[test]
fn cancels_are_of_an_operation_of_a_file_or_of_all() {
    let driver = driver(8, 32, Driver::builder());
    let (one, _one) = pipe().unwrap();
    let (two, _two) = pipe().unwrap();
    let submit = |file, user_data| driver.try_submit(read(file, 1, user_data)).unwrap();
    let first = submit(&one, 1);
    submit(&one, 2);
    submit(&one, 3);
    submit(&two, 4);
    submit(&two, 5);
    driver.cancel(first);
    let told = next(&driver);
    assert_eq!((told.user_data(), told.outcome()), (1, Outcome::Cancelled));
    driver.cancel_file(std::os::fd::AsFd::as_fd(&one)).unwrap();
    let mut told = next_of::<2>(&driver).map(|told| (told.user_data(), told.outcome()));
    told.sort_by_key(|told| told.0);
    assert_eq!(told, [(2, Outcome::Cancelled), (3, Outcome::Cancelled)]);
    assert_eq!(driver.in_flight(), 2);
    driver.cancel_all();
    let mut told = next_of::<2>(&driver).map(|told| told.user_data());
    told.sort_unstable();
    assert_eq!(told, [4, 5]);
    // Of one that has ended: nothing.
    driver.cancel(first);
    driver.try_submit(nop(6)).unwrap();
    assert_eq!(next(&driver).outcome(), Outcome::Done(0));
}

#[test]
fn no_cancel_is_dropped_for_want_of_room() {
    let driver = driver(64, 64, Driver::builder().control_reserve(2));
    let (reader, _writer) = pipe().unwrap();
    let ids: Vec<_> = (0..60)
        .map(|user_data| {
            driver
                .submit(read(&reader, 1, user_data), Some(LOST))
                .unwrap()
        })
        .collect();
    // All SQEs are somebody's: not one request can be sent.
    let sq = driver.ring().sq();
    let batch = sq.pop_batch(64).unwrap();
    ids.iter().for_each(|&id| driver.cancel(id));
    drop(batch);
    driver.flush();
    let mut seen = Vec::new();
    let start = std::time::Instant::now();
    while seen.len() < 60 {
        assert!(
            start.elapsed() < LOST,
            "{} of 60 were cancelled",
            seen.len()
        );
        let take = |event| match event {
            Event::Completed(told) => {
                assert_eq!(told.outcome(), Outcome::Cancelled);
                seen.push(told.user_data());
            }
            Event::Stale(cqe) => panic!("{cqe:?}"),
        };
        driver.wait_reap(Some(LOST), take).unwrap();
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..60));
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(driver.stats().flushes, 0);
}

#[test]
fn what_is_forged_is_told_and_not_believed() {
    let driver = driver(8, 16, Driver::builder());
    let (reader, _writer) = pipe().unwrap();
    let id = driver.try_submit(read(&reader, 1, 7)).unwrap();
    let seen = |driver: &Driver| {
        let mut stale = Vec::new();
        while stale.is_empty() {
            let take = |event| match event {
                Event::Stale(cqe) => stale.push(cqe.user_data()),
                Event::Completed(completion) => panic!("{completion:?}"),
            };
            driver.wait_reap(Some(LOST), take).unwrap();
        }
        stale
    };
    // Another slot, another generation, a deadline that it has not, nobody's kind.
    for forged in [1 | 3 << 4, 1 | 99 << 28, 2 | 1 << 28, u64::MAX, 0] {
        driver.ring().wake(forged).unwrap();
        assert_eq!(seen(&driver), [forged]);
    }
    assert_eq!((driver.in_flight(), driver.stats().stale), (1, 5));
    driver.cancel(id);
    assert_eq!(next(&driver).outcome(), Outcome::Cancelled);
}

/// One that has not begun is cancelled with its batch, or chain, and its notification comes
/// after it has said that nothing does.
#[test]
fn a_zero_copy_send_is_cancelled_with_what_it_is_linked_to() {
    let driver = driver(8, 16, Driver::builder());
    let (stream, _peer) = tcp();
    let (_reader, writer) = pipe().unwrap();
    let send = || send_zc(&stream, b"never", SendFlags::NONE);
    let bad = || read(&writer, 1, 5);
    let mut first = bad();
    first.link();
    driver.try_submit_batch([first, send()]).unwrap();
    let mut told = next_of::<2>(&driver).map(|told| (told.user_data(), told.outcome()));
    told.sort_unstable_by_key(|told| told.0);
    assert_eq!(told[0], (3, Outcome::Cancelled));
    driver.try_submit_chain([bad(), send()]).unwrap();
    let told = next(&driver);
    assert_eq!((told.member(), told.is_last()), (0, true));
    // Whatever is still to come comes before this.
    driver.try_submit(nop(6)).unwrap();
    assert_eq!(next(&driver).user_data(), 6);
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
}
