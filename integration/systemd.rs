//! Runs the unit of `configs/` under a systemd booted in its own namespaces.

use std::fs;
use std::path::{Path, PathBuf};

use gate64::lab::{CommandLine, LabError};

use crate::lab::{Test, expect, lock_machine, program, wrong};

mod soak;

/// A directory visible to the booted systemd and the test, there as /mnt. Not under /tmp, which systemd mounts again.
struct Shared(PathBuf);

impl Shared {
    /// `drive` is the script that runs in the booted systemd.
    fn new(drive: &str) -> Result<Self, LabError> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("systemd-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
        let shared = Self(dir);
        shared.write("boot.sh", include_str!("systemd/boot.sh"))?;
        shared.write("site.sh", include_str!("systemd/site.sh"))?;
        shared.write("drive.sh", drive)?;
        Ok(shared)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Test {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|e| wrong(format!("{}: {e}", path.display())))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// Boots systemd with the units of `configs/`, and returns what drive.sh printed. Prints it, too.
    fn boot(&self, program: &Path, seconds: u64) -> Result<String, LabError> {
        let dir = self.0.display();
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/gate64.service");
        let line = format!(
            "unshare --pid --fork --mount --net --uts --ipc --cgroup --kill-child \
             bash {dir}/boot.sh {} {} {dir}",
            program.display(),
            unit.display()
        );
        // Only the transcript says whether the test passed; the exit code is systemd's.
        let outcome = CommandLine::new(&line).limit(seconds).outcome()?;
        let output = self.read("transcript");
        eprintln!("{output}\n{}\n{}", self.read("boot.log"), outcome.stderr);
        Ok(output)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_unit_starts_reloads_stops_and_cleans_up() -> Test {
    let Some(_machine) = lock_machine() else { return Ok(()) };
    let shared = Shared::new(include_str!("systemd/drive.sh"))?;
    let output = shared.boot(program(), 300)?;
    for wanted in [
        "LAB start: active running",
        "LAB type: notify",
        "LAB uid: own",
        "LAB device: there",
        "LAB name: 2001:db8:64::c000:aa",
        "LAB steering true  overload filter idle",
        "LAB reload: 0 active success",
        "LAB invalid file: 1 active success 2001:db8:64::c000:aa",
        "gate64.toml:14:12: `everyone`: not an address or prefix",
        "LAB exit code: 2",
        "LAB new prefix: 0 2001:db8:66::c000:aa",
        "LAB old prefix: 0 2001:db8:64::c000:aa",
        "LAB errors in the journal: 2",
        "LAB same process: yes",
        "LAB mapped: 192.0.2.",
        "LAB restart: 0 same device same address and port",
        "LAB kill: same device same address and port",
        "LAB in progress: yes",
        "LAB transfer: 0 equal",
        "LAB workers 1: 0 same device answered",
        "LAB workers 3: 0 same device answered",
        "LAB workers 2: 0 same device answered",
        "LAB pings: 200 packets transmitted, 200 received",
        "LAB deleted device: active new device",
        "LAB other prefix: 2001:db8:66::/96",
        "LAB stop: inactive success",
        "LAB links: as before",
        "LAB sysctls: as before",
        "LAB links after a crash: as before",
        "LAB sysctls after a crash: as before",
        "LAB end",
    ] {
        expect(&output, wanted)?;
    }
    Ok(())
}
