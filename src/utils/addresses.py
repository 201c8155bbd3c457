"""What an address to listen on, or to send to, means."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import inet_aton, inet_ntoa


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(address: str) -> str:
    """Whom an address stands for: an IPv4 address itself, in either way of writing it, an IPv6
    address the /64 that one customer is given. Anything else is itself."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:  # a client of IPv4, on a socket of both
        return str(found.ipv4_mapped)
    return f"{int(found) >> 64:x}::/64"


_METADATA = frozenset(
    {
        "metadata.google.internal",
        "169.254.169.254",  # of nearly all clouds
        "169.254.170.2",  # of containers at AWS
        "fd00:ec2::254",
        "100.100.100.200",  # of Alibaba
    }
)


def is_metadata(host: str) -> bool:
    """Whether a cloud answers on `host` with what its machines may do: never an API's place.

    However the address is written: `0xa9fea9fe`, `2852039166`, `::ffff:169.254.169.254`.
    """
    host = host.lower().rstrip(".")
    address: IPv4Address | IPv6Address
    try:
        address = ip_address(inet_ntoa(inet_aton(host)))
    except (OSError, ValueError):
        try:
            address = ip_address(host)
        except ValueError:
            return host in _METADATA
    return str(getattr(address, "ipv4_mapped", None) or address) in _METADATA


def without_port(address: str) -> str:
    """`10.1.2.3:40000` as `10.1.2.3`; one without a port as it is."""
    head = address.rstrip("0123456789")
    return head[:-1] if head.endswith(":") else address
