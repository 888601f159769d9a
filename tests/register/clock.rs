//! The clock that waits go by. What it does to a wait is in `tests/ring/wait_args.rs`.

use std::time::Duration;

use ringway::register::{Clock, Registrar};
use ringway::{Disabled, Errno, Wait, Waited};

use super::child::{has, tried, untried};
use super::*;

const CLOCK: u32 = 29;

#[test]
fn a_clock_is_for_moments_and_for_durations() {
    if !has(6, 12, "a_clock_is_for_moments_and_for_durations", "CLOCK") {
        untried("REGISTER_CLOCK", "it came with Linux 6.12");
        return;
    }
    let local = Ring::builder(8).build_local().unwrap();
    let shared = ring();
    let disabled: Disabled = Ring::builder(8).build_disabled().unwrap();
    for clock in [Clock::Boottime, Clock::Monotonic, Clock::Boottime] {
        for registrar in [local.registrar(), shared.registrar(), disabled.registrar()] {
            assert_eq!(registrar.register_clock(clock), Ok(()));
        }
        let soon = Duration::from_millis(2);
        assert_eq!(
            local.wait_with(1, Wait::new().timeout(soon)),
            Ok(Waited::TimedOut)
        );
        assert_eq!(shared.cq().wait(Some(soon)), Ok(Waited::TimedOut));
        // The machine has run for longer than a nanosecond.
        let past = Wait::new().until(Duration::from_nanos(1));
        assert_eq!(local.wait_with(1, past), Ok(Waited::TimedOut));
    }
    tried("REGISTER_CLOCK");
}

/// Why there are two: the kernel takes no others.
#[test]
fn no_other_clock_is_one() {
    if !has(6, 12, "no_other_clock_is_one", "CLOCK") {
        return;
    }
    let ring = ring();
    let raw = |clock: i32, reserved: u32, nr: u32| {
        let mut request = [clock as u32, 0, 0, reserved];
        let registrar: Registrar<'_> = ring.registrar();
        // SAFETY: the kernel reads 16 bytes during the call.
        unsafe { registrar.register(CLOCK, request.as_mut_ptr().cast(), nr) }
    };
    let refused = Err(Errno::from_raw(libc::EINVAL));
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_TAI,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        -1,
    ] {
        assert_eq!(raw(clock, 0, 0), refused, "{clock}");
    }
    assert_eq!(raw(libc::CLOCK_BOOTTIME, 1, 0), refused);
    assert_eq!(raw(libc::CLOCK_BOOTTIME, 0, 1), refused);
    assert_eq!(raw(libc::CLOCK_BOOTTIME, 0, 0), Ok(0));
}
