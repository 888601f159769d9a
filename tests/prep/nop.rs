//! The operation that does nothing.

use super::*;

#[test]
fn nop_completes_with_its_user_data() {
    let ring = ring();
    for user_data in [0, 7, u64::MAX] {
        start(&ring, |sqe| nop(sqe).user_data(user_data));
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (user_data, Ok(0)));
    }
}

#[test]
fn a_prep_drops_what_was_set_before() {
    let ring = ring();
    start(&ring, |sqe| {
        sqe.skip_success().personality(77).user_data(5);
        nop(sqe)
    });
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (0, Ok(0)));
}
