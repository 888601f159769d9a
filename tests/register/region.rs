//! Memory regions, and the table of waits in one.

use std::io::Error;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use ringway::register::{RegionFlags, WaitMemory};
use ringway::{EnterError, Errno, Local, Wait, Waited};

use super::child::{has, in_child, traces, tried, untried};
use super::*;

const MEMORIES: [WaitMemory; 2] = [WaitMemory::Kernel, WaitMemory::Process];
const MS: Duration = Duration::from_millis(1);
const LOST: Duration = Duration::from_secs(20);

fn errno<T>(number: i32) -> Result<T, Errno> {
    Err(Errno::from_raw(number))
}

fn page() -> usize {
    // SAFETY: reads a constant.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Anonymous memory that is never unmapped: rings keep it.
fn pages(count: usize, protection: i32) -> NonNull<[u8]> {
    let len = count * page();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    NonNull::slice_from_raw_parts(NonNull::new(at.cast()).unwrap(), len)
}

fn with_waits(count: u32, memory: WaitMemory) -> Local {
    let mut ring = Ring::builder(8).build_disabled().unwrap();
    assert_eq!(ring.register_waits(count, memory), Ok(()));
    ring.enable_local().unwrap()
}

#[test]
fn each_entry_is_a_wait_of_its_own() {
    if !has(6, 13, "each_entry_is_a_wait_of_its_own", "MEM_REGION") {
        for what in ["REGISTER_MEM_REGION", "ENTER_EXT_ARG_REG"] {
            untried(what, "it came with Linux 6.13");
        }
        return;
    }
    // More than a page of them.
    const COUNT: u32 = 300;
    for memory in MEMORIES {
        let ring = with_waits(COUNT, memory);
        assert_eq!(ring.registered_waits(), COUNT);
        let start = Instant::now();
        for index in 0..COUNT {
            assert_eq!(ring.set_wait(index, Wait::new().timeout(2 * LOST)), Ok(()));
        }
        // Each in turn is the short one; an entry that is read in its place is not.
        for index in [0, 1, 63, 64, 127, COUNT - 1] {
            assert_eq!(ring.set_wait(index, Wait::new().timeout(MS)), Ok(()));
            assert_eq!(ring.wait_reg(1, index), Ok(Waited::TimedOut));
            assert_eq!(ring.submit_and_wait_reg(1, index), Ok(Waited::TimedOut));
            let long = Wait::new().timeout(2 * LOST);
            assert_eq!(ring.set_wait(index, long), Ok(()));
        }
        assert!(start.elapsed() < LOST, "another entry was read");
        // What an entry points to lies in nobody's way.
        let mut all = std::mem::MaybeUninit::zeroed();
        // SAFETY: the set is filled before it is read.
        let all = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            all.assume_init()
        };
        let short = Wait::new().timeout(MS).sigmask(&all);
        (0..COUNT).for_each(|index| ring.set_wait(index, short).unwrap());
        for index in 0..COUNT {
            let start = Instant::now();
            assert_eq!(ring.wait_reg(1, index), Ok(Waited::TimedOut));
            assert!(start.elapsed() >= MS);
        }
        // One that was never set, and so has no limit but the completion.
        let ring = with_waits(COUNT, memory);
        ring.pop_batch(2).unwrap().push();
        assert_eq!(ring.submit_and_wait_reg(2, COUNT - 1), Ok(Waited::Maybe));
        assert_eq!(ring.ready(), 2);
    }
    tried("REGISTER_MEM_REGION");
    tried("ENTER_EXT_ARG_REG");
}

#[test]
fn an_index_outside_submits_nothing() {
    if !has(6, 13, "an_index_outside_submits_nothing", "MEM_REGION") {
        return;
    }
    let outside = Err(EnterError::Kernel(Errno::from_raw(libc::EFAULT)));
    let rings = [
        with_waits(3, WaitMemory::Kernel),
        with_waits(3, WaitMemory::Process),
        Ring::builder(8).build_local().unwrap(),
    ];
    for ring in rings {
        let first = ring.registered_waits();
        ring.pop_batch(2).unwrap().push();
        for index in [first, first + 1, 64, u32::MAX] {
            assert_eq!(ring.set_wait(index, Wait::new()), errno(libc::EFAULT));
            assert_eq!(ring.wait_reg(1, index), outside);
            assert_eq!(ring.submit_and_wait_reg(1, index), outside);
        }
        assert_eq!((ring.in_use(), ring.ready()), (2, 0));
        ring.submit().unwrap();
        assert_eq!(ring.ready(), 2);
    }
}

/// What the kernel itself says, and that the flag alone is not enough: the manual page has
/// it make the argument an offset by itself.
#[test]
fn the_kernel_reads_entries_inside_the_region_only() {
    if !has(
        6,
        13,
        "the_kernel_reads_entries_inside_the_region_only",
        "MEM_REGION",
    ) {
        return;
    }
    const GETEVENTS: u32 = 1;
    const EXT_ARG: u32 = 1 << 3;
    const EXT_ARG_REG: u32 = 1 << 6;
    let ring = with_waits(3, WaitMemory::Kernel);
    let enter = |flags: u32, offset: usize, size: usize| {
        let fd = ring.fd().expect("a descriptor").as_raw_fd();
        // SAFETY: the offset is no address; without EXT_ARG it is null.
        let result = unsafe {
            let (call, flags) = (libc::SYS_io_uring_enter, flags | GETEVENTS);
            libc::syscall(call, fd, 0, 1, flags, offset, size)
        };
        match result {
            -1 => Err(Error::last_os_error().raw_os_error().unwrap()),
            done => Ok(done),
        }
    };
    let both = EXT_ARG | EXT_ARG_REG;
    assert_eq!(ring.set_wait(0, Wait::new().timeout(MS)), Ok(()));
    assert_eq!(ring.set_wait(1, Wait::new().timeout(2 * MS)), Ok(()));
    assert_eq!(enter(both, 0, 64), Err(libc::ETIME));
    assert_eq!(enter(both, 64, 64), Err(libc::ETIME));
    // The last of the page is zeros, with a CQE that lies ready a wait without limit.
    assert_eq!(enter(both, page() - 56, 64), Err(libc::EFAULT));
    assert_eq!(enter(both, page(), 64), Err(libc::EFAULT));
    assert_eq!(enter(both, usize::MAX - 7, 64), Err(libc::EFAULT));
    assert_eq!(enter(both, 4, 64), Err(libc::EFAULT));
    assert_eq!(enter(both, 0, 63), Err(libc::EINVAL));
    ring.pop().unwrap().push();
    ring.submit().unwrap();
    assert_eq!(enter(both, page() - 64, 64), Ok(0));
    // Alone it changes nothing: there is no entry 1 << 20, and a null set of signals.
    assert_eq!(enter(EXT_ARG_REG, 0, 1 << 20), Ok(0));
}

#[test]
fn a_ring_has_one_region_and_a_table_only_before_it_runs() {
    let test = "a_ring_has_one_region_and_a_table_only_before_it_runs";
    if !has(6, 13, test, "MEM_REGION") {
        return;
    }
    let waits = RegionFlags::REG_WAIT_ARG;
    for memory in MEMORIES {
        let mut ring = Ring::builder(8).build_disabled().unwrap();
        assert_eq!(ring.register_waits(0, memory), errno(libc::EINVAL));
        assert_eq!(ring.register_waits(3, memory), Ok(()));
        assert_eq!(ring.register_waits(3, memory), errno(libc::EBUSY));
        let again = ring
            .registrar()
            .register_region_alloc(page(), RegionFlags::NONE);
        assert_eq!(again.map(drop), errno(libc::EBUSY));
        // The first table is there still.
        let ring = ring.enable_local().unwrap();
        assert_eq!(ring.registered_waits(), 3);
        assert_eq!(ring.set_wait(2, Wait::new().timeout(MS)), Ok(()));
        assert_eq!(ring.wait_reg(1, 2), Ok(Waited::TimedOut));

        // Shared, it is of no use, and in nobody's way.
        let mut disabled = Ring::builder(8).build_disabled().unwrap();
        assert_eq!(disabled.register_waits(3, memory), Ok(()));
        let shared = disabled.enable().unwrap();
        shared.wake(5).unwrap();
        let woken = shared.cq().wait_one(Some(LOST)).unwrap();
        assert_eq!(woken.map(|cqe| cqe.user_data()), Some(5));
    }
    let ring = ring();
    let registrar = ring.registrar();
    let late = registrar.register_region_alloc(page(), waits);
    assert_eq!(late.map(drop), errno(libc::EINVAL));
    let memory = pages(1, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: the memory is never unmapped.
    let late = unsafe { registrar.register_region(memory, waits) };
    assert_eq!(late, errno(libc::EINVAL));
}

/// A manual page has the flag for waits as the one value that there may be, and a page as
/// the most: neither is so.
#[test]
fn a_region_without_a_purpose_may_be_large_and_the_ring_running() {
    let test = "a_region_without_a_purpose_may_be_large_and_the_ring_running";
    if !has(6, 13, test, "MEM_REGION") {
        return;
    }
    let none = RegionFlags::NONE;
    let first = ring();
    let memory = pages(3, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: the memory is never unmapped.
    let registered = unsafe { first.registrar().register_region(memory, none) };
    assert_eq!(registered, Ok(()));

    let second = ring();
    let region = second
        .registrar()
        .register_region_alloc(3 * page(), none)
        .unwrap();
    assert_eq!(region.memory().len(), 3 * page());
    drop(second);
    // SAFETY: the region is mapped as long as it is there, and nobody else has it.
    let bytes = unsafe { &mut *region.memory().as_ptr() };
    assert!(bytes.iter().all(|&byte| byte == 0));
    bytes.fill(7);
    assert!(bytes.iter().all(|&byte| byte == 7));
}

#[test]
fn memory_that_cannot_be_a_region_is_refused() {
    if !has(
        6,
        13,
        "memory_that_cannot_be_a_region_is_refused",
        "MEM_REGION",
    ) {
        return;
    }
    let ring = ring();
    let none = RegionFlags::NONE;
    let register = |memory| {
        // SAFETY: what could be registered is never unmapped.
        unsafe { ring.registrar().register_region(memory, none) }
    };
    let writable = pages(2, libc::PROT_READ | libc::PROT_WRITE);
    let part = |from: usize, len: usize| {
        // SAFETY: inside the two pages, but for the last.
        let start = unsafe { writable.cast::<u8>().add(from) };
        NonNull::slice_from_raw_parts(start, len)
    };
    assert_eq!(register(part(0, 0)), errno(libc::EINVAL));
    assert_eq!(register(part(0, 100)), errno(libc::EINVAL));
    assert_eq!(register(part(64, page())), errno(libc::EINVAL));
    let hole = pages(1, libc::PROT_NONE);
    assert_eq!(register(hole), errno(libc::EFAULT));
    assert_eq!(register(pages(1, libc::PROT_READ)), errno(libc::EFAULT));
    let alloc = |len| ring.registrar().register_region_alloc(len, none).map(drop);
    assert_eq!(alloc(0), errno(libc::EINVAL));
    assert_eq!(alloc(100), errno(libc::EINVAL));
    assert_eq!(alloc(usize::MAX & !(page() - 1)), errno(libc::E2BIG));
    // SAFETY: as above.
    let unknown = unsafe {
        ring.registrar()
            .register_region(part(0, page()), RegionFlags::from_bits(2))
    };
    assert_eq!(unknown, errno(libc::EINVAL));
    assert_eq!(register(part(0, page())), Ok(()), "none of those was one");
}

#[test]
fn the_memory_goes_with_the_ring() {
    let test = "region::the_memory_goes_with_the_ring";
    in_child(test, || {
        if !has(6, 13, test, "MEM_REGION") {
            return;
        }
        for memory in MEMORIES {
            let before = traces();
            let ring = with_waits(8, memory);
            assert_eq!(traces().1.len(), before.1.len() + 3);
            drop(ring);
            assert_eq!(traces(), before);
            let mut disabled = Ring::builder(8).build_disabled().unwrap();
            assert_eq!(disabled.register_waits(8, memory), Ok(()));
            drop(disabled);
            assert_eq!(traces(), before);
        }
    });
}
