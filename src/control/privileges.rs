//! Capabilities: drops all that reload and exit do not need once the device is open.

use std::collections::HashSet;
use std::path::Path;

use caps::{CapSet, Capability};

use super::state_dir;

/// CAP_NET_ADMIN: routes, addresses, sysctls and nftables at reload and exit. CAP_NET_BIND_SERVICE: listeners on
/// port 53 that a reload adds.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];

/// Capabilities that root keeps if the state directory is of another user: that of the unit.
const FOR_STATE: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_CHOWN];

/// Drops all capabilities except [`KEPT`], and [`FOR_STATE`] where root needs it to write in the state directory. Call
/// it while the process has one thread: later threads inherit the capabilities.
///
/// # Errors
/// The kernel refuses the change.
pub(super) fn drop_unneeded(state_dir: &Path) -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let for_state = FOR_STATE.into_iter().filter(|_| state_dir::owner(state_dir).is_some());
    let kept: HashSet<_> = KEPT.into_iter().chain(for_state).filter(|cap| permitted.contains(cap)).collect();
    for cap in caps::read(None, CapSet::Bounding)? {
        // Without CAP_SETPCAP the bounding set cannot shrink; the service manager sets it then.
        if !kept.contains(&cap) && caps::drop(None, CapSet::Bounding, cap).is_err() {
            break;
        }
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    // nft needs CAP_NET_ADMIN, and without root it inherits ambient capabilities only.
    let for_children: HashSet<_> = kept.iter().copied().filter(|c| *c == Capability::CAP_NET_ADMIN).collect();
    caps::set(None, CapSet::Inheritable, &for_children)?;
    caps::set(None, CapSet::Ambient, &for_children)
}

/// Whether the process has the capability to start a gateway.
pub(super) fn may_start() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}
