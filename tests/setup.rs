//! Setup on the running kernel: what is refused, what works, and what is left
//! behind when a step fails.

mod child;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use child::{forked, has, in_child, linux, patiently, traces};
use ringway::{Builder, Errno, Local, Order, Ring, SetupError, SqPoll, Unavailable};

fn make(builder: Builder<'_>) -> Result<Ring, SetupError> {
    patiently(|| builder.build())
}

fn make_local(builder: Builder<'_>) -> Result<Local, SetupError> {
    patiently(|| builder.build_local())
}

/// More NOPs than the SQ has entries, each seen once.
fn runs(ring: &Ring) {
    let (sq, cq) = (ring.sq(), ring.cq());
    let total = u64::from(ring.sq_entries()) * 2 + 1;
    let mut seen = BTreeSet::new();
    for tag in 0..total {
        let mut slot = sq.pop().expect("a free slot: all before are done");
        // SAFETY: a NOP points to nothing.
        unsafe { slot.prep_nop() }.user_data(tag);
        slot.push();
        sq.submit().expect("submit");
        let cqe = loop {
            match cq.reap() {
                Some(cqe) => break cqe,
                None => drop(cq.wait(None).expect("wait")),
            }
        };
        assert_eq!(cqe.result(), Ok(0));
        assert!(seen.insert(cqe.user_data()));
    }
    assert_eq!(seen, (0..total).collect());
    assert!(cq.reap().is_none());
}

fn runs_locally(ring: &Local) {
    let total = u64::from(ring.sq_entries()) * 2 + 1;
    for tag in 0..total {
        let mut slot = ring.pop().expect("a free slot: all before are done");
        // SAFETY: a NOP points to nothing.
        unsafe { slot.prep_nop() }.user_data(tag);
        slot.push();
        ring.submit_and_wait(1, None).expect("submit");
        let cqe = loop {
            match ring.reap() {
                Some(cqe) => break cqe,
                None => drop(ring.wait(None).expect("wait")),
            }
        };
        assert_eq!((cqe.user_data(), cqe.result()), (tag, Ok(0)));
    }
    assert!(ring.reap().is_none());
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(built: Result<T, SetupError>, parts: &[&str]) {
    let text = built.expect_err("was built").to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn bad_sizes_name_the_argument() {
    for (entries, parts) in [
        (0, ["entries is 0", "at least 1"]),
        (3, ["entries is 3", "ask for 4"]),
        (32769, ["entries is 32769", "at most 32768"]),
        (u32::MAX, ["entries is 4294967295", "at most 32768"]),
    ] {
        refusal(Ring::builder(entries).build(), &parts);
        refusal(Ring::builder(entries).build_local(), &parts);
        refusal(Ring::builder(entries).build_disabled(), &parts);
    }
    for (cq_entries, parts) in [
        (0, ["cq_entries is 0", "at least 1"]),
        (4, ["cq_entries is 4", "at least 8"]),
        (9, ["cq_entries is 9", "ask for 16"]),
        (65537, ["cq_entries is 65537", "at most 65536"]),
    ] {
        refusal(Ring::builder(8).cq_entries(cq_entries).build(), &parts);
    }
    let parts = ["max_passes is 0", "at least 1"];
    refusal(Ring::builder(8).max_passes(0).build(), &parts);
}

#[test]
fn sizes_are_the_kernels_answer() {
    let sizes = |builder: Builder<'_>| {
        let ring = make(builder).unwrap();
        (ring.sq_entries(), ring.cq_entries())
    };
    assert_eq!(sizes(Ring::builder(1)), (1, 2));
    assert_eq!(sizes(Ring::builder(64)), (64, 128));
    assert_eq!(sizes(Ring::builder(64).cq_entries(64)), (64, 64));
    assert_eq!(sizes(Ring::builder(64).cq_entries(4096)), (64, 4096));
    assert_eq!(sizes(Ring::builder(32768)), (32768, 65536));
    assert_eq!(sizes(Ring::builder(100_000).clamp()), (32768, 65536));
    let clamped = Ring::builder(8).cq_entries(1 << 20).clamp();
    assert_eq!(sizes(clamped), (8, 65536));
    if has(6, 10, "sizes_are_the_kernels_answer", "NO_MMAP of any size") {
        let own = Ring::builder(100_000).clamp().no_mmap();
        assert_eq!(sizes(own), (32768, 65536));
    }
}

#[test]
fn flags_of_one_thread_are_refused_when_shared() {
    type Set = fn(Builder<'_>) -> Builder<'_>;
    let flags: [(&str, Set); 5] = [
        ("SINGLE_ISSUER is refused", |b| b.single_issuer()),
        ("DEFER_TASKRUN is refused", |b| b.defer_taskrun()),
        ("COOP_TASKRUN is refused", |b| b.coop_taskrun()),
        ("TASKRUN_FLAG is refused", |b| b.taskrun_flag()),
        ("REGISTERED_FD_ONLY is refused", |b| {
            b.no_mmap().registered_fd_only()
        }),
    ];
    for (text, set) in flags {
        refusal(set(Ring::builder(8)).build(), &[text, "use build_local"]);
    }
    for build in [
        |b: Builder<'_>| b.build().map(drop),
        |b: Builder<'_>| b.build_local().map(drop),
        |b: Builder<'_>| b.build_disabled().map(drop),
    ] {
        let rewind = Ring::builder(8).order(Order::Claim).sq_rewind();
        refusal(build(rewind), &["SQ_REWIND is refused", "twice"]);
        let mixed = Ring::builder(8).sqe_mixed();
        refusal(build(mixed), &["SQE_MIXED needs Order::Claim"]);
        let tiny = Ring::builder(1).order(Order::Claim).sqe_mixed();
        refusal(build(tiny), &["entries is 1", "at least 2"]);
    }
}

#[test]
fn contradictions_name_both_flags() {
    let local = |builder: Builder<'_>, parts: &[&str]| refusal(builder.build_local(), parts);
    let base = Ring::builder(8);
    local(base.defer_taskrun(), &["DEFER_TASKRUN needs SINGLE_ISSUER"]);
    local(base.hybrid_iopoll(), &["HYBRID_IOPOLL needs IOPOLL"]);
    local(
        base.taskrun_flag(),
        &["TASKRUN_FLAG needs COOP_TASKRUN or DEFER_TASKRUN"],
    );
    local(
        base.registered_fd_only(),
        &["REGISTERED_FD_ONLY needs NO_MMAP"],
    );
    local(
        base.single_issuer().defer_taskrun().sqpoll(SqPoll::new()),
        &["DEFER_TASKRUN excludes SQPOLL"],
    );
    local(
        base.coop_taskrun().sqpoll(SqPoll::new()),
        &["COOP_TASKRUN excludes SQPOLL"],
    );
    local(base.cqe32().cqe_mixed(), &["CQE32 excludes CQE_MIXED"]);
}

/// What Ringway refuses before asking, the kernel refuses too: no flag is held
/// back that would work.
#[test]
fn the_kernel_refuses_the_same_contradictions() {
    const IOPOLL: u32 = 1;
    const SQPOLL: u32 = 1 << 1;
    const SQ_AFF: u32 = 1 << 2;
    const COOP_TASKRUN: u32 = 1 << 8;
    const TASKRUN_FLAG: u32 = 1 << 9;
    const CQE32: u32 = 1 << 11;
    const SINGLE_ISSUER: u32 = 1 << 12;
    const DEFER_TASKRUN: u32 = 1 << 13;
    const REGISTERED_FD_ONLY: u32 = 1 << 15;
    const HYBRID_IOPOLL: u32 = 1 << 17;
    const CQE_MIXED: u32 = 1 << 18;
    let setup = |flags: u32| {
        let mut params = [0u32; 30];
        params[2] = flags;
        // SAFETY: 120 bytes, the size of `struct io_uring_params`.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, params.as_mut_ptr()) };
        if fd >= 0 {
            // SAFETY: the kernel just opened it, and nobody else knows it.
            unsafe { libc::close(fd as i32) };
            return Ok(());
        }
        match io::Error::last_os_error().raw_os_error().unwrap() {
            libc::ENOMEM => Err(Unavailable::OutOfMemory {
                need: 0,
                limit: None,
            }
            .into()),
            errno => Err(SetupError::Rejected {
                flags,
                errno: Errno::from_raw(errno),
            }),
        }
    };
    let errno = Errno::from_raw(libc::EINVAL);
    for flags in [
        DEFER_TASKRUN,
        HYBRID_IOPOLL,
        TASKRUN_FLAG,
        REGISTERED_FD_ONLY,
        SQ_AFF,
        DEFER_TASKRUN | SINGLE_ISSUER | SQPOLL,
        COOP_TASKRUN | SQPOLL,
        CQE32 | CQE_MIXED,
    ] {
        let rejected = SetupError::Rejected { flags, errno };
        assert_eq!(patiently(|| setup(flags)), Err(rejected));
    }
    for flags in [
        0,
        IOPOLL,
        SQPOLL,
        SQPOLL | SQ_AFF,
        SINGLE_ISSUER | SQPOLL,
        COOP_TASKRUN | TASKRUN_FLAG,
    ] {
        assert_eq!(patiently(|| setup(flags)), Ok(()), "{flags:#x}");
    }
}

/// A builder, the version that its newest flag needs, and that flag's name.
type Case<'a> = (Builder<'a>, (u32, u32), &'a str);

/// Builds what the kernel is new enough for; what it is not is refused by name.
fn each<T: std::fmt::Debug>(
    test: &str,
    cases: &[Case<'_>],
    build: impl Fn(Builder<'_>) -> Result<T, SetupError>,
    run: impl Fn(&T),
) {
    for &(builder, (major, minor), flag) in cases {
        let built = patiently(|| build(builder));
        if has(major, minor, test, flag) {
            run(&built.unwrap_or_else(|error| panic!("{builder:?}: {error}")));
        } else {
            refusal(built, &[&format!("{flag} needs Linux {major}.{minor}")]);
        }
    }
}

#[test]
fn each_flag_works_on_a_shared_ring() {
    let base = Ring::builder(8);
    let other = make(base).unwrap();
    let pinned = SqPoll::new().idle(Duration::from_millis(1)).cpu(a_cpu());
    let cases = [
        (base, (5, 18), "SUBMIT_ALL"),
        (base.order(Order::Claim), (6, 6), "NO_SQARRAY"),
        (base.cq_entries(8), (5, 18), "CQSIZE"),
        (base.clamp(), (5, 18), "CLAMP"),
        (base.sqpoll(SqPoll::new()), (5, 18), "SQPOLL"),
        (base.sqpoll(pinned), (5, 18), "SQ_AFF"),
        (base.iopoll(), (5, 18), "IOPOLL"),
        (base.iopoll().hybrid_iopoll(), (6, 13), "HYBRID_IOPOLL"),
        (base.attach_wq(other.fd().unwrap()), (5, 18), "ATTACH_WQ"),
        (base.sqe128(), (5, 19), "SQE128"),
        (base.cqe32(), (5, 19), "CQE32"),
        (base.cqe_mixed(), (6, 18), "CQE_MIXED"),
        (base.no_mmap(), (6, 5), "NO_MMAP"),
    ];
    let test = "each_flag_works_on_a_shared_ring";
    let mixed = base.order(Order::Claim).sqe_mixed();
    // The first flag that the kernel lacks is named.
    match linux(6, 6) {
        true => each(test, &[(mixed, (6, 19), "SQE_MIXED")], |b| b.build(), runs),
        false => each(test, &[(mixed, (6, 6), "NO_SQARRAY")], |b| b.build(), runs),
    }
    each(test, &cases, |builder| builder.build(), runs);
    each(
        test,
        &cases,
        |builder| builder.build_disabled()?.enable(),
        runs,
    );
}

#[test]
fn each_flag_works_on_a_local_ring() {
    let base = Ring::builder(8);
    let deferred = base.single_issuer().defer_taskrun();
    let cases = [
        (base, (5, 18), "SUBMIT_ALL"),
        (base.coop_taskrun(), (5, 19), "COOP_TASKRUN"),
        (base.coop_taskrun().taskrun_flag(), (5, 19), "TASKRUN_FLAG"),
        (base.single_issuer(), (6, 0), "SINGLE_ISSUER"),
        (
            base.single_issuer().sqpoll(SqPoll::new()),
            (6, 0),
            "SINGLE_ISSUER",
        ),
        (deferred, (6, 1), "DEFER_TASKRUN"),
        (deferred.taskrun_flag(), (6, 1), "DEFER_TASKRUN"),
        (deferred.coop_taskrun(), (6, 1), "DEFER_TASKRUN"),
        (deferred.iopoll(), (6, 1), "DEFER_TASKRUN"),
        (deferred.sqe128().cqe32(), (6, 1), "DEFER_TASKRUN"),
        (deferred.order(Order::Claim), (6, 6), "NO_SQARRAY"),
        (deferred.no_mmap(), (6, 5), "NO_MMAP"),
    ];
    let test = "each_flag_works_on_a_local_ring";
    each(test, &cases, |builder| builder.build_local(), runs_locally);
    each(
        test,
        &cases,
        |builder| builder.build_disabled()?.enable_local(),
        runs_locally,
    );
}

/// Every way of laying out the memory: both orders, both sizes of SQE, all sizes of
/// CQE, the kernel's memory and the process's.
#[test]
fn every_layout_works() {
    type Set = fn(Builder<'_>) -> Builder<'_>;
    let test = "every_layout_works";
    let same: Set = |b| b;
    let mut orders: Vec<Set> = vec![same];
    if has(6, 6, test, "NO_SQARRAY") {
        orders.push(|b| b.order(Order::Claim));
    }
    let sqes: [Set; 2] = [same, |b| b.sqe128()];
    let mut cqes: Vec<Set> = vec![same, |b| b.cqe32()];
    if has(6, 18, test, "CQE_MIXED") {
        cqes.push(|b| b.cqe_mixed());
    }
    let mut memories: Vec<Set> = vec![same];
    if has(6, 10, test, "NO_MMAP of any size") {
        memories.push(|b| b.no_mmap());
    }
    for entries in [1, 2, 128] {
        for order in &orders {
            for sqe in sqes {
                for cqe in &cqes {
                    for memory in &memories {
                        let base = Ring::builder(entries);
                        let builder = memory(cqe(sqe(order(base))));
                        let ring = make(builder).unwrap_or_else(|error| {
                            panic!("{builder:?}: {error}");
                        });
                        runs(&ring);
                    }
                }
            }
        }
    }
}

#[test]
fn a_disabled_ring_belongs_to_the_thread_that_enables_it() {
    let builder = Ring::builder(8).single_issuer().defer_taskrun();
    let disabled = patiently(|| builder.build_disabled()).unwrap();
    thread::spawn(move || runs_locally(&disabled.enable_local().unwrap()))
        .join()
        .unwrap();
    let disabled = patiently(|| builder.build_disabled()).unwrap();
    refusal(disabled.enable(), &["SINGLE_ISSUER is refused"]);
    let registered = Ring::builder(8).no_mmap().registered_fd_only();
    refusal(
        registered.build_disabled(),
        &["REGISTERED_FD_ONLY is refused", "sent to another"],
    );
}

#[test]
fn a_registered_ring_has_no_file_and_gives_its_place_back() {
    let test = "a_registered_ring_has_no_file_and_gives_its_place_back";
    in_child(test, || {
        if !has(6, 5, test, "REGISTERED_FD_ONLY") {
            return;
        }
        let build = || {
            let builder = Ring::builder(8).no_mmap().registered_fd_only();
            make_local(builder)
        };
        let (files, shared) = traces();
        let mut rings: Vec<Local> = (0..16).map(|_| build().unwrap()).collect();
        assert!(rings.iter().all(|ring| ring.fd().is_none()));
        assert_eq!(traces().0, files);
        assert_eq!(traces().1.len(), shared.len() + 2 * 16);
        rings.iter().for_each(runs_locally);
        assert!(rings[3].probe().unwrap().supports(0));

        refusal(build(), &["REGISTERED_FD_ONLY", "16 registered rings"]);
        drop(rings.swap_remove(5));
        runs_locally(&build().expect("the place that was given back"));
        // It was that one's place, and no other's.
        rings.iter().for_each(runs_locally);
        drop(rings);
        assert_eq!(traces(), (files, shared));
    });
}

/// A CPU that this process may run on.
fn a_cpu() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    let last = list.trim().rsplit([',', '-']).next().unwrap();
    last.parse().unwrap()
}

/// The status files of this process's SQPOLL threads.
fn sqpoll_threads() -> Vec<String> {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap().path().join("status"))
        .filter_map(|status| fs::read_to_string(status).ok())
        .filter(|status| status.starts_with("Name:\tiou-sqp-"))
        .collect()
}

#[test]
fn sqpoll_runs_on_its_cpu_and_is_not_shared() {
    in_child("sqpoll_runs_on_its_cpu_and_is_not_shared", || {
        let cpu = a_cpu();
        let base = Ring::builder(8);
        let first = make(base.sqpoll(SqPoll::new().cpu(cpu))).unwrap();
        // It names and pins itself before it takes its first SQE.
        runs(&first);
        let threads = sqpoll_threads();
        assert_eq!(threads.len(), 1);
        let pinned = format!("Cpus_allowed_list:\t{cpu}\n");
        assert!(threads[0].contains(&pinned), "{}", threads[0]);

        let sqpoll = base.sqpoll(SqPoll::new());
        refusal(
            sqpoll.attach_wq(first.fd().unwrap()).build(),
            &["ATTACH_WQ excludes SQPOLL", "link chains"],
        );
        let alone = make(sqpoll).unwrap();
        runs(&alone);
        assert_eq!(sqpoll_threads().len(), 2);

        let nowhere = make(base.sqpoll(SqPoll::new().cpu(1_000_000)));
        refusal(nowhere, &["SQ_AFF", "no CPU 1000000"]);
    });
}

#[test]
fn a_bad_attach_fd_is_named() {
    in_child("a_bad_attach_fd_is_named", || {
        let base = Ring::builder(8);
        let file = fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        refusal(make(base.attach_wq(file.as_fd())), &["attach_wq", "EINVAL"]);
        drop(file);
        // SAFETY: dead is what it has to be; no other thread opens files here.
        let dead = unsafe { BorrowedFd::borrow_raw(number) };
        let built = make(base.attach_wq(dead));
        let errno = Errno::from_raw(libc::ENXIO);
        assert_eq!(built.as_ref().unwrap_err(), &SetupError::AttachWq { errno });
        refusal(built, &["attach_wq", "ENXIO"]);
    });
}

#[test]
fn features_and_opcodes_are_readable() {
    const READ: u8 = 22;
    let ring = make(Ring::builder(8)).unwrap();
    let features = ring.features();
    assert!(features.single_mmap() && features.nodrop() && features.ext_arg());
    assert!(features.submit_stable() && features.cqe_skip());
    assert_eq!(features.no_iowait(), linux(6, 15));
    assert!(format!("{features:?}").contains("EXT_ARG"));

    let probe = ring.probe().unwrap();
    assert!(probe.supports(0) && probe.supports(READ));
    assert!(!probe.supports(255));
    let all: Vec<u8> = probe.iter().collect();
    assert!(all.len() > 40 && all.is_sorted());
    let local = make_local(Ring::builder(8)).unwrap();
    assert_eq!(local.probe(), Ok(probe));
    assert_eq!(local.features(), features);
}

/// Address and length of the shared mappings of this process.
fn shared_mappings() -> Vec<(usize, usize)> {
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let (_, shared) = traces();
    let range = |line: &String| {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        (hex(start), hex(end) - hex(start))
    };
    shared.iter().map(range).collect()
}

#[test]
fn a_forked_child_has_no_ring_memory_and_an_executed_one_no_fd() {
    let test = "a_forked_child_has_no_ring_memory_and_an_executed_one_no_fd";
    in_child(test, || {
        if !has(6, 5, test, "NO_MMAP") {
            return;
        }
        let before = shared_mappings();
        let kernels = make(Ring::builder(8)).unwrap();
        let own = make(Ring::builder(8).no_mmap()).unwrap();
        let rings: Vec<(usize, usize)> = shared_mappings()
            .into_iter()
            .filter(|mapping| !before.contains(mapping))
            .collect();
        assert_eq!(rings.len(), 4, "two mappings each");
        for ring in [&kernels, &own] {
            let fd = ring.fd().unwrap().as_raw_fd();
            // SAFETY: F_GETFD reads a number.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }

        let mapped = |&(address, len): &(usize, usize)| {
            // SAFETY: msync(2) with MS_ASYNC changes nothing, and says ENOMEM of
            // addresses that are not mapped.
            unsafe { libc::msync(address as *mut _, len, libc::MS_ASYNC) == 0 }
        };
        assert_eq!(rings.iter().filter(|&ring| mapped(ring)).count(), 4);
        let left = || rings.iter().filter(|&ring| mapped(ring)).count() as i32;
        assert_eq!(forked(left), Ok(0), "mappings in the child");
        runs(&kernels);
        runs(&own);
    });
}

#[test]
fn a_thousand_rings_leave_nothing() {
    let test = "a_thousand_rings_leave_nothing";
    in_child(test, || {
        if !has(6, 6, test, "NO_SQARRAY") {
            return;
        }
        let base = traces();
        for _ in 0..250 {
            let builder = Ring::builder(8);
            drop(make(builder).unwrap());
            drop(make(builder.no_mmap().order(Order::Claim)).unwrap());
            drop(patiently(|| builder.build_disabled()).unwrap());
            let local = builder.no_mmap().registered_fd_only();
            drop(make_local(local).unwrap());
        }
        assert_eq!(traces(), base);
    });
}
