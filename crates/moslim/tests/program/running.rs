//! Programs that are watched at work, to be killed in the middle.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program that does not outlive a test that fails.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits for its end.
    pub(crate) fn output(mut self) -> Output {
        let mut stderr = Vec::new();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout: vec![], stderr }
    }
}

/// Starts a program whose errors are kept.
pub(crate) fn quietly(mut command: Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits until a file or folder is there.
pub(crate) fn wait_for(path: &Path, Running(child): &mut Running) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(100), "{} never came", path.display());
        assert!(child.try_wait().unwrap().is_none(), "it ended before {}", path.display());
        std::thread::sleep(Duration::from_micros(200));
    }
}
