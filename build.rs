//! Tells the crate which Python it is built for, when it is built for one.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
