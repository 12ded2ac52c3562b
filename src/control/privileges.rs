//! Rights: only those that reloading and cleaning up take, from the moment the device is open.

use std::collections::HashSet;

use caps::{CapSet, Capability};

/// CAP_NET_ADMIN: routes, addresses, kernel settings and nftables at reload and at the end.
/// CAP_NET_BIND_SERVICE: listeners on port 53 that a reload may add.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];

/// Gives up every capability that is not needed any more. Threads started later inherit this, so it
/// must be called while there is one thread only.
///
/// # Errors
/// What the kernel said.
pub fn drop_unneeded() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: HashSet<_> = KEPT.into_iter().filter(|cap| permitted.contains(cap)).collect();
    for cap in caps::read(None, CapSet::Bounding)? {
        // Without CAP_SETPCAP the bounding set can't shrink; then it was somebody else's to set.
        if !kept.contains(&cap) && caps::drop(None, CapSet::Bounding, cap).is_err() {
            break;
        }
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    // nft, which we start, needs it too, and inherits it only like this if we are not root.
    let for_children: HashSet<_> = kept.iter().copied().filter(|c| *c == Capability::CAP_NET_ADMIN).collect();
    caps::set(None, CapSet::Inheritable, &for_children)?;
    caps::set(None, CapSet::Ambient, &for_children)
}

/// Whether we may do what starting takes.
pub fn may_start() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}
