//! Busy polling.

use ringway::register::{Napi, NapiTracking};

use super::child::{has, linux, tried, untried};
use super::*;

const SOME: Napi = Napi {
    busy_poll_us: 300,
    prefer_busy_poll: true,
};
const OTHER: Napi = Napi {
    busy_poll_us: 9000,
    prefer_busy_poll: false,
};

/// Whether the kernel can; says so if not.
fn can(ring: &Ring, test: &str) -> bool {
    if !has(6, 9, test, "NAPI") {
        return false;
    }
    match ring.registrar().unregister_napi() {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno.raw(), libc::EOPNOTSUPP);
            let reason = "this kernel is built without CONFIG_NET_RX_BUSY_POLL";
            untried("REGISTER_NAPI", reason);
            untried("UNREGISTER_NAPI", reason);
            false
        }
    }
}

#[test]
fn each_answer_is_what_was_set_before() {
    let ring = ring();
    if !can(&ring, "napi::each_answer_is_what_was_set_before") {
        return;
    }
    let registrar = ring.registrar();
    let stopped = if linux(6, 13) {
        NapiTracking::Inactive
    } else {
        NapiTracking::Dynamic
    };
    let dynamic = |napi| registrar.register_napi(napi, NapiTracking::Dynamic);
    assert_eq!(dynamic(SOME), Ok((Napi::default(), stopped)));
    assert_eq!(dynamic(OTHER), Ok((SOME, NapiTracking::Dynamic)));
    assert_eq!(registrar.unregister_napi(), Ok(OTHER));
    assert_eq!(registrar.unregister_napi(), Ok(Napi::default()));
    assert_eq!(dynamic(SOME), Ok((Napi::default(), stopped)));
    tried("REGISTER_NAPI");
    tried("UNREGISTER_NAPI");
}

#[test]
fn queues_are_added_and_removed() {
    let test = "napi::queues_are_added_and_removed";
    let ring = ring();
    if !can(&ring, test) || !has(6, 13, test, "static tracking") {
        return;
    }
    let registrar = ring.registrar();
    let add = |id| raw(registrar.register_napi_add_id(id));
    let del = |id| raw(registrar.register_napi_del_id(id));
    // Ids begin above the number of CPUs that the kernel is built for.
    const ID: u32 = 100_000;

    // Not before static tracking is registered.
    for tracking in [None, Some(NapiTracking::Dynamic)] {
        if let Some(tracking) = tracking {
            registrar.register_napi(SOME, tracking).unwrap();
        }
        assert_eq!((add(ID), del(ID)), (Err(libc::EINVAL), Err(libc::EINVAL)));
    }
    let (_, before) = registrar.register_napi(SOME, NapiTracking::Static).unwrap();
    assert_eq!(before, NapiTracking::Dynamic);
    assert_eq!(del(ID), Err(libc::ENOENT));
    assert_eq!(add(ID), Ok(()));
    assert_eq!(add(ID), Err(libc::EEXIST));
    assert_eq!(add(ID + 1), Ok(()));
    assert_eq!(del(ID), Ok(()));
    assert_eq!(del(ID), Err(libc::ENOENT));
    assert_eq!((add(0), del(0)), (Err(libc::EINVAL), Err(libc::EINVAL)));

    // Registering anew forgets them.
    let again = registrar.register_napi(OTHER, NapiTracking::Static);
    assert_eq!(again, Ok((SOME, NapiTracking::Static)));
    assert_eq!(del(ID + 1), Err(libc::ENOENT));
}

#[test]
fn what_is_refused() {
    let test = "napi::what_is_refused";
    let plain = ring();
    if !can(&plain, test) {
        return;
    }
    let refused = plain
        .registrar()
        .register_napi(SOME, NapiTracking::Inactive);
    if has(6, 13, test, "tracking") {
        assert_eq!(refused.unwrap_err().raw(), libc::EINVAL);
    }
    let polled = Ring::builder(8).iopoll().build().unwrap();
    let refused = polled
        .registrar()
        .register_napi(SOME, NapiTracking::Dynamic);
    assert_eq!(refused.unwrap_err().raw(), libc::EINVAL);
}
