"""NVIDIA GPUs: what is offered when, and vGPUs made and removed."""

import pytest

from cyborg.accelerator import sysfs
from cyborg.accelerator.drivers import nvidia_gpu
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden
from cyborg.tests.fixtures import machine

T4, USED_T4, BARE_T4 = "0000:af:00.0", "0000:b0:00.0", "0000:b1:00.0"
UUID = "1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d11"


@pytest.fixture
def kernel(monkeypatch):
    kernel = machine.FakeKernel(vgpu_capacity=3)
    monkeypatch.setattr(sysfs, "write_sysfs", kernel)
    return kernel


def make(root, types=None, **options):
    """Return a driver; ``types`` are addresses by vGPU type."""
    types = types or {}
    groups = {
        f"vgpu_{name}": {"device_addresses": addresses}
        for name, addresses in types.items()
    }
    gpu = {"enabled_vgpu_types": list(types), **options}
    return nvidia_gpu.NvidiaGPUDriver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(gpu_devices=gpu, **groups),
    )


def offered(driver):
    """Return resource class and count by address; None of a stub."""
    return {
        device.controlpath_id.cpid_info[9:11]: (
            None
            if device.stub
            else (
                device.deployable_list[0].attribute_list[0].value,
                device.deployable_list[0].num_accelerators,
            )
        )
        for device in driver.discover()
    }


def test_count_stays_while_vgpus_are_made(tmp_path, kernel):
    root = machine.unpack("gpu_server", tmp_path)
    driver = make(root, {"nvidia-222": [T4, USED_T4]})
    before = golden.text(driver.discover())
    for _time in range(2):
        driver.create_mdev(T4, "nvidia-222", UUID)
        assert golden.text(driver.discover()) == before
    for _time in range(2):
        driver.remove_mdev(T4, "nvidia-222", UUID)
        assert golden.text(driver.discover()) == before
    assert len(kernel.writes) == 2


def test_card_without_host_driver_or_type(tmp_path):
    root = machine.unpack("gpu_server", tmp_path)
    driver = make(root, {"nvidia-222": [BARE_T4], "nvidia-999": [T4]})
    found = offered(driver)
    assert found["b1"] is None
    assert found["af"] is None
    assert found["b0"] == ("PGPU", 1)


def test_vgpu_only_of_the_configured_type(tmp_path):
    root = machine.unpack("gpu_server", tmp_path)
    driver = make(root, {"nvidia-223": [T4], "nvidia-234": [USED_T4]})
    found = offered(driver)
    assert found["af"] == ("VGPU", 8)
    # The card has vGPUs of another type.
    assert found["b0"] == ("VGPU", 0)


@pytest.mark.parametrize("count", [(False, 2), (True, 1)])
def test_virtual_functions(tmp_path, count):
    hidden, expected = count
    root = machine.unpack("gpu_server", tmp_path)
    driver = make(root, filter_sriov_vfs=hidden)
    names = [d.deployable_list[0].name for d in driver.discover()]
    assert len([n for n in names if n.startswith("cn1_0000:86")]) == expected


def test_shared_card_is_not_offered_whole(tmp_path):
    """Nor is a virtual function that no type is configured for."""
    root = machine.unpack("gpu_ampere", tmp_path)
    driver = make(root, {"nvidia-557": ["0000:41:00.4"]})
    names = [d.deployable_list[0].name for d in driver.discover()]
    assert names == ["cn1_0000:41:00.4"]


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ({"nvidia-222": []}, "vgpu_nvidia-222.* missing"),
        ({"nvidia-222": ["af:00.0"]}, "vgpu_nvidia-222.*af:00.0"),
        ({"nvidia-222": [T4], "nvidia-223": [T4.upper()]}, f"{T4} is in"),
        ({"nvidia-222": [T4, T4]}, f"{T4} is in"),
    ],
)
def test_configuration_is_checked_at_start(tmp_path, types, reason):
    with pytest.raises(exception.InvalidvGPUConfig, match=reason):
        make(tmp_path, types)


def test_mdevs_left_to_nova(tmp_path, kernel):
    root = machine.unpack("gpu_server", tmp_path)
    driver = make(root, {"nvidia-222": [T4]}, precreate_mdev=False)
    driver.create_mdev(T4, "nvidia-222", UUID)
    assert kernel.writes == []
    driver.remove_mdev(USED_T4, "nvidia-222", existing(root))
    assert [text for _path, text in kernel.writes] == ["1"]


def existing(root):
    path = sysfs.resolve(root, "sys/class/mdev_bus", USED_T4)
    (first, *_rest) = sysfs.names(
        path, "mdev_supported_types/nvidia-222/devices"
    )
    return first


HOPPER = {"nvidia-1414": ["0000:c1:00.0"]}
FREE = "0000:c1:00.5"


def test_vendor_vfio_is_off_by_default(tmp_path):
    root = machine.unpack("gpu_hopper", tmp_path)
    assert offered(make(root, HOPPER)) == {"c1": None}


def test_vendor_vfio_report_stays_while_vgpus_are_made(tmp_path, kernel):
    root = machine.unpack("gpu_hopper", tmp_path)
    driver = make(root, HOPPER, vendor_vfio=True)
    before = golden.text(driver.discover())
    for _time in range(2):
        driver.create_mdev(FREE, "nvidia-1414", UUID)
    # The card is full now, and functions tell no types any more.
    assert golden.text(driver.discover()) == before
    driver.remove_mdev(FREE, "nvidia-1414", UUID)
    assert [text for _path, text in kernel.writes] == ["1414", "0"]


def test_vendor_vfio_on_a_full_card_after_a_restart(tmp_path, kernel):
    """Its name cannot be read any more, so the records stay."""
    root = machine.unpack("gpu_hopper", tmp_path)
    make(root, HOPPER, vendor_vfio=True).create_mdev(FREE, "nvidia-1414", UUID)
    driver = make(root, HOPPER, vendor_vfio=True)
    assert offered(driver) == {"c1": None}


def test_vendor_vfio_needs_no_precreate_option(tmp_path, kernel):
    """Nova does not make these."""
    root = machine.unpack("gpu_hopper", tmp_path)
    driver = make(root, HOPPER, vendor_vfio=True, precreate_mdev=False)
    driver.create_mdev(FREE, "nvidia-1414", UUID)
    assert [text for _path, text in kernel.writes] == ["1414"]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("GRID T4-1B", "T4-1B"),
        ("NVIDIA H200X-1-18C", "H200X-1-18C"),
        (
            "NVIDIA RTX Pro 6000 Blackwell DC-3Q",
            "RTX Pro 6000 Blackwell DC-3Q",
        ),
        ("nvidia-222", "nvidia-222"),
    ],
)
def test_names_of_types(name, short):
    assert nvidia_gpu.short_name(name) == short
