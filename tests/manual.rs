//! Where the manual is wrong: `docs/where-the-manual-is-wrong.md`, and those of its tests
//! that have no other home.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

#[path = "child/raw_ring.rs"]
mod raw_ring;
use raw_ring::*;

/// A ring with room for that many CQEs.
fn with_cqes(cq_entries: u32) -> Raw {
    let mut params = params(CQSIZE);
    params[CQ_ENTRIES] = cq_entries;
    Raw::make(params)
}

fn submit_nops(ring: &Raw, count: u32) {
    for _ in 0..count {
        ring.push_nop();
        assert_eq!(ring.submit(), Ok(1));
    }
}

#[test]
fn an_overflow_is_no_reason_to_refuse() {
    let ring = with_cqes(8);
    submit_nops(&ring, 24);
    assert_eq!(ring.ready(), 8, "and 16 more that have no room");
    assert_eq!(ring.enter(0, 1, GETEVENTS), Ok(0));
    ring.push_nop();
    assert_eq!(ring.enter(1, 1, GETEVENTS), Ok(1));
    assert_eq!(ring.ready(), 8);
}

#[test]
fn a_wait_for_more_than_there_is_room_for_ends_with_a_full_queue() {
    let ring = with_cqes(8);
    submit_nops(&ring, 8);
    let start = Instant::now();
    assert_eq!(ring.enter(0, 1000, GETEVENTS), Ok(0));
    assert!(start.elapsed() < PATIENCE, "it is 0 then too");
}

#[test]
fn any_number_of_cqes_from_that_of_the_sqes_on_is_rounded_up() {
    for (asked, given) in [(8, 8), (9, 16), (100, 128)] {
        assert_eq!(with_cqes(asked).params[CQ_ENTRIES], given);
    }
}

/// A ring whose kernel thread is to spin so long without work.
fn with_thread(idle_ms: u32) -> Raw {
    let mut params = params(SQPOLL);
    params[SQ_THREAD_IDLE] = idle_ms;
    Raw::make(params)
}

#[track_caller]
fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
}

fn sleeps(ring: &Raw) -> bool {
    ring.counter(SQ_FLAGS).load(Ordering::Relaxed) & NEED_WAKEUP != 0
}

#[test]
fn an_idle_time_of_0_is_not_for_ever() {
    let ring = with_thread(0);
    submit_nops(&ring, 1);
    until(|| ring.ready() == 1);
    until(|| sleeps(&ring));
}

/// Why the test above has it work first.
#[test]
fn before_its_first_work_the_thread_does_not_spin() {
    const HOUR_MS: u32 = 3_600_000;
    let ring = with_thread(HOUR_MS);
    until(|| sleeps(&ring));
}

/// Whether the file has a test, or a model, of that name.
fn has_test(file: &str, name: &str) -> bool {
    let test = file.lines().scan(false, |is_test, line| {
        let line = line.trim();
        let found = *is_test && line.starts_with(&format!("fn {name}()"));
        *is_test = line == "#[test]" || *is_test && line.starts_with("#[");
        Some(found)
    });
    test.into_iter().any(|found| found) || file.contains(&format!("Model::new(\"{name}\","))
}

/// Each row of the document's tables names tests that there are, by links to their files.
#[test]
fn the_document_names_tests_that_there_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let document = fs::read_to_string(docs.join("where-the-manual-is-wrong.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let mut tests = 0;
    for row in rows.filter(|row| !row.starts_with("| The page says |")) {
        let links: Vec<_> = row.split("[`").skip(1).collect();
        assert!(!links.is_empty(), "no test: {row}");
        for link in links {
            let (path, rest) = link.split_once("`](").expect(link);
            let (file, _) = rest.split_once(')').expect(link);
            let name = path.rsplit("::").next().unwrap();
            let text = fs::read_to_string(docs.join(file)).expect(file);
            assert!(has_test(&text, name), "{file} has no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 0);
}
