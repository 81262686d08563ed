"""Devices as people write them, and the table of what they are."""

from __future__ import annotations

import pytest

from codellama_train.console import UserError
from codellama_train.planning.devices import DEVICES, PEAK_FLOPS, parse_cluster


@pytest.mark.parametrize(
    ("text", "number", "name"),
    [
        ("64xA100-80", 64, "A100-80"),
        ("A100-80", 1, "A100-80"),
        ("8 x a100 80gb sxm4", 8, "A100-80"),
        ("8xNVIDIA A100-SXM4-80GB", 8, "A100-80"),
        ("8xNVIDIA A100 80GB PCIe", 8, "A100-80-PCIe"),
        ("A100-80-PCIe", 1, "A100-80-PCIe"),
        ("4xH100", 4, "H100-80"),
        ("H100-80-SXM", 1, "H100-80"),
        ("NVIDIA H100 80GB HBM3", 1, "H100-80"),
        ("h100-pcie", 1, "H100-80-PCIe"),
        ("16XH200", 16, "H200"),
        ("4090", 1, "4090"),
        ("8x4090", 8, "4090"),
        ("2x RTX 4090", 2, "4090"),
        ("rtx3090", 1, "3090"),
        ("RTX A6000", 1, "A6000"),
    ],
)
def test_devices_are_found_as_people_write_them(text, number, name):
    cluster = parse_cluster(text)
    assert (cluster.num_devices, cluster.device.name) == (number, name)
    assert parse_cluster(str(cluster)) == cluster


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8xA100", "did you mean A100-40 or A100-40-PCIe or A100-80 or A100-80-PCIe?"),
        ("8xA100-8", "did you mean A100-80 or A100-80-PCIe?"),
        ("8xH2000", "did you mean H200"),
        ("8xMI300X", "none of A100-40,"),
        ("8", "none of A100-40,"),
        ("0xH200", "write it as 64xA100-80"),
        ("-1xH200", "none of"),
        ("", "write it as 64xA100-80"),
        ("8x", "none of"),
        ("many", "write it as 64xA100-80"),
        ("4090x8", "none of"),
        ("2xA100-80,4xH200", "none of"),
    ],
)
def test_what_is_no_device_is_refused_with_what_there_is(text, said):
    with pytest.raises(UserError, match="--devices") as refusal:
        parse_cluster(text)
    assert said in str(refusal.value)


def test_nodes_are_full_but_for_the_last():
    assert [parse_cluster(f"{number}xA100-80").num_nodes for number in (1, 8, 9, 64)] == [1, 1, 2, 8]
    assert parse_cluster("3xGH200").num_nodes == 3
    assert parse_cluster("A100-80").host_bytes_per_device == 250 * 10**9


def test_the_table_is_consistent():
    assert len(PEAK_FLOPS) == len(DEVICES) == len({device.name for device in DEVICES})
    for device in DEVICES:
        named = [int(digits) for digits in ("40", "80") if digits in device.name.split("-")]
        assert all(0.95 < device.memory_bytes / (gigabytes << 30) < 1 for gigabytes in named), device.name
        # A product of large matrices takes more arithmetic per byte than any device has bandwidth for.
        assert 50 < device.peak_flops / device.memory_bytes_per_second < 450, device.name
        assert device.link_bytes_per_second >= device.node.network_bytes_per_second, device.name
        assert 70 <= device.watts <= 1_000, device.name
