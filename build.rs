//! Binds the DPDK installed on this machine (feature `dpdk`): bindgen for the functions and structures that
//! `src/dpdk` names, and the C compiler for the shim that reaches DPDK's inline functions.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    dpdk::bind();
}

#[cfg(feature = "dpdk")]
mod dpdk {
    use std::env;
    use std::path::PathBuf;
    use std::process::{Command, exit};

    const HEADER: &str = "src/dpdk/shim.h";
    const SHIM: &str = "src/dpdk/shim.c";

    /// What `src/dpdk` calls. All of DPDK would be thousands of items, some of which Rust cannot lay out.
    const FUNCTIONS: [&str; 35] = [
        "vtepd_.*",
        "rte_dev_probe",
        "rte_version",
        "rte_eal_cleanup",
        "rte_eal_get_runtime_dir",
        "rte_eal_hotplug_remove",
        "rte_eal_init",
        "rte_eth_allmulticast_disable",
        "rte_eth_allmulticast_enable",
        "rte_eth_dev_adjust_nb_rx_tx_desc",
        "rte_eth_dev_close",
        "rte_eth_dev_configure",
        "rte_eth_dev_default_mac_addr_set",
        "rte_eth_dev_get_mtu",
        "rte_eth_dev_get_port_by_name",
        "rte_eth_dev_info_get",
        "rte_eth_dev_set_mc_addr_list",
        "rte_eth_dev_set_mtu",
        "rte_eth_dev_start",
        "rte_eth_dev_stop",
        "rte_eth_macaddr_get",
        "rte_eth_promiscuous_disable",
        "rte_eth_promiscuous_enable",
        "rte_eth_rx_queue_setup",
        "rte_eth_stats_get",
        "rte_eth_tx_queue_setup",
        "rte_eth_xstats_get",
        "rte_eth_xstats_get_names",
        "rte_get_tsc_hz",
        "rte_mempool_avail_count",
        "rte_mempool_free",
        "rte_openlog_stream",
        "rte_pktmbuf_pool_create",
        "rte_strerror",
        "rte_thread_(un)?register",
    ];

    /// The header that was included first decides what the rest sees, so the flags go to both compilers whole and in
    /// their order: `-include rte_config.h` and `-march` are among them.
    fn pkg_config(what: &str) -> Vec<String> {
        let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
        let output = match Command::new(&tool).args([what, "libdpdk"]).output() {
            Ok(output) => output,
            Err(error) => fail(&format!("cannot run `{tool}` ({error}); install it: apt-get install pkg-config")),
        };
        if !output.status.success() {
            fail(&format!(
                "`{tool} {what} libdpdk` found no DPDK; install it (apt-get install libdpdk-dev), or build without: \
                 cargo build --no-default-features\n{}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
    }

    fn fail(message: &str) -> ! {
        eprintln!("error: {message}");
        exit(1)
    }

    pub fn bind() {
        for watched in [HEADER, SHIM] {
            println!("cargo::rerun-if-changed={watched}");
        }
        for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let version = pkg_config("--modversion").join(" ");
        let major: u32 = version.split('.').next().and_then(|year| year.parse().ok()).unwrap_or(0);
        if major < 22 {
            fail(&format!("DPDK {version} is too old; 22.11 or later is needed"));
        }
        let flags = pkg_config("--cflags");
        compile_shim(&flags);
        generate_bindings(&flags);
        link(&pkg_config("--libs"));
    }

    fn compile_shim(flags: &[String]) {
        let mut build = cc::Build::new();
        build.file(SHIM).warnings(true).extra_warnings(true);
        for flag in flags {
            // DPDK's inline functions are not written for our warning level.
            build.flag(flag.replace("-I", "-isystem"));
        }
        build.compile("vtepd_shim");
    }

    fn generate_bindings(flags: &[String]) {
        let mut builder = bindgen::Builder::default()
            .header(HEADER)
            .clang_args(flags)
            .use_core()
            .derive_default(true)
            .generate_comments(false)
            .layout_tests(true)
            .prepend_enum_name(false)
            .allowlist_var("VTEPD_.*")
            .allowlist_type("vtepd_.*")
            // The mbuf's fields sit in other unions in each release: they are reached by the offsets in shim.h.
            .opaque_type("rte_mbuf")
            .opaque_type("rte_mempool")
            .opaque_type("rte_device")
            .opaque_type("_IO_FILE")
            // Packed and aligned at once, which Rust refuses; blocklisting it breaks 24.11.
            .opaque_type("rte_arp_(ipv4|hdr)")
            .no_debug("rte_flow_item_gtp_psc");
        for function in FUNCTIONS {
            builder = builder.allowlist_function(function);
        }
        let bindings = match builder.generate() {
            Ok(bindings) => bindings,
            Err(error) => fail(&format!("DPDK's headers cannot be bound: {error}")),
        };
        let Some(directory) = env::var_os("OUT_DIR") else { fail("cargo set no OUT_DIR") };
        if let Err(error) = bindings.write_to_file(PathBuf::from(directory).join("dpdk_sys.rs")) {
            fail(&format!("the bindings cannot be written: {error}"));
        }
    }

    /// Links the shared libraries; the linker keeps those that something reachable calls (`--as-needed`), so that
    /// `vtepctl` ends up with none. The drivers are plug-ins that EAL loads from the distribution's folder.
    fn link(flags: &[String]) {
        for flag in flags {
            if let Some(library) = flag.strip_prefix("-l") {
                println!("cargo::rustc-link-lib=dylib={library}");
            } else if let Some(folder) = flag.strip_prefix("-L") {
                println!("cargo::rustc-link-search=native={folder}");
            }
        }
    }
}
