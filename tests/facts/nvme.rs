//! A disk that is polled, and commands that go past the file system: on the NVMe disk that
//! RINGWAY_NVME names, which is overwritten.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::ptr;
use std::time::Duration;

use ringway::prep::UringCmdFlags;
use ringway::{Builder, Cqe32, Local, Order, Ring};

use super::child::{has, skip, tried};
use super::raw_ring::PATIENCE;

const BLOCK: usize = 4096;
/// What a block of the disk is addressed by.
const SECTOR: usize = 512;
const IN_FLIGHT: usize = 8;

/// Memory as `O_DIRECT` wants it, that outlives every operation.
fn blocks() -> &'static mut [Block; IN_FLIGHT] {
    Box::leak(Box::new([const { Block([0; BLOCK]) }; IN_FLIGHT]))
}

#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

/// What the block with this number is filled with.
fn pattern(number: usize) -> u8 {
    number as u8 + 0x41
}

/// The path of the disk, with a pattern in its first blocks; says so if there is none.
fn disk(test: &str) -> Option<String> {
    let Ok(path) = env::var("RINGWAY_NVME") else {
        skip(test, "RINGWAY_NVME names no NVMe disk to overwrite");
        return None;
    };
    let disk = direct(&path);
    for number in 0..IN_FLIGHT {
        let block = Box::new(Block([pattern(number); BLOCK]));
        let offset = (number * BLOCK) as u64;
        disk.write_all_at(&block.0, offset).unwrap();
    }
    Some(path)
}

fn direct(path: &str) -> File {
    let mut options = OpenOptions::new();
    let disk = options
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path);
    disk.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads that many blocks at once, polled for, and looks at them.
fn read_on_shared(builder: Builder<'_>, disk: &File) {
    let ring = builder
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"));
    let (sq, cq) = (ring.sq(), ring.cq());
    for _ in 0..20 {
        let blocks = blocks();
        for (number, block) in blocks.iter_mut().enumerate() {
            let mut slot = sq.pop().expect("a free slot");
            let offset = (number * BLOCK) as u64;
            // SAFETY: the memory stays, and the disk until the CQE.
            unsafe { slot.prep_read(disk, block.0.as_mut_ptr(), BLOCK as u32, offset) }
                .user_data(number as u64);
            slot.push();
        }
        sq.submit().unwrap();
        let mut seen = 0;
        for _ in 0..IN_FLIGHT {
            let cqe = cq.wait_one(Some(PATIENCE)).unwrap().expect("a completion");
            assert_eq!(cqe.result(), Ok(BLOCK as u32));
            seen |= 1 << cqe.user_data();
        }
        assert_eq!(seen, (1 << IN_FLIGHT) - 1);
        for (number, block) in blocks.iter().enumerate() {
            assert!(block.0.iter().all(|&byte| byte == pattern(number)));
        }
    }
}

#[test]
fn reads_are_polled() {
    let test = "nvme::reads_are_polled";
    if !has(5, 18, test, "a shared ring") {
        return;
    }
    let Some(path) = disk(test) else { return };
    let disk = direct(&path);
    read_on_shared(Ring::builder(16).iopoll(), &disk);
    if has(6, 6, test, "NO_SQARRAY") {
        read_on_shared(Ring::builder(16).order(Order::Claim).iopoll(), &disk);
    }
    if has(6, 13, test, "HYBRID_IOPOLL") {
        read_on_shared(Ring::builder(16).iopoll().hybrid_iopoll(), &disk);
    }
}

/// The same on a local ring, on every kernel.
#[test]
fn reads_are_polled_by_one_thread() {
    let test = "nvme::reads_are_polled_by_one_thread";
    let Some(path) = disk(test) else { return };
    let disk = direct(&path);
    let ring = Ring::builder(16).iopoll().legacy().build_local().unwrap();
    let blocks = blocks();
    for (number, block) in blocks.iter_mut().enumerate() {
        let mut slot = ring.pop().expect("a free slot");
        let offset = (number * BLOCK) as u64;
        // SAFETY: the memory stays, and the disk until the CQE.
        unsafe { slot.prep_read(&disk, block.0.as_mut_ptr(), BLOCK as u32, offset) };
        slot.push();
    }
    ring.submit().unwrap();
    for _ in 0..IN_FLIGHT {
        let cqe = ring.wait_one(None).unwrap().expect("no limit has passed");
        assert_eq!(cqe.result(), Ok(BLOCK as u32));
    }
    assert!((0..IN_FLIGHT).all(|number| blocks[number].0.iter().all(|&b| b == pattern(number))));
}

/// What cannot be polled for is refused.
#[test]
fn what_cannot_be_polled_is_refused() {
    let test = "nvme::what_cannot_be_polled_is_refused";
    let Some(path) = disk(test) else { return };
    // Not opened for direct I/O.
    let disk = File::open(path).unwrap();
    let ring = Ring::builder(16).iopoll().legacy().build_local().unwrap();
    let block = blocks();
    let mut slot = ring.pop().expect("a free slot");
    // SAFETY: the memory stays, and the disk until the CQE.
    unsafe { slot.prep_read(&disk, block[0].0.as_mut_ptr(), BLOCK as u32, 0) };
    slot.push();
    ring.submit().unwrap();
    let cqe = ring.wait_one(None).unwrap().expect("no limit has passed");
    let errno = cqe.result().map_err(|errno| errno.raw());
    assert_eq!(errno, Err(libc::EOPNOTSUPP));
}

/// `struct nvme_uring_cmd`, as words of 32 bits.
#[derive(Clone, Copy, Default)]
struct Command([u32; 18]);

/// `_IOWR('N', number, struct nvme_uring_cmd)`.
const fn ioctl(number: u32) -> u32 {
    3 << 30 | (size_of::<Command>() as u32) << 16 | (b'N' as u32) << 8 | number
}

const IO: u32 = ioctl(0x80);
const ADMIN: u32 = ioctl(0x82);

impl Command {
    fn new(opcode: u8, namespace: u32, data: *mut u8, len: usize) -> Self {
        let mut words = [0; 18];
        let address = data.expose_provenance() as u64;
        words[0] = opcode.into();
        words[1] = namespace;
        words[6] = address as u32;
        words[7] = (address >> 32) as u32;
        words[9] = len as u32;
        Self(words)
    }

    /// Of the whole disk, blocks by their number.
    fn read(number: usize, block: &mut Block) -> Self {
        const READ: u8 = 2;
        let mut command = Self::new(READ, 1, block.0.as_mut_ptr(), BLOCK);
        command.0[10] = (number * BLOCK / SECTOR) as u32;
        // One less than the count.
        command.0[12] = (BLOCK / SECTOR - 1) as u32;
        command
    }

    /// Of the controller itself.
    fn identify(page: &mut Block) -> Self {
        const IDENTIFY: u8 = 6;
        let mut command = Self::new(IDENTIFY, 0, page.0.as_mut_ptr(), BLOCK);
        command.0[10] = 1;
        command
    }

    fn write_to(&self, area: &mut [u8]) {
        let len = size_of::<Self>();
        assert!(area.len() >= len);
        // SAFETY: both are that long, and the area is bytes.
        unsafe { ptr::copy_nonoverlapping(self.0.as_ptr().cast(), area.as_mut_ptr(), len) };
    }
}

fn next_big(ring: &Local) -> Cqe32 {
    loop {
        if let Some(cqe) = ring.reap_big() {
            return cqe;
        }
        ring.wait(Some(Duration::from_secs(1))).unwrap();
    }
}

/// The character devices of the namespace and of its controller.
fn devices(path: &str) -> (File, File) {
    let namespace = path.replace("/dev/nvme", "/dev/ng");
    let (controller, _) = path.rsplit_once('n').expect("nvme0n1");
    // Which takes no flag for direct I/O: that is all there is.
    let open = |path: &str| {
        let device = OpenOptions::new().read(true).write(true).open(path);
        device.unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    (open(&namespace), open(controller))
}

/// Pushes a command with an SQE of 128 bytes.
///
/// # Safety
///
/// The memory that the command names stays, and the device, until the CQE.
unsafe fn push(ring: &Local, operation: u32, device: &File, command: Command, user_data: usize) {
    let mut slot = ring.pop().expect("a free slot");
    // SAFETY: the caller's promise.
    unsafe { slot.prep_uring_cmd(operation, device, UringCmdFlags::NONE, 0) };
    // SAFETY: as above.
    command.write_to(unsafe { slot.command_mut() });
    slot.user_data(user_data as u64);
    slot.push();
}

/// Commands with an SQE of 128 bytes and a CQE of 32.
#[test]
fn commands_go_to_the_disk() {
    let test = "nvme::commands_go_to_the_disk";
    if !has(5, 19, test, "URING_CMD") {
        return;
    }
    let Some(path) = disk(test) else { return };
    let (namespace, controller) = devices(&path);
    let base = Ring::builder(16).sqe128().cqe32();
    let ring = base.build_local().unwrap();
    let blocks = blocks();
    for (number, block) in blocks.iter_mut().enumerate() {
        let command = Command::read(number, block);
        // SAFETY: the memory stays, and the disk until the CQE.
        unsafe { push(&ring, IO, &namespace, command, number) };
    }
    ring.submit().unwrap();
    for _ in 0..IN_FLIGHT {
        let cqe = next_big(&ring);
        assert_eq!((cqe.result(), cqe.extra()), (Ok(0), [0, 0]));
    }
    assert!((0..IN_FLIGHT).all(|number| blocks[number].0.iter().all(|&b| b == pattern(number))));

    let command = Command::identify(&mut blocks[0]);
    // SAFETY: the memory stays, and the controller until the CQE.
    unsafe { push(&ring, ADMIN, &controller, command, 0) };
    ring.submit().unwrap();
    assert_eq!(next_big(&ring).result(), Ok(0));
    let serial = String::from_utf8_lossy(&blocks[0].0[4..24]);
    assert_eq!(serial.trim(), "scratch");
    tried("OP_URING_CMD");
}

/// The same polled for, which Linux 6.1 began with.
#[test]
fn commands_are_polled() {
    let test = "nvme::commands_are_polled";
    if !has(6, 1, test, "polling for URING_CMD") {
        return;
    }
    let Some(path) = disk(test) else { return };
    let (namespace, _) = devices(&path);
    let ring = Ring::builder(16)
        .sqe128()
        .cqe32()
        .iopoll()
        .build_local()
        .unwrap();
    let blocks = blocks();
    let command = Command::read(3, &mut blocks[3]);
    // SAFETY: the memory stays, and the disk until the CQE.
    unsafe { push(&ring, IO, &namespace, command, 3) };
    ring.submit().unwrap();
    assert_eq!(next_big(&ring).result(), Ok(0));
    assert!(blocks[3].0.iter().all(|&byte| byte == pattern(3)));
}

/// One SQE of 128 bytes among those of 64, and one CQE of 32 among those of 16.
#[test]
fn a_big_command_among_small_operations() {
    let test = "nvme::a_big_command_among_small_operations";
    if !has(6, 19, test, "URING_CMD128") {
        return;
    }
    let Some(path) = disk(test) else { return };
    let (namespace, _) = devices(&path);
    let builder = Ring::builder(16)
        .order(Order::Claim)
        .sqe_mixed()
        .cqe_mixed();
    let ring = builder
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"));
    let (sq, cq) = (ring.sq(), ring.cq());
    // The big one meets the end of the queue in each way.
    for round in 0..40 {
        let blocks = blocks();
        let number = round % IN_FLIGHT;
        let mut slot = sq.pop128().expect("two free slots");
        // SAFETY: the memory stays, and the disk until the CQE.
        unsafe { slot.prep_uring_cmd128(IO, &namespace, UringCmdFlags::NONE, 0) }.user_data(1);
        // SAFETY: as above.
        let area = unsafe { slot.command_mut() };
        Command::read(number, &mut blocks[number]).write_to(area);
        slot.push();
        let mut slot = sq.pop().expect("a free slot");
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(2);
        slot.push();
        sq.submit().unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match cq.reap_big() {
                Some(cqe) => {
                    assert_eq!(cqe.result(), Ok(0));
                    assert_eq!(cqe.is_big(), cqe.user_data() == 1);
                    seen.push(cqe.user_data());
                }
                None => _ = cq.wait(Some(PATIENCE)).unwrap(),
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert!(blocks[number].0.iter().all(|&byte| byte == pattern(number)));
    }
    tried("OP_URING_CMD128");
}
