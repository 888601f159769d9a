//! Jobs that wait for a thread: first in, first out, and never more than there is room for.

use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{Deadline, Futex, Mutex, MutexGuard, reached, unpoisoned};
use std::collections::VecDeque;
use std::time::Duration;

/// A bounded queue that any number of threads give to and take from.
///
/// Rule Q1: everything but sleeping happens under the lock, so who finds the queue empty (or
/// full) is counted as asleep before anybody can give (or take); who gives or takes changes
/// the word that the other side sleeps on, under the same lock.
///
/// Rule Q2: threads that sleep elsewhere, on the ring, are *watchers*: counted under the same
/// lock, and to be woken by whoever gives when there are more jobs than sleepers here, and by
/// whoever takes while that is still so.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    takers: Bell,
    givers: Bell,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    watchers: usize,
    /// Asleep, or about to be, or about to look again.
    takers: usize,
    givers: usize,
}

impl<T> State<T> {
    /// Whether there are items that only a watcher would come for (rule Q2).
    fn needs_watcher(&self) -> bool {
        self.watchers > 0 && self.items.len() > self.takers
    }
}

/// What one side sleeps on.
struct Bell(Futex);

impl Bell {
    /// How often it has rung. With the lock held.
    fn rings(&self) -> u32 {
        // Ordering: Relaxed; the lock orders it (rule Q1).
        self.0.word().load(Relaxed)
    }

    /// Makes those that have read the word look again. With the lock held.
    fn ring(&self) {
        // Ordering: Relaxed; the lock orders it (rule Q1).
        self.0.word().fetch_add(1, Relaxed);
    }
}

/// An item, and what its taker has to do for the others.
pub(crate) struct Taken<T> {
    pub(crate) item: T,
    /// Wake a watcher: there is more.
    pub(crate) wake: bool,
}

impl<T> Queue<T> {
    /// Room for this many, allocated now.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::with_capacity(capacity),
                is_closed: false,
                watchers: 0,
                takers: 0,
                givers: 0,
            }),
            capacity,
            takers: Bell(Futex::new()),
            givers: Bell(Futex::new()),
        }
    }

    /// Adds an item, or gives it back: the queue is full or closed. `true`: a watcher is to
    /// be woken.
    pub(crate) fn push(&self, item: T) -> Result<bool, T> {
        self.push_locked(self.lock(), item)
    }

    /// As [`Queue::push`], asleep while the queue is full, until the timeout has passed.
    pub(crate) fn push_wait(&self, item: T, timeout: Option<Duration>) -> Result<bool, T> {
        let deadline = Deadline::after(timeout);
        let mut state = self.lock();
        loop {
            let is_full = state.items.len() >= self.capacity && !state.is_closed;
            if !is_full {
                return self.push_locked(state, item);
            }
            let left = deadline.left();
            if left == Some(Duration::ZERO) {
                return Err(item);
            }
            state.givers += 1;
            let rings = self.givers.rings();
            drop(state);
            reached("giver sleeps");
            self.givers.0.wait(rings, left);
            state = self.lock();
            state.givers -= 1;
        }
    }

    fn push_locked(&self, mut state: MutexGuard<'_, State<T>>, item: T) -> Result<bool, T> {
        if state.is_closed || state.items.len() >= self.capacity {
            return Err(item);
        }
        state.items.push_back(item);
        let is_waited_for = state.takers > 0;
        let wake = state.needs_watcher();
        if is_waited_for {
            self.takers.ring();
        }
        drop(state);
        if is_waited_for {
            self.takers.0.wake_one();
        }
        Ok(wake)
    }

    /// The oldest item.
    pub(crate) fn pop(&self) -> Option<Taken<T>> {
        self.pop_locked(self.lock())
    }

    /// The oldest item that it is.
    pub(crate) fn remove(&self, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let mut state = self.lock();
        let at = state.items.iter().position(is_it)?;
        let item = state.items.remove(at);
        let is_waited_for = state.givers > 0;
        if is_waited_for {
            self.givers.ring();
        }
        drop(state);
        if is_waited_for {
            self.givers.0.wake_one();
        }
        item
    }

    /// The oldest item; asleep until there is one. `None`: the timeout has passed, or the
    /// queue is closed and nothing is left.
    pub(crate) fn pop_wait(&self, timeout: Option<Duration>) -> Option<Taken<T>> {
        let deadline = Deadline::after(timeout);
        let mut state = self.lock();
        while state.items.is_empty() {
            let left = deadline.left();
            if state.is_closed || left == Some(Duration::ZERO) {
                return None;
            }
            state.takers += 1;
            let rings = self.takers.rings();
            drop(state);
            reached("taker sleeps");
            self.takers.0.wait(rings, left);
            state = self.lock();
            state.takers -= 1;
        }
        self.pop_locked(state)
    }

    /// The oldest item, or from now on the caller is a watcher, until [`Queue::unwatch`].
    pub(crate) fn pop_or_watch(&self) -> Option<Taken<T>> {
        let mut state = self.lock();
        if state.items.is_empty() {
            state.watchers += 1;
            return None;
        }
        self.pop_locked(state)
    }

    /// The watcher is awake.
    pub(crate) fn unwatch(&self) {
        self.lock().watchers -= 1;
    }

    /// Whether there is something that a watcher is to be woken for.
    pub(crate) fn needs_watcher(&self) -> bool {
        self.lock().needs_watcher()
    }

    fn pop_locked(&self, mut state: MutexGuard<'_, State<T>>) -> Option<Taken<T>> {
        let item = state.items.pop_front()?;
        let wake = state.needs_watcher();
        let is_waited_for = state.givers > 0;
        if is_waited_for {
            self.givers.ring();
        }
        drop(state);
        if is_waited_for {
            self.givers.0.wake_one();
        }
        Some(Taken { item, wake })
    }

    /// Takes no more items; everybody who sleeps here looks again. What is left can be taken.
    pub(crate) fn close(&self) {
        self.close_locked(self.lock());
    }

    /// Closes the queue and takes what is left, oldest first: nobody else gets any of it.
    pub(crate) fn drain(&self) -> VecDeque<T> {
        let mut state = self.lock();
        let items = std::mem::take(&mut state.items);
        self.close_locked(state);
        items
    }

    fn close_locked(&self, mut state: MutexGuard<'_, State<T>>) {
        state.is_closed = true;
        self.takers.ring();
        self.givers.ring();
        drop(state);
        self.takers.0.wake_all();
        self.givers.0.wake_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Whether it would take an item if there were room.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.lock();
        state.items.len() >= self.capacity && !state.is_closed
    }

    /// Items now.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the user's runs under the lock.
        unpoisoned(self.state.lock())
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;
    use std::thread;

    const LOST: Option<Duration> = Some(Duration::from_secs(20));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn item<T>(taken: Option<Taken<T>>) -> Option<T> {
        taken.map(|taken| taken.item)
    }

    #[test]
    fn first_in_first_out_and_never_too_many() {
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2)), (Ok(false), Ok(false)));
        assert_eq!((queue.push(3), queue.push_wait(4, NOW)), (Err(3), Err(4)));
        assert_eq!((item(queue.pop_wait(NOW)), queue.len()), (Some(1), 1));
        assert_eq!(queue.push_wait(5, LOST), Ok(false));
        queue.close();
        assert!(queue.is_closed());
        assert_eq!((queue.push(6), queue.push_wait(7, LOST)), (Err(6), Err(7)));
        let left = [item(queue.pop_wait(LOST)), item(queue.pop_wait(LOST))];
        assert_eq!(left, [Some(2), Some(5)], "what is left can be taken");
        assert_eq!(item(queue.pop_wait(LOST)), None);
        assert_eq!(item(queue.pop_wait(NOW)), None);
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2)), (Ok(false), Ok(false)));
        assert_eq!(queue.drain(), [1, 2]);
        assert_eq!((item(queue.pop_wait(LOST)), queue.push(3)), (None, Err(3)));
        assert_eq!(item(Queue::<u8>::new(0).pop_wait(NOW)), None);
        assert_eq!(Queue::new(0).push(1), Err(1));
    }

    #[test]
    fn a_watcher_is_woken_for_what_nobody_else_comes_for() {
        let queue = Queue::new(4);
        assert!(queue.pop_or_watch().is_none());
        assert!(queue.pop_or_watch().is_none());
        assert!(!queue.needs_watcher());
        assert_eq!((queue.push(1), queue.push(2)), (Ok(true), Ok(true)));
        assert!(queue.needs_watcher());
        queue.unwatch();
        let taken = queue.pop_or_watch().expect("an item");
        assert_eq!((taken.item, taken.wake), (1, true), "one item, one watcher");
        queue.unwatch();
        assert!(!queue.needs_watcher(), "nobody to wake");
        assert_eq!(queue.pop_wait(NOW).map(|taken| taken.wake), Some(false));
    }

    /// Givers and takers that sleep wake each other: 1 place, 4 threads.
    #[test]
    fn nobody_sleeps_for_ever() {
        const EACH: u64 = 5_000;
        let queue = Queue::new(1);
        let sum: u64 = thread::scope(|scope| {
            let takers = [(), ()].map(|()| {
                scope.spawn(|| {
                    let mut sum = 0;
                    while let Some(taken) = queue.pop_wait(LOST) {
                        sum += taken.item;
                    }
                    sum
                })
            });
            let givers = [0, 1].map(|giver| {
                let queue = &queue;
                scope.spawn(move || {
                    for i in 0..EACH {
                        assert_eq!(queue.push_wait(giver * EACH + i, LOST), Ok(false));
                    }
                })
            });
            for giver in givers {
                giver.join().unwrap();
            }
            queue.close();
            takers.map(|taker| taker.join().unwrap()).iter().sum()
        });
        let all = 2 * EACH;
        assert_eq!(sum, all * (all - 1) / 2);
    }
}
