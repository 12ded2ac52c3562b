//! Capabilities: drops all that reload and exit do not need once the device is open.

use std::collections::HashSet;

use caps::{CapSet, Capability};

/// CAP_NET_ADMIN: routes, addresses, sysctls and nftables at reload and exit. CAP_NET_BIND_SERVICE: listeners on
/// port 53 that a reload adds.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];

/// Drops all capabilities except [`KEPT`]. Call it while the process has one thread: later threads inherit the
/// capabilities.
///
/// # Errors
/// The kernel refuses the change.
pub(super) fn drop_unneeded() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: HashSet<_> = KEPT.into_iter().filter(|cap| permitted.contains(cap)).collect();
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
