"""The devices that training is planned for: one table of what they hold, compute, exchange and draw, with sources.

Compute, bandwidths and power are those of NVIDIA's data sheets. The node around a device is no fact about it: it is a
usual machine that has it, and an assumption that every plan prints.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from codellama_train.console import UserError

GIB, GB, TFLOPS = 1 << 30, 10**9, 10**12
# What a process holds on a device before its first tensor, CUDA's context and kernels: out-of-memory errors that name
# other processes show 612 MiB of such on an H200 and 614 MiB on an A100.
CONTEXT_BYTES = 614 << 20
# Sixteen lanes of PCI Express, each way, as PCI-SIG has it.
PCIE_4, PCIE_5 = 31.5 * GB, 63.0 * GB
THROUGH_HOST = PCIE_4 / 2  # GeForce cards may not reach each other: what they exchange is written to the host and read


@dataclass(frozen=True)
class Node:
    """A machine that holds devices."""

    description: str
    num_devices: int
    network_bytes_per_second: float  # of each device, each way
    host_memory_bytes: int
    host_memory_bytes_per_second: float


@dataclass(frozen=True)
class Device:
    """A kind of accelerator, in the node that it usually sits in."""

    name: str
    torch_names: tuple[str, ...]  # what torch.cuda.get_device_name gives
    # What torch says there is ("total capacity" in its out-of-memory errors, the least of those that people posted):
    # error correction takes a part of what the name promises.
    memory_bytes: int
    peak_flops: float  # dense bfloat16, float32 accumulation; newer data sheets print twice as much, "with sparsity"
    memory_bytes_per_second: float
    watts: int  # thermal design power
    link_bytes_per_second: float  # to a neighbour in the node, each way: half of what data sheets print of NVLink
    host_link_bytes_per_second: float  # to the host's memory, each way
    node: Node
    source: str

    @property
    def usable_bytes(self) -> int:
        """What a process's tensors can take of the device's memory."""
        return self.memory_bytes - CONTEXT_BYTES

    @property
    def devices_per_node(self) -> int:
        """The devices of a node that is full."""
        return self.node.num_devices


@dataclass(frozen=True)
class Cluster:
    """So many devices of one kind, in nodes that are full but for the last."""

    device: Device
    num_devices: int

    @property
    def num_nodes(self) -> int:
        """The nodes that the devices sit in."""
        return -(-self.num_devices // self.device.devices_per_node)

    @property
    def host_bytes_per_device(self) -> int:
        """A device's part of its node's memory: who rents a part of a node is given that part of its memory."""
        return self.device.node.host_memory_bytes // self.device.devices_per_node

    def with_host_memory(self, gigabytes: float) -> Cluster:
        """Give the same devices in a machine, or machines, that a person knows to have so much memory."""
        node = self.device.node
        own = replace(
            node,
            description=f"{node.description}; but {gigabytes:,g} GB of memory as given",
            num_devices=min(self.num_devices, node.num_devices),
            host_memory_bytes=int(gigabytes * GB),
        )
        return replace(self, device=replace(self.device, node=own))

    def of(self, num_devices: int) -> Cluster:
        """Give a cluster of so many of these devices."""
        return replace(self, num_devices=num_devices)

    def __str__(self) -> str:
        """Write it as a person does: 64xA100-80."""
        return f"{self.num_devices}x{self.device.name}"


# Memory bandwidth of a host with two sockets: eight channels each of DDR4-3200, or of DDR5-4800.
DDR4, DDR5 = 410, 614


def _node(description: str, *, gigabits: int, gigabytes: int, host: int = DDR4, num_devices: int = 8) -> Node:
    """Describe a node; `gigabits` per second are those of its whole network, `host` the host memory's GB per second."""
    return Node(description, num_devices, gigabits * GB / 8 / num_devices, gigabytes * GB, host * GB)


DGX_A100_40 = _node("DGX A100, 8 x 200 Gb/s InfiniBand, 1 TB", gigabits=1_600, gigabytes=1_000)
DGX_A100 = _node("DGX A100, 8 x 200 Gb/s InfiniBand, 2 TB", gigabits=1_600, gigabytes=2_000)
DGX_H100 = _node("DGX H100 or H200, 8 x 400 Gb/s InfiniBand, 2 TB", gigabits=3_200, gigabytes=2_000, host=DDR5)
DGX_B200 = _node("DGX B200, 8 x 400 Gb/s InfiniBand, 2 TB", gigabits=3_200, gigabytes=2_000, host=DDR5)
GRACE = _node("one superchip with 480 GB, 400 Gb/s InfiniBand", gigabits=400, gigabytes=480, host=500, num_devices=1)
SERVER = _node("assumed: a PCIe server of 8, 400 Gb/s InfiniBand, 1 TB", gigabits=400, gigabytes=1_000)
WORKSTATION = _node("assumed: a machine of 8, 100 Gb/s Ethernet, 512 GB", gigabits=100, gigabytes=512)
G5 = _node("AWS g5.48xlarge, 8, 100 Gb/s, 768 GB", gigabits=100, gigabytes=768)
G6 = _node("AWS g6.48xlarge, 8, 100 Gb/s, 768 GB", gigabits=100, gigabytes=768)
G6E = _node("AWS g6e.48xlarge, 8, 400 Gb/s, 1.5 TB", gigabits=400, gigabytes=1_536, host=DDR5)


def _device(
    name: str,
    torch_name: str,
    *,
    gib: float,
    tflops: float,
    gb_per_second: int,
    watts: int,
    link: float,
    node: Node,
    source: str,
    host_link: float = PCIE_4,
) -> Device:
    memory, peak = int(gib * GIB), tflops * TFLOPS
    return Device(name, (torch_name,), memory, peak, gb_per_second * GB, watts, link, host_link, node, source)


A100, H100, H200, GH200, B200, A10, A10G, L4, L40S, A6000 = (
    f"data sheet of the NVIDIA {name}"
    for name in ("A100", "H100", "H200", "GH200", "HGX B200", "A10", "A10G", "L4", "L40S", "RTX A6000")
)
GA102, ADA = "NVIDIA's whitepaper of the GA102 architecture", "NVIDIA's whitepaper of the Ada architecture"

# fmt: off
DEVICES = (
    _device("A100-40", "NVIDIA A100-SXM4-40GB", gib=39.38, tflops=312, gb_per_second=1_555, watts=400,
            link=300 * GB, node=DGX_A100_40, source=A100),
    _device("A100-40-PCIe", "NVIDIA A100-PCIE-40GB", gib=39.38, tflops=312, gb_per_second=1_555, watts=250,
            link=PCIE_4, node=SERVER, source=A100),
    _device("A100-80", "NVIDIA A100-SXM4-80GB", gib=79.14, tflops=312, gb_per_second=2_039, watts=400,
            link=300 * GB, node=DGX_A100, source=A100),
    _device("A100-80-PCIe", "NVIDIA A100 80GB PCIe", gib=79.14, tflops=312, gb_per_second=1_935, watts=300,
            link=PCIE_4, node=SERVER, source=A100),
    _device("H100-80", "NVIDIA H100 80GB HBM3", gib=79.10, tflops=989.5, gb_per_second=3_350, watts=700,
            link=450 * GB, host_link=PCIE_5, node=DGX_H100, source=H100),
    _device("H100-80-PCIe", "NVIDIA H100 PCIe", gib=79.10, tflops=756.5, gb_per_second=2_000, watts=350,
            link=PCIE_5, host_link=PCIE_5, node=SERVER, source=H100),
    _device("H100-NVL", "NVIDIA H100 NVL", gib=93.02, tflops=835.5, gb_per_second=3_900, watts=400,
            link=PCIE_5, host_link=PCIE_5, node=SERVER, source=H100),
    _device("H200", "NVIDIA H200", gib=139.72, tflops=989.5, gb_per_second=4_800, watts=700,
            link=450 * GB, host_link=PCIE_5, node=DGX_H100, source=H200),
    _device("H200-NVL", "NVIDIA H200 NVL", gib=139.72, tflops=835.5, gb_per_second=4_800, watts=600,
            link=PCIE_5, host_link=PCIE_5, node=SERVER, source=H200),
    _device("GH200", "NVIDIA GH200 480GB", gib=94.50, tflops=989.5, gb_per_second=4_000, watts=1000,
            link=50 * GB, host_link=450 * GB, node=GRACE, source=GH200),
    _device("B200", "NVIDIA B200", gib=178.35, tflops=2_250, gb_per_second=7_700, watts=1000,
            link=900 * GB, host_link=PCIE_5, node=DGX_B200, source=B200),
    _device("A10", "NVIDIA A10", gib=22.03, tflops=125, gb_per_second=600, watts=150,
            link=PCIE_4, node=WORKSTATION, source=A10),
    _device("A10G", "NVIDIA A10G", gib=22.03, tflops=70, gb_per_second=600, watts=300,
            link=PCIE_4, node=G5, source=A10G),
    _device("L4", "NVIDIA L4", gib=22.03, tflops=121, gb_per_second=300, watts=72,
            link=PCIE_4, node=G6, source=L4),
    _device("L40S", "NVIDIA L40S", gib=44.39, tflops=362, gb_per_second=864, watts=350,
            link=PCIE_4, node=G6E, source=L40S),
    _device("A6000", "NVIDIA RTX A6000", gib=47.40, tflops=154.8, gb_per_second=768, watts=300,
            link=PCIE_4, node=WORKSTATION, source=A6000),
    _device("3090", "NVIDIA GeForce RTX 3090", gib=23.56, tflops=71, gb_per_second=936, watts=350,
            link=THROUGH_HOST, node=WORKSTATION, source=GA102),
    _device("4090", "NVIDIA GeForce RTX 4090", gib=23.52, tflops=165.2, gb_per_second=1_008, watts=450,
            link=THROUGH_HOST, node=WORKSTATION, source=ADA),
)
# fmt: on
PEAK_FLOPS = {name: device.peak_flops for device in DEVICES for name in device.torch_names}
# Further names that people use; those that fit several devices are asked about instead.
OTHER_NAMES = {"h100": "h10080", "h100pcie": "h10080pcie", "h10094": "h100nvl", "h200141": "h200"}
WRITTEN = re.compile(r"(?:(?P<number>\d+)\s*[x*]\s*)?(?P<name>\D*\d.*)", re.IGNORECASE)


def parse_cluster(text: str) -> Cluster:
    """Read how many devices of which kind a person writes: 64xA100-80, 8x4090, or H200 for one."""
    written = WRITTEN.fullmatch(text.strip())
    number = int(written["number"] or 1) if written else 0
    if not written or not number:
        raise UserError(f"--devices {text!r} is no number of devices; write it as 64xA100-80, or A100-80 for one")
    return Cluster(find_device(written["name"]), number)


def find_device(name: str) -> Device:
    """Give the device that a person names, in whatever of the usual spellings."""
    by_key = {_key(spelling): device for device in DEVICES for spelling in (device.name, *device.torch_names)}
    key = OTHER_NAMES.get(_key(name), _key(name))
    if key in by_key:
        return by_key[key]
    kinds = [device.name for device in DEVICES]
    near = [kind for kind in kinds if key and _key(kind).startswith(key)]
    near = near or difflib.get_close_matches(name.upper(), kinds, n=2)
    raise UserError(
        f"--devices names {name!r}, which is none of {', '.join(kinds)}"
        + (f"; did you mean {' or '.join(near)}?" if near else "; codellama_train/planning/devices.py is their table")
    )


def _key(name: str) -> str:
    """Leave of a device's name what tells it from others."""
    return re.sub(r"nvidia|geforce|rtx|tesla|sxm\d?|hbm\de?|gb|[^a-z0-9]", "", name.lower())
