//! The one place that knows which back ends this build has.

use burn::tensor::Device;

use crate::Error;

/// The device with this name: `flex` (the CPU), `cuda:0`, `tch`; the build's features decide which exist.
///
/// # Errors
/// If the name is unknown or its back end is not part of this build.
pub fn device(name: &str) -> Result<Device, Error> {
    match name.split_once(':').unwrap_or((name, "0")) {
        #[cfg(feature = "flex")]
        ("flex", "0") => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        ("cuda", index) if index.parse::<usize>().is_ok() => {
            Ok(Device::cuda(index.parse::<usize>().expect("the guard parsed it")))
        }
        #[cfg(feature = "tch")]
        #[allow(deprecated)]
        ("tch", "0") => Ok(Device::libtorch()),
        _ => Err(Error::Device { found: name.into(), expected: available().join(" or ") }),
    }
}

/// The device that is used where none is named: the first back end of this build.
pub fn default_device() -> &'static str {
    available().first().copied().unwrap_or("none")
}

/// One name per back end of this build.
fn available() -> Vec<&'static str> {
    [("flex", cfg!(feature = "flex")), ("cuda:0", cfg!(feature = "cuda")), ("tch", cfg!(feature = "tch"))]
        .into_iter()
        .filter_map(|(name, built)| built.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_refused_by_name() {
        assert!(device("abacus").unwrap_err().to_string().starts_with("device `abacus`: expected "));
        #[cfg(feature = "flex")]
        assert!(device("flex").is_ok() && device(default_device()).is_ok());
    }
}
