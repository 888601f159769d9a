//! The virtual NVMe disks, told apart by their serial numbers: the order in which they are
//! found is no one's to rely on.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::system::mount;

/// How long the kernel may take to find its disks.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts the disk that has the tests; the other one, which tests may overwrite, by its
/// path.
pub fn mount_tests_and_find_scratch() -> String {
    mount("ext4", &disk("tests"), "/disk", 0);
    // The path at which the tests were built to leave their files.
    let folder = fs::read_to_string("/disk/folder").expect("the path of a folder");
    mount("none", "/disk/tmp", folder.trim(), libc::MS_BIND);
    disk("scratch")
}

/// The block device of the disk with this serial number.
fn disk(serial: &str) -> String {
    let start = Instant::now();
    loop {
        if let Some(name) = find(serial) {
            let device = format!("/dev/{name}");
            if Path::new(&device).exists() {
                return device;
            }
        }
        assert!(start.elapsed() < PATIENCE, "no disk {serial}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn find(serial: &str) -> Option<String> {
    let controllers = fs::read_dir("/sys/class/nvme").ok()?;
    let mut names = controllers.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name = names.find(|name| {
        let told = fs::read_to_string(format!("/sys/class/nvme/{name}/serial"));
        told.is_ok_and(|told| told.trim() == serial)
    })?;
    Some(format!("{name}n1"))
}
