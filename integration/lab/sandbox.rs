//! What the running process may do, and whose files it leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use gate64::lab::GatewayConfig;

use super::{Test, build, expect, program, wrong};

#[test]
fn the_process_has_no_new_privileges_and_a_filter() -> Test {
    let Some(site) = build(1, None)? else { return Ok(()) };
    let gateway = site.start(&GatewayConfig::default())?;
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid()));
    let status = status.map_err(|error| wrong(error.to_string()))?;
    expect(&status, "NoNewPrivs:\t1")?;
    expect(&status, "Seccomp:\t2")?;
    // CAP_NET_ADMIN and CAP_NET_BIND_SERVICE.
    expect(&status, "CapPrm:\t0000000000001400")?;
    site.page()?;
    gateway.stop()
}

#[test]
fn root_and_the_user_of_the_unit_share_a_state_directory() -> Test {
    const USER: u32 = 65_534;
    let Some(site) = build(1, None)? else { return Ok(()) };
    let failed = |error: std::io::Error| wrong(error.to_string());
    let dir = site.file("state");
    fs::create_dir(&dir).map_err(failed)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).map_err(failed)?;
    chown(&dir, Some(USER), Some(USER)).map_err(failed)?;
    let gateway = site.start(&GatewayConfig::default())?;
    site.page()?;
    gateway.stop()?;
    let entries = || fs::read_dir(&dir).into_iter().flatten().flatten();
    let names: Vec<_> = entries().map(|entry| entry.file_name()).collect();
    assert!(names.iter().any(|name| name == "last_good.toml"), "{names:?}");
    for entry in entries().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        let metadata = entry.metadata().map_err(failed)?;
        assert_eq!(metadata.uid(), USER, "{}", entry.path().display());
    }
    let line = format!("{} cleanup --state-dir {}", program().display(), dir.display());
    site.lab.gateway.text(&line).map(drop)
}
