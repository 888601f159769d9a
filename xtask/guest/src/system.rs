//! What an init does.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

fn c(text: &str) -> CString {
    CString::new(text).expect("no byte is 0")
}

fn checked(what: &str, returned: libc::c_long) {
    if returned < 0 {
        panic!("{what}: {}", io::Error::last_os_error());
    }
}

/// Mounts a file system on a folder, which is made.
pub fn mount(kind: &str, source: &str, on: &str, flags: libc::c_ulong) {
    fs::create_dir_all(on).expect(on);
    let (kind, from, to) = (c(kind), c(source), c(on));
    // SAFETY: three strings that outlive the call, and no data.
    let mounted = unsafe {
        let none = std::ptr::null();
        libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, none)
    };
    checked(&format!("mount {source} on {on}"), mounted.into());
}

pub fn mount_kernel_interfaces() {
    mount("proc", "proc", "/proc", 0);
    mount("sysfs", "sys", "/sys", 0);
    mount("devtmpfs", "dev", "/dev", 0);
    mount("tmpfs", "shm", "/dev/shm", 0);
    mount("tmpfs", "tmp", "/tmp", 0);
    mount("devpts", "pts", "/dev/pts", 0);
    let _ = symlink("/proc/self/fd", "/dev/fd");
}

pub fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.expect("the kernel's release").trim().to_owned()
}

/// Those that the host has packed, in the order of their names.
pub fn load_modules() {
    let Ok(folder) = fs::read_dir("/modules") else {
        return;
    };
    let mut files: Vec<_> = folder.map(|file| file.expect("a module").path()).collect();
    files.sort();
    for path in files {
        let file = File::open(&path).expect("a module");
        // SAFETY: the file and the empty string outlive the call.
        let loaded = unsafe {
            libc::syscall(
                libc::SYS_finit_module,
                file.as_raw_fd(),
                c"".as_ptr(),
                0 as libc::c_int,
            )
        };
        checked(&path.to_string_lossy(), loaded);
    }
}

pub fn loopback_up() {
    // SAFETY: a socket of this process, and one structure that the kernel reads.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        checked("a socket", socket.into());
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let up = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request);
        checked("loopback", up.into());
        libc::close(socket);
    }
}

pub fn power_off() -> ! {
    // SAFETY: neither call touches memory; the machine ends.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    panic!("the power is still on: {}", io::Error::last_os_error());
}
