"""What crosses the wire stays what peers of other releases know."""

from typing import Any

from oslo_versionedobjects import exception as ovo_exception
from oslo_versionedobjects import fields
from oslo_versionedobjects import fixture
import pytest

from cyborg import context as cyborg_context
from cyborg import objects
from cyborg.objects import arq
from cyborg.objects import base
from cyborg.objects import device
from cyborg.objects import device_profile
from cyborg.objects import report

# A change of a fingerprint needs a new version of the object.
FINGERPRINTS = {
    "ARQ": "1.1-96cc5bec27fefb74db88261034dc46e3",
    "ARQPayload": "1.0-0a4f6df9ed991954eda9e848b5592d5c",
    "AttachHandle": "1.1-02c5734a692828beb22e7c6e7ec52ebb",
    "Attribute": "1.0-3e042d6370779d8da3d32f99ac8f5951",
    "ControlpathID": "1.2-a80f277f3a2c060b07301b74a69403e0",
    "Deployable": "1.1-d51f17df1436da69ad45176fb103f2c5",
    "Device": "1.6-5819e25e9b0a32211abb497a3401015b",
    "DeviceEventPayload": "1.0-d5f51af25e173d328060f4a2cc9426ce",
    "DevicePayload": "1.0-fbf6e2c7c49a86741b1281347dc2b48e",
    "DeviceProfile": "1.1-a7d1ea4646e897ad17765531c96765c1",
    "DriverAttachHandle": "1.0-074827c976ff5a627b77de5618ad61f2",
    "DriverAttribute": "1.0-5b6075e350e0c681bb086c855aa5b1d8",
    "DriverControlPathID": "1.0-8d91ad84194bee41951b433a5af6834a",
    "DriverDeployable": "1.1-935aa9a51bfa093d85a9d04e7061ff4e",
    "DriverDevice": "1.5-11357fd4786d355853ff862b5aeb0e82",
    "ExtARQ": "1.2-0064386747c9f7b4d690ca8f63d8dadd",
    "FPGAExtARQ": "1.2-0064386747c9f7b4d690ca8f63d8dadd",
}

# Those of the 2023.2 release, for the objects that have not changed since.
# They prove that the two releases mean the same on the wire.
SINCE_2023_2 = {
    "ARQ": "96cc5bec27fefb74db88261034dc46e3",
    "Attribute": "3e042d6370779d8da3d32f99ac8f5951",
    "Deployable": "d51f17df1436da69ad45176fb103f2c5",
    "DeviceProfile": "a7d1ea4646e897ad17765531c96765c1",
    "DriverAttachHandle": "074827c976ff5a627b77de5618ad61f2",
    "DriverAttribute": "5b6075e350e0c681bb086c855aa5b1d8",
    "DriverControlPathID": "8d91ad84194bee41951b433a5af6834a",
    "ExtARQ": "0064386747c9f7b4d690ca8f63d8dadd",
    "FPGAExtARQ": "0064386747c9f7b4d690ca8f63d8dadd",
}

CONTEXT = cyborg_context.get_admin_context()
SERIALIZER = base.CyborgObjectSerializer()


@pytest.fixture(autouse=True)
def registered() -> None:
    objects.register_all()


def checker() -> fixture.ObjectVersionChecker:
    return fixture.ObjectVersionChecker(
        base.CyborgObjectRegistry.obj_classes()
    )


def primitive(name: str, version: str, /, **data: Any) -> dict[str, Any]:
    """Return an object as a peer writes it."""
    return {
        "cyborg_object.name": name,
        "cyborg_object.namespace": "cyborg",
        "cyborg_object.version": version,
        "cyborg_object.data": data,
        "cyborg_object.changes": sorted(data),
    }


def received(wire: dict[str, Any]) -> Any:
    return SERIALIZER.deserialize_entity(CONTEXT, wire)


def test_fingerprints() -> None:
    expected, actual = checker().test_hashes(FINGERPRINTS)
    assert actual == expected


def test_fingerprints_of_2023_2() -> None:
    hashes = checker().get_hashes()
    assert {
        name: hashes[name].rpartition("-")[2] for name in SINCE_2023_2
    } == SINCE_2023_2


@pytest.mark.parametrize(
    ("types", "fingerprint"),
    [
        # 1.2, and 1.5 of 17.0.0.
        (-4, "1ed53ce018df2d478ddbb9657c27ff5c"),
        (-1, "29a62fbf137f1317d6d5429ac016a53b"),
    ],
)
def test_devices_of_released_versions(types: int, fingerprint: str) -> None:
    current: Any = device.Device.fields
    changed = {"type": fields.EnumField(current["type"].valid_values[:types])}
    if types == -1:
        changed["device_state"] = fields.EnumField(
            current["device_state"].valid_values, nullable=True
        )

    class Earlier(base.CyborgObject):
        fields = {
            name: field
            for name, field in (current | changed).items()
            if types == -1 or name != "device_state"
        }

    hashes = fixture.ObjectVersionChecker({"Earlier": [Earlier]}).get_hashes()
    assert hashes["Earlier"].endswith(fingerprint)


@pytest.mark.parametrize(
    ("current", "field", "fingerprint"),
    [
        (
            device.AttachHandle,
            "attach_type",
            "7fd6f7f330a3310049ffe38345bef837",
        ),
    ],
)
def test_pmem_is_all_that_came_since_2023_2(
    current: type[base.CyborgObject], field: str, fingerprint: str
) -> None:
    of_all: Any = current.fields[field]
    *values, newest = of_all.valid_values
    assert newest == "PMEM"

    class Earlier(current):  # type: ignore[misc,valid-type]
        fields = current.fields | {field: fields.EnumField(tuple(values))}

    hashes = fixture.ObjectVersionChecker({"Earlier": [Earlier]}).get_hashes()
    assert hashes["Earlier"].endswith(fingerprint)


# What an agent of the 2023.2 release sends for one card.
DRIVER_DEVICE_1_0 = primitive(
    "DriverDevice",
    "1.0",
    vendor="0x8086",
    model="0x09c4",
    type="FPGA",
    std_board_info='{"product_id": "0x09c4", "controller": null}',
    vendor_board_info="fpga_vb_info",
    stub=False,
    controlpath_id=primitive(
        "DriverControlPathID",
        "1.0",
        cpid_type="PCI",
        cpid_info='{"bus": "5e", "device": "00", "domain": "0000", '
        '"function": "0"}',
    ),
    deployable_list=[
        primitive(
            "DriverDeployable",
            "1.0",
            name="compute-1_0000:5e:00.0",
            num_accelerators=1,
            driver_name="intel_fpga_driver",
            attribute_list=[
                primitive("DriverAttribute", "1.0", key="rc", value="FPGA"),
                primitive(
                    "DriverAttribute",
                    "1.0",
                    key="trait0",
                    value="CUSTOM_FPGA_INTEL",
                ),
            ],
            attach_handle_list=[
                primitive(
                    "DriverAttachHandle",
                    "1.0",
                    attach_type="PCI",
                    attach_info='{"bus": "5e", "device": "00", '
                    '"domain": "0000", "function": "1"}',
                    in_use=False,
                )
            ],
        )
    ],
)


class TestEarlierPeers:
    def test_report_of_an_earlier_agent(self) -> None:
        card = received(DRIVER_DEVICE_1_0)

        assert isinstance(card, report.DriverDevice)
        assert (card.vendor, card.type) == ("0x8086", "FPGA")
        assert card.stub is False
        assert card.controlpath_id.cpid_type == "PCI"
        deployable: Any = card.deployable_list[0]
        assert deployable.name == "compute-1_0000:5e:00.0"
        assert [
            (attribute.key, attribute.value)
            for attribute in deployable.attribute_list
        ] == [("rc", "FPGA"), ("trait0", "CUSTOM_FPGA_INTEL")]
        (handle,) = deployable.attach_handle_list
        assert handle.attach_type == "PCI"
        assert handle.in_use is False

    def test_fields_an_earlier_driver_left_out(self) -> None:
        card = received(
            primitive(
                "DriverDevice",
                "1.0",
                vendor="19e5",
                model="Ascend310",
                type="AICHIP",
                controlpath_id=primitive(
                    "DriverControlPathID",
                    "1.0",
                    cpid_type="PCI",
                    cpid_info="{}",
                ),
                deployable_list=[
                    primitive(
                        "DriverDeployable",
                        "1.0",
                        name="npu",
                        num_accelerators=1,
                    )
                ],
            )
        )

        assert card.stub is False
        assert card.std_board_info is None
        (deployable,) = card.deployable_list
        assert deployable.attribute_list == []
        assert deployable.attach_handle_list == []
        assert deployable.driver_name is None

    def test_arq_1_1_as_written_by_hand(self) -> None:
        wire = primitive(
            "ExtARQ",
            "1.2",
            substate="Initial",
            deployable_uuid="00000000-0000-0000-0000-000000000000",
            device_profile_group={"resources:FPGA": "1"},
            attach_handle_id=None,
            deployable_id=None,
            arq=primitive(
                "ARQ",
                "1.1",
                id=1,
                uuid="e0000000-0000-4000-8000-000000000001",
                state="Initial",
                device_profile_name="fpga",
                device_profile_group_id=0,
                hostname=None,
                device_rp_uuid=None,
                instance_uuid=None,
                project_id="project-1",
                attach_handle_type="",
                attach_handle_uuid=None,
                attach_handle_info={},
            ),
        )
        ext_arq = received(wire)
        assert isinstance(ext_arq, arq.ExtARQ)
        assert ext_arq.arq.state == "Initial"

        sent = SERIALIZER.serialize_entity(CONTEXT, ext_arq)
        assert sent["cyborg_object.data"]["substate"] == "Initial"
        assert (
            sent["cyborg_object.data"]["arq"]["cyborg_object.data"]
            == wire["cyborg_object.data"]["arq"]["cyborg_object.data"]
        )

    def test_newer_object_is_refused(self) -> None:
        with pytest.raises(ovo_exception.IncompatibleObjectVersion):
            received(primitive("Attribute", "2.0"))


class TestForEarlierPeers:
    def test_profile_without_description(self) -> None:
        profile = device_profile.DeviceProfile(
            id=1, uuid="u", name="n", groups=[{"a": "b"}], description="d"
        )
        data = profile.obj_to_primitive("1.0")["cyborg_object.data"]
        assert data == {
            "id": 1,
            "uuid": "u",
            "name": "n",
            "groups": [{"a": "b"}],
        }

    def test_arq_without_deployable_id(self) -> None:
        ext_arq = arq.ExtARQ(
            substate="Initial", attach_handle_id=1, deployable_id=2
        )
        data = ext_arq.obj_to_primitive("1.1")["cyborg_object.data"]
        assert data == {"substate": "Initial", "attach_handle_id": 1}


CARD: dict[str, Any] = {
    "vendor": "144d",
    "model": "nvme",
    "controlpath_id": report.DriverControlPathID(
        cpid_type="PCI", cpid_info="{}"
    ),
}


class TestDriverDevice:
    @pytest.mark.parametrize("version", ["1.0", "1.1", "1.4", "1.5"])
    def test_any_version_is_read(self, version: str) -> None:
        wire = DRIVER_DEVICE_1_0 | {"cyborg_object.version": version}
        assert received(wire).device_state is None

    def test_17_0_0(self) -> None:
        data = DRIVER_DEVICE_1_0["cyborg_object.data"]
        card = received(
            primitive(
                "DriverDevice",
                "1.4",
                **data | {"type": "NVME", "device_state": "pending_cleaning"},
            )
        )
        assert (card.type, card.device_state) == ("NVME", "pending_cleaning")

    def test_words_of_a_later_release(self) -> None:
        data = DRIVER_DEVICE_1_0["cyborg_object.data"]
        card = received(
            primitive(
                "DriverDevice",
                "1.5",
                **data | {"type": "TPU", "device_state": "parked"},
            )
        )
        assert (card.type, card.device_state) == ("TPU", "parked")

    @pytest.mark.parametrize(
        ("kind", "state", "version"),
        [
            ("FPGA", None, "1.1"),
            ("PMEM", None, "1.1"),
            ("NVME", None, "1.5"),
            ("SSD", "error", "1.5"),
        ],
    )
    def test_is_written_for_the_oldest_that_can_read_it(
        self, kind: str, state: str | None, version: str
    ) -> None:
        card = report.DriverDevice(type=kind, device_state=state, **CARD)
        wire = SERIALIZER.serialize_entity(CONTEXT, card)
        assert wire["cyborg_object.version"] == version
        data = wire["cyborg_object.data"]
        assert ("device_state" in data) == (version == "1.5")
        assert ("device_state" in wire["cyborg_object.changes"]) == (
            version == "1.5"
        )

    @pytest.mark.parametrize(
        ("kind", "known"),
        [("SSD", True), ("AICHIP", True), ("PMEM", False), ("NVME", False)],
    )
    def test_1_0(self, kind: str, known: bool) -> None:
        wire = report.DriverDevice(
            type=kind, device_state="error", **CARD
        ).to_1_0()
        assert (wire is not None) == known
        if wire is not None:
            assert wire["cyborg_object.version"] == "1.0"
            assert "device_state" not in wire["cyborg_object.data"]


@pytest.mark.parametrize(
    ("kind", "since"),
    [
        ("SSD", ("1.0", "1.0")),
        ("AICHIP", ("1.1", "1.1")),
        ("MDEV", ("1.2", "1.3")),
        ("PCI", ("1.2", "1.3")),
        ("NVME", ("1.3", "1.4")),
        ("PMEM", ("1.5", "1.6")),
    ],
)
def test_backports_refuse_what_has_no_word(
    kind: str, since: tuple[str, str]
) -> None:
    cards = (
        report.DriverDevice(type=kind, device_state="error", **CARD),
        device.Device(type=kind, device_state="error", status="enabled"),
    )
    for card, first, stateful in zip(cards, since, (4, 5), strict=True):
        newest = int(card.VERSION.rpartition(".")[2])
        for minor in range(newest):
            if minor < int(first.rpartition(".")[2]):
                with pytest.raises(
                    ovo_exception.ObjectActionError, match=kind
                ):
                    card.obj_to_primitive(f"1.{minor}")
                continue
            data = card.obj_to_primitive(f"1.{minor}")["cyborg_object.data"]
            assert ("device_state" in data) == (minor >= stateful)
            if isinstance(card, device.Device):
                assert ("status" in data) == (minor >= 2)


class TestDefaults:
    def test_lists_are_not_shared(self) -> None:
        first: Any = report.DriverDeployable()
        second = report.DriverDeployable()
        first.attribute_list.append(
            report.DriverAttribute(key="rc", value="FPGA")
        )
        assert second.attribute_list == []

    def test_unset_field_without_default(self) -> None:
        with pytest.raises(NotImplementedError):
            _ = report.DriverDeployable().name


def _withheld_card(*withheld: bool) -> report.DriverDevice:
    reasons = [{"rule": "has-parts", "text": "it has parts"}]
    return report.DriverDevice(
        vendor="10de",
        model="A40",
        type="GPU",
        controlpath_id=report.DriverControlPathID(
            cpid_type="PCI", cpid_info="{}"
        ),
        deployable_list=[
            report.DriverDeployable(
                name=f"cn1_{number}",
                num_accelerators=1,
                withheld=reasons if each else [],
            )
            for number, each in enumerate(withheld)
        ],
    )


class TestWithheld:
    """What is withheld is offered by no conductor, whatever it knows."""

    def test_is_received(self) -> None:
        card = received(_withheld_card(True, False).obj_to_primitive())
        assert [
            (each.num_accelerators, bool(each.withheld))
            for each in card.deployable_list
        ] == [(1, True), (1, False)]

    def test_counts_nothing_for_conductors_of_1_2(self) -> None:
        wire = _withheld_card(True, False).to_1_2()
        (one, two) = wire["cyborg_object.data"]["deployable_list"]
        assert one["cyborg_object.version"] == "1.0"
        assert "withheld" not in one["cyborg_object.data"]
        assert one["cyborg_object.data"]["num_accelerators"] == 0
        assert two["cyborg_object.data"]["num_accelerators"] == 1

    def test_is_left_out_for_conductors_of_1_0(self) -> None:
        wire = _withheld_card(True, False).to_1_0()
        assert wire is not None
        (two,) = wire["cyborg_object.data"]["deployable_list"]
        assert two["cyborg_object.version"] == "1.0"
        assert two["cyborg_object.data"]["name"] == "cn1_1"
        assert _withheld_card(True).to_1_0() is None
        assert _withheld_card().to_1_0() is not None
