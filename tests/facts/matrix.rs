//! Who may submit, wait and register: the threads of a process on one ring, for each setup.
//!
//! The crate's types forbid most of this, so the ring here is made, filled and entered by
//! system calls alone. What the types allow is in `tests/register/threads.rs`.

use std::ptr;
use std::sync::atomic::Ordering;
use std::thread;

use super::child::has;
use super::raw_ring::*;

const REGISTER_PROBE: u32 = 8;
const REGISTER_ENABLE_RINGS: u32 = 12;

const OK: Answer = Ok(0);
const DENIED: Answer = Err(libc::EEXIST);
const NOT_ENABLED: Answer = Err(libc::EBADFD);

impl Raw {
    /// Asks for the first two opcodes.
    fn probe(&self) -> Answer {
        let mut probe = [0u8; 16 + 2 * 8];
        let answer = self.register(REGISTER_PROBE, probe.as_mut_ptr().cast(), 2);
        // It counts the opcodes that it told.
        assert_eq!(probe[1], if answer.is_ok() { 2 } else { 0 });
        answer
    }

    fn enable(&self) -> Answer {
        self.register(REGISTER_ENABLE_RINGS, ptr::null_mut(), 0)
    }

    /// What the calling thread may do: submit, wait, register. A NOP that is submitted
    /// completes, and the wait is for it; the completions stay.
    fn asked(&self) -> [Answer; 3] {
        let mut expected = self.ready();
        self.push_nop();
        let submitted = self.submit();
        match submitted {
            Ok(count) => {
                assert_eq!(count, 1);
                expected += 1;
            }
            // The kernel has not taken it: so it is taken out again.
            Err(_) => _ = self.counter(SQ_TAIL).fetch_sub(1, Ordering::Relaxed),
        }
        let waited = self.enter(0, expected, GETEVENTS);
        if waited.is_ok() {
            assert_eq!(self.ready(), expected);
        }
        [submitted.map(|_| 0), waited, self.probe()]
    }
}

/// Who asks, and what has happened by then.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// The thread that made the ring.
    Maker,
    /// Another, before the maker has used it.
    First,
    /// Another, after the maker has used it.
    Other,
    /// Another, after the maker has used it and exited.
    AfterMaker,
    // With R_DISABLED:
    /// The maker, before anybody has enabled it.
    MakerBefore,
    /// Another, before anybody has enabled it.
    OtherBefore,
    /// Another, which has enabled it.
    Enabler,
    /// The maker, after another has enabled it.
    NotEnabler,
    /// The maker, after another has enabled it and exited.
    AfterEnabler,
}

fn asked(setup: u32, who: Who) -> [Answer; 3] {
    let elsewhere = |ring: &Raw, does: fn(&Raw) -> [Answer; 3]| {
        thread::scope(|scope| scope.spawn(|| does(ring)).join().unwrap())
    };
    let enable = |ring: &Raw| {
        assert_eq!(ring.enable(), OK);
        ring.asked()
    };
    let ring = match who {
        Who::Maker | Who::First | Who::Other => Raw::make(params(setup)),
        Who::AfterMaker => {
            let maker = move || {
                let ring = Raw::make(params(setup));
                assert_eq!(ring.asked(), [OK; 3]);
                ring
            };
            thread::spawn(maker).join().unwrap()
        }
        _ => Raw::make(params(setup | R_DISABLED)),
    };
    match who {
        Who::Maker | Who::MakerBefore | Who::AfterMaker => ring.asked(),
        Who::Other => {
            assert_eq!(ring.asked(), [OK; 3]);
            elsewhere(&ring, Raw::asked)
        }
        Who::First | Who::OtherBefore => elsewhere(&ring, Raw::asked),
        Who::Enabler => elsewhere(&ring, enable),
        Who::NotEnabler => thread::scope(|scope| {
            let (asked, done) = std::sync::mpsc::channel::<()>();
            let (enabled, ready) = std::sync::mpsc::channel();
            let ring = &ring;
            scope.spawn(move || {
                enabled.send(enable(ring)).unwrap();
                // Stays until the maker has asked.
                let _ = done.recv();
            });
            assert_eq!(ready.recv().unwrap(), [OK; 3]);
            let answers = ring.asked();
            drop(asked);
            answers
        }),
        Who::AfterEnabler => {
            assert_eq!(elsewhere(&ring, enable), [OK; 3]);
            ring.asked()
        }
    }
}

/// The matrix: who of all threads may submit, wait and register.
#[test]
fn each_setup_and_thread() {
    const ALL: [Answer; 3] = [OK; 3];
    const NONE: [Answer; 3] = [DENIED; 3];
    const WAIT: [Answer; 3] = [DENIED, OK, DENIED];
    const ALL_BUT_REGISTER: [Answer; 3] = [OK, OK, DENIED];
    const REGISTER: [Answer; 3] = [NOT_ENABLED, NOT_ENABLED, OK];
    // What threads may do that are not the ring's.
    let setups = [
        (0, "none", ALL, (5, 10)),
        (SQPOLL, "SQPOLL", ALL, (5, 11)),
        (SINGLE_ISSUER, "SINGLE_ISSUER", WAIT, (6, 0)),
        (
            SINGLE_ISSUER | DEFER_TASKRUN,
            "SINGLE_ISSUER + DEFER_TASKRUN",
            NONE,
            (6, 1),
        ),
        (
            SINGLE_ISSUER | SQPOLL,
            "SINGLE_ISSUER + SQPOLL",
            ALL_BUT_REGISTER,
            (6, 0),
        ),
    ];
    for (setup, name, others, (major, minor)) in setups {
        if !has(major, minor, "matrix::each_setup_and_thread", name) {
            continue;
        }
        for (who, expected) in [
            (Who::Maker, ALL),
            (Who::First, others),
            (Who::Other, others),
            (Who::AfterMaker, others),
            (Who::MakerBefore, REGISTER),
            (Who::OtherBefore, REGISTER),
            (Who::Enabler, ALL),
            (Who::NotEnabler, others),
            (Who::AfterEnabler, others),
        ] {
            assert_eq!(asked(setup, who), expected, "{name}: {who:?}");
        }
    }
    // A ring that defers needs to know to whom.
    assert_eq!(Raw::new(params(DEFER_TASKRUN)).err(), Some(libc::EINVAL));
}
