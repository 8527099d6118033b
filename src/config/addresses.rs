//! Which addresses can be a VXLAN tunnel endpoint's.

use std::net::IpAddr;

use super::diagnostic::{Diagnostic, Span};
use super::value::Located;

/// An address that one host of the underlay can have.
pub(super) fn underlay_host(address: &Located<IpAddr>, whose: &str) -> Result<(), Diagnostic> {
    let ip = address.value;
    let (what, remedy) = if ip.is_unspecified() {
        ("the unspecified address", "write the address itself; there is no wildcard")
    } else if ip.is_multicast() {
        ("a multicast address", "write the address of one host")
    } else if ip.is_loopback() {
        ("a loopback address, which never leaves its machine", "write an address of the underlay")
    } else if matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        ("the broadcast address", "write the address of one host")
    } else if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        ("an IPv4 address in IPv6 form", "write it as an IPv4 address")
    } else {
        return Ok(());
    };
    Err(Diagnostic::error(address.span, format!("`{ip}` cannot be the address of {whose}"))
        .label(format!("this is {what}"))
        .remedy(remedy))
}

/// Refuses a remote VTEP with an address that is the gateway's, as `own` says.
pub(super) fn own_remote(address: &Located<IpAddr>, own: Span) -> Diagnostic {
    Diagnostic::error(address.span, format!("`{}` is the gateway's own address", address.value))
        .label("must be another VTEP's")
        .related(own, "the gateway's own")
        .remedy("remove it, or write the address of the other VTEP")
}

/// An address that a remote VTEP can have, given the gateway's own.
pub(super) fn remote_vtep(address: &Located<IpAddr>, own: Option<Located<IpAddr>>) -> Result<(), Diagnostic> {
    underlay_host(address, "a remote VTEP")?;
    let Some(own) = own else { return Ok(()) };
    let family = |ip: IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    if address.value == own.value {
        return Err(own_remote(address, own.span));
    }
    if address.value.is_ipv4() != own.value.is_ipv4() {
        let (theirs, ours) = (family(address.value), family(own.value));
        let message = format!("`{}` is an {theirs} address, and the underlay is {ours}", address.value);
        return Err(Diagnostic::error(address.span, message)
            .label(format!("an {theirs} address"))
            .related(own.span, format!("an {ours} address"))
            .remedy(format!("write the {ours} address of the remote VTEP")));
    }
    Ok(())
}

/// An address that a multicast group of the underlay can have, given the gateway's own.
pub(super) fn underlay_group(address: &Located<IpAddr>, own: Option<Located<IpAddr>>) -> Result<(), Diagnostic> {
    let ip = address.value;
    let example = match own.map(|own| own.value) {
        Some(IpAddr::V6(_)) => "ff05::1:1",
        _ => "239.1.1.1",
    };
    let wrong = |label: &str, remedy: String| {
        let found = Diagnostic::error(address.span, format!("`{ip}` cannot be a group of the underlay"));
        Err(found.label(label.to_owned()).remedy(remedy))
    };
    // What is of the link alone routers do not forward, switches do not filter, and hosts do not report (RFC 4541, 2.1.2;
    // RFC 4291, 2.7).
    let is_local = match ip {
        IpAddr::V4(ip) => ip.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(ip) => ip.octets().get(1).is_some_and(|scope| scope & 0x0f <= 2),
    };
    match own {
        _ if !ip.is_multicast() => wrong("not a multicast address", format!("choose one, as in `\"{example}\"`")),
        _ if is_local => wrong("a group of one link", format!("choose one that is forwarded, as in `\"{example}\"`")),
        Some(own) if own.value.is_ipv4() != ip.is_ipv4() => {
            let (theirs, ours) = if ip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            let message = format!("`{ip}` is an {theirs} address, and the underlay is {ours}");
            Err(Diagnostic::error(address.span, message)
                .label(format!("an {theirs} group"))
                .related(own.span, format!("an {ours} address"))
                .remedy(format!("choose an {ours} group, as in `\"{example}\"`")))
        }
        _ => Ok(()),
    }
}
