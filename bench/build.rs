//! The C peer, when liburing's header and library are installed.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(liburing)");
    println!("cargo::rerun-if-changed=c/liburing.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    // What the report says of the compiler.
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    println!(
        "cargo::rustc-env=RUSTC={}",
        version.unwrap_or_default().trim()
    );
    let found = pkg_config::Config::new()
        .statik(true)
        .cargo_metadata(false)
        .probe("liburing");
    let Ok(liburing) = found else {
        println!("cargo::rustc-env=LIBURING=not installed");
        return;
    };
    cc::Build::new()
        .file("c/liburing.c")
        .includes(&liburing.include_paths)
        .opt_level(3)
        .compile("peer");
    for path in &liburing.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    println!("cargo::rustc-link-lib=uring");
    println!("cargo::rustc-cfg=liburing");
    println!("cargo::rustc-env=LIBURING={}", liburing.version);
}
