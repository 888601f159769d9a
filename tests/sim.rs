//! The ring on the simulated kernel.
#![cfg(feature = "sim")]

mod model;

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    /// Seeds that differ in one bit differ in all from the start.
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Says which seed it was when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[test]
fn the_ring_answers_as_the_model_does() {
    for seed in 0..20_000 {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let len = 16 + random.next() % 240;
        let bytes: Vec<u8> = (0..len).map(|_| (random.next() >> 56) as u8).collect();
        model::run(&bytes);
    }
}
