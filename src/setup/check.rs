//! What is refused before the kernel is asked.

use super::error::SetupError;
use super::flags::setup_flag;
use super::open::Mode;
use crate::abi::setup;

const MAX_ENTRIES: u32 = 32768;
const MAX_CQ_ENTRIES: u32 = 2 * MAX_ENTRIES;

/// Refused in every mode.
const NEVER: [(u32, &str); 1] = [(
    setup::SQ_REWIND,
    "slots are claimed by their position, and rewinding would give the same slot out twice",
)];

/// Refused where any thread may enter.
const NOT_SHARED: [(u32, &str); 5] = [
    (
        setup::SINGLE_ISSUER,
        "any thread may enter a shared ring, and the kernel would answer all but one with EEXIST; \
         use build_local",
    ),
    (
        setup::DEFER_TASKRUN,
        "only one thread could wait on the ring; use build_local",
    ),
    (
        setup::COOP_TASKRUN,
        "completions would wait until the thread that submitted enters the kernel again, \
         whoever waits for them; use build_local",
    ),
    (
        setup::TASKRUN_FLAG,
        "it goes with COOP_TASKRUN or DEFER_TASKRUN, which a shared ring cannot have; \
         use build_local",
    ),
    (
        setup::REGISTERED_FD_ONLY,
        "the index of a registered ring means another ring, or none, on every other thread; \
         use build_local",
    ),
];

/// Refused where the thread that will own the ring is not known yet.
const NOT_DISABLED: [(u32, &str); 1] = [(
    setup::REGISTERED_FD_ONLY,
    "the index belongs to the thread that makes the ring, and a disabled ring may be sent to \
     another; use build_local",
)];

/// A flag, and those of which it needs one.
const NEEDS: [(u32, u32, &str); 5] = [
    (setup::DEFER_TASKRUN, setup::SINGLE_ISSUER, "SINGLE_ISSUER"),
    (setup::HYBRID_IOPOLL, setup::IOPOLL, "IOPOLL"),
    (
        setup::TASKRUN_FLAG,
        setup::COOP_TASKRUN | setup::DEFER_TASKRUN,
        "COOP_TASKRUN or DEFER_TASKRUN",
    ),
    (setup::REGISTERED_FD_ONLY, setup::NO_MMAP, "NO_MMAP"),
    (
        setup::SQE_MIXED,
        setup::NO_SQARRAY,
        "Order::Claim (NO_SQARRAY), in which slots that are claimed together lie side by side",
    ),
];

/// Not a flag of setup, but registered with it.
const RING_FDS: &str = "REGISTER_RING_FDS";

const SQPOLL_RUNS: &str = "completions run on the SQPOLL thread";

/// Flags that do not go together.
const EXCLUDES: [(u32, u32, &str); 5] = [
    (setup::DEFER_TASKRUN, setup::SQPOLL, SQPOLL_RUNS),
    (setup::COOP_TASKRUN, setup::SQPOLL, SQPOLL_RUNS),
    (
        setup::CQE32,
        setup::CQE_MIXED,
        "CQEs are either all of 32 bytes or mixed",
    ),
    (
        setup::SQE128,
        setup::SQE_MIXED,
        "SQEs are either all of 128 bytes or mixed",
    ),
    (
        setup::ATTACH_WQ,
        setup::SQPOLL,
        "an SQPOLL thread that rings share takes 8 SQEs of each at a time, and cuts link chains there",
    ),
];

/// Refuses flags that the mode cannot have, or that contradict each other.
pub(super) fn flags(flags: u32, mode: Mode) -> Result<(), SetupError> {
    refuse(flags, &NEVER)?;
    if mode == Mode::Shared {
        refuse(flags, &NOT_SHARED)?;
    }
    if flags & setup::R_DISABLED != 0 {
        refuse(flags, &NOT_DISABLED)?;
    }
    for (flag, any_of, needs) in NEEDS {
        if flags & flag != 0 && flags & any_of == 0 {
            return Err(SetupError::Needs {
                flag: setup_flag(flag).name,
                needs,
            });
        }
    }
    for (flag, other, reason) in EXCLUDES {
        if flags & flag != 0 && flags & other != 0 {
            return Err(SetupError::Excludes {
                flag: setup_flag(flag).name,
                other: setup_flag(other).name,
                reason,
            });
        }
    }
    Ok(())
}

/// Refuses to register the ring's descriptor where that means nothing.
pub(super) fn registered_fd(asked: bool, flags: u32, mode: Mode) -> Result<(), SetupError> {
    if asked && mode == Mode::Shared {
        return Err(SetupError::Refused {
            flag: RING_FDS,
            reason: "an index means something on one thread only; \
                     have each thread call Ring::register_ring_fd, or use build_local",
        });
    }
    if asked && flags & setup::REGISTERED_FD_ONLY != 0 {
        return Err(SetupError::Excludes {
            flag: RING_FDS,
            other: setup_flag(setup::REGISTERED_FD_ONLY).name,
            reason: "the ring has an index already, and no descriptor to register",
        });
    }
    Ok(())
}

/// Refuses a ring without SUBMIT_ALL where threads share it.
pub(super) fn legacy(flags: u32, mode: Mode) -> Result<(), SetupError> {
    if flags & setup::SUBMIT_ALL == 0 && mode == Mode::Shared {
        return Err(SetupError::Refused {
            flag: "legacy",
            reason: "without SUBMIT_ALL one thread's refused SQE would hold up what others \
                     submit; use build_local",
        });
    }
    Ok(())
}

fn refuse(flags: u32, refused: &[(u32, &'static str)]) -> Result<(), SetupError> {
    match refused.iter().find(|(flag, _)| flags & flag != 0) {
        Some((flag, reason)) => Err(SetupError::Refused {
            flag: setup_flag(*flag).name,
            reason,
        }),
        None => Ok(()),
    }
}

pub(crate) fn passes(max_passes: u32) -> Result<(), SetupError> {
    match max_passes {
        0 => Err(SetupError::TooFew {
            argument: "max_passes",
            given: 0,
            min: 1,
            reason: "a submit enters the kernel",
        }),
        _ => Ok(()),
    }
}

/// The entries that the kernel will give: SQ, then CQ.
pub(crate) fn entries(
    entries: u32,
    cq_entries: Option<u32>,
    flags: u32,
) -> Result<(u32, u32), SetupError> {
    let clamp = flags & setup::CLAMP != 0;
    let sq = count("entries", entries, MAX_ENTRIES, clamp)?;
    let too_few_slots = |argument, given, reason| SetupError::TooFew {
        argument,
        given,
        min: 2,
        reason,
    };
    if sq < 2 && flags & setup::SQE_MIXED != 0 {
        let reason = "with SQE_MIXED an SQE may take two slots";
        return Err(too_few_slots("entries", entries, reason));
    }
    let Some(cq_entries) = cq_entries else {
        return Ok((sq, 2 * sq));
    };
    let cq = count("cq_entries", cq_entries, MAX_CQ_ENTRIES, clamp)?;
    if cq < sq {
        return Err(SetupError::TooFew {
            argument: "cq_entries",
            given: cq_entries,
            min: sq,
            reason: "the CQ is at least as large as the SQ",
        });
    }
    if cq < 2 && flags & setup::CQE_MIXED != 0 {
        let reason = "with CQE_MIXED a CQE may take two slots";
        return Err(too_few_slots("cq_entries", cq_entries, reason));
    }
    Ok((sq, cq))
}

fn count(argument: &'static str, given: u32, max: u32, clamp: bool) -> Result<u32, SetupError> {
    if given == 0 {
        return Err(SetupError::TooFew {
            argument,
            given,
            min: 1,
            reason: "a queue holds at least one entry",
        });
    }
    if given > max {
        return if clamp {
            Ok(max)
        } else {
            Err(SetupError::TooMany {
                argument,
                given,
                max,
            })
        };
    }
    if !given.is_power_of_two() {
        return Err(SetupError::NotPowerOfTwo {
            argument,
            given,
            next: given.next_power_of_two(),
        });
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 2] = [Mode::Shared, Mode::Local];

    /// The flag that is refused, or that needs or excludes another.
    fn named(error: SetupError) -> (&'static str, &'static str) {
        match error {
            SetupError::Refused { flag, reason } => {
                assert!(reason.len() > 20, "{flag} is refused without a reason");
                (flag, "refused")
            }
            SetupError::Needs { flag, needs } => (flag, needs),
            SetupError::Excludes { flag, other, .. } => (flag, other),
            other => panic!("{other}"),
        }
    }

    #[track_caller]
    fn refused(bits: u32, mode: Mode, expected: (&str, &str)) {
        let error = flags(bits, mode).expect_err("was accepted");
        assert_eq!(named(error), expected, "{mode:?}");
    }

    #[test]
    fn refusals_depend_on_the_mode() {
        for mode in MODES {
            refused(setup::SQ_REWIND, mode, ("SQ_REWIND", "refused"));
        }
        for (bits, name) in [
            (setup::SINGLE_ISSUER, "SINGLE_ISSUER"),
            (setup::COOP_TASKRUN, "COOP_TASKRUN"),
            (
                setup::REGISTERED_FD_ONLY | setup::NO_MMAP,
                "REGISTERED_FD_ONLY",
            ),
        ] {
            refused(bits, Mode::Shared, (name, "refused"));
            assert_eq!(flags(bits, Mode::Local), Ok(()));
        }
        // Alone these two would need another flag: the mode comes first.
        refused(
            setup::DEFER_TASKRUN,
            Mode::Shared,
            ("DEFER_TASKRUN", "refused"),
        );
        refused(
            setup::TASKRUN_FLAG,
            Mode::Shared,
            ("TASKRUN_FLAG", "refused"),
        );

        // Not known at setup: who will enable the ring.
        let disabled = |flags| flags | setup::R_DISABLED;
        let registered = disabled(setup::REGISTERED_FD_ONLY | setup::NO_MMAP);
        refused(registered, Mode::Local, ("REGISTERED_FD_ONLY", "refused"));
        let deferred = disabled(setup::SINGLE_ISSUER | setup::DEFER_TASKRUN);
        assert_eq!(flags(deferred, Mode::Local), Ok(()));
        refused(deferred, Mode::Shared, ("SINGLE_ISSUER", "refused"));
    }

    #[test]
    fn contradictions_name_both_flags() {
        let local = |bits, expected| refused(bits, Mode::Local, expected);
        local(setup::DEFER_TASKRUN, ("DEFER_TASKRUN", "SINGLE_ISSUER"));
        local(setup::HYBRID_IOPOLL, ("HYBRID_IOPOLL", "IOPOLL"));
        local(
            setup::TASKRUN_FLAG,
            ("TASKRUN_FLAG", "COOP_TASKRUN or DEFER_TASKRUN"),
        );
        local(setup::REGISTERED_FD_ONLY, ("REGISTERED_FD_ONLY", "NO_MMAP"));
        local(
            setup::DEFER_TASKRUN | setup::SINGLE_ISSUER | setup::SQPOLL,
            ("DEFER_TASKRUN", "SQPOLL"),
        );
        local(
            setup::COOP_TASKRUN | setup::SQPOLL,
            ("COOP_TASKRUN", "SQPOLL"),
        );
        local(setup::CQE32 | setup::CQE_MIXED, ("CQE32", "CQE_MIXED"));
        local(setup::SQPOLL | setup::ATTACH_WQ, ("ATTACH_WQ", "SQPOLL"));
        let mixed = setup::SQE_MIXED | setup::NO_SQARRAY;
        local(setup::SQE128 | mixed, ("SQE128", "SQE_MIXED"));
        let error = flags(setup::SQE_MIXED, Mode::Shared).expect_err("was accepted");
        assert!(named(error).1.starts_with("Order::Claim"));
    }

    #[test]
    fn the_descriptor_is_registered_where_it_stays_on_a_thread() {
        let only = setup::REGISTERED_FD_ONLY;
        let check = |asked, flags, mode| registered_fd(asked, flags, mode).map_err(named);
        assert_eq!(check(true, 0, Mode::Local), Ok(()));
        assert_eq!(check(false, only, Mode::Local), Ok(()));
        assert_eq!(check(false, 0, Mode::Shared), Ok(()));
        let refused = (RING_FDS, "refused");
        assert_eq!(check(true, 0, Mode::Shared), Err(refused));
        let excluded = (RING_FDS, "REGISTERED_FD_ONLY");
        assert_eq!(check(true, only, Mode::Local), Err(excluded));
    }

    #[test]
    fn a_legacy_ring_is_local() {
        let check = |flags, mode| legacy(flags, mode).map_err(named);
        assert_eq!(check(0, Mode::Shared), Err(("legacy", "refused")));
        assert_eq!(check(setup::SUBMIT_ALL, Mode::Shared), Ok(()));
        assert_eq!(check(0, Mode::Local), Ok(()));
    }

    #[test]
    fn what_goes_together_is_accepted() {
        let taskrun = setup::TASKRUN_FLAG;
        for bits in [
            0,
            setup::IOPOLL | setup::HYBRID_IOPOLL,
            setup::SQPOLL | setup::SQ_AFF,
            setup::IOPOLL | setup::ATTACH_WQ,
            setup::SQE128 | setup::CQE32 | setup::NO_MMAP | setup::NO_SQARRAY,
            setup::CQE_MIXED,
            setup::SQE_MIXED | setup::NO_SQARRAY,
        ] {
            for mode in MODES {
                assert_eq!(flags(bits, mode), Ok(()), "{bits:#x}");
            }
        }
        for bits in [
            taskrun | setup::COOP_TASKRUN,
            taskrun | setup::DEFER_TASKRUN | setup::SINGLE_ISSUER,
            setup::SINGLE_ISSUER | setup::SQPOLL,
        ] {
            assert_eq!(flags(bits, Mode::Local), Ok(()), "{bits:#x}");
        }
    }

    #[test]
    fn sizes_name_their_argument() {
        let ask = |sq, cq| entries(sq, cq, 0).map_err(|error| error.to_string());
        assert_eq!(ask(1, None), Ok((1, 2)));
        assert_eq!(ask(32768, None), Ok((32768, 65536)));
        assert_eq!(ask(8, Some(8)), Ok((8, 8)));
        assert_eq!(ask(8, Some(65536)), Ok((8, 65536)));

        let refused = |sq, cq, parts: &[&str]| {
            let text = ask(sq, cq).expect_err("was accepted");
            for part in parts {
                assert!(text.contains(part), "{text}");
            }
        };
        refused(0, None, &["entries is 0", "at least 1"]);
        refused(3, None, &["entries is 3", "ask for 4"]);
        refused(32767, None, &["ask for 32768"]);
        refused(32769, None, &["entries is 32769", "at most 32768"]);
        refused(u32::MAX, None, &["at most 32768"]);
        refused(8, Some(0), &["cq_entries is 0", "at least 1"]);
        refused(8, Some(12), &["cq_entries is 12", "ask for 16"]);
        refused(8, Some(4), &["cq_entries is 4", "at least 8"]);
        refused(8, Some(65537), &["cq_entries is 65537", "at most 65536"]);
        assert_eq!(entries(1, Some(1), 0), Ok((1, 1)));
        let mixed = entries(1, Some(1), setup::CQE_MIXED);
        assert!(mixed.is_err_and(|error| error.to_string().contains("at least 2")));
        let mixed = entries(1, None, setup::SQE_MIXED | setup::NO_SQARRAY);
        assert!(mixed.is_err_and(|error| error.to_string().contains("at least 2")));
    }

    #[test]
    fn clamp_lowers_what_is_too_large_and_nothing_else() {
        let clamped = |sq, cq| entries(sq, cq, setup::CLAMP);
        assert_eq!(clamped(40000, None), Ok((32768, 65536)));
        assert_eq!(clamped(u32::MAX, Some(u32::MAX)), Ok((32768, 65536)));
        assert_eq!(clamped(64, Some(100_000)), Ok((64, 65536)));
        assert!(clamped(3, None).is_err());
        assert!(clamped(0, None).is_err());
        // Compared after clamping: 65536 entries become 32768.
        assert_eq!(clamped(65536, Some(32768)), Ok((32768, 32768)));
    }
}
