"""Shows what this host would report, and what would be wrong with it.

Asks the enabled drivers once and prints the devices, what Placement would be
told of them, what guests could be given, and every conflict found. Needs no
conductor, database or message broker, and reads only.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import json
import logging as std_logging
import os
import pathlib
import re
import sys
from typing import Any
from typing import TextIO

from oslo_config import cfg

from cyborg.accelerator import pci
from cyborg.agent import discovery
from cyborg.agent import report
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import text

CONF = cfg.CONF

# Columns of the database, and what Placement takes for a provider's name.
_MOST_TEXT = 255
_MOST_NAME = 200
_LEGAL = re.compile(r"[A-Z0-9_]{1,255}")


def main(
    as_json: bool = False,
    drivers: Sequence[discovery.Enabled] | None = None,
    out: TextIO | None = None,
    explained: str | None = None,
) -> int:
    """Print the report; returns 0 if nothing is wrong with it, else 1.

    :param drivers: in place of those that are enabled
    :param explained: the PCI function to tell of, in place of the report
    """
    _log_elsewhere()
    try:
        if drivers is None:
            drivers = discovery.load(CONF.agent.enabled_drivers)
        if explained is not None:
            lines = explain(explained, drivers)
            text_ = "\n".join(map(text.visible, lines))
            (out or sys.stdout).write(f"{text_}\n")
            return 0
        document = survey(drivers)
    except (
        exception.ConfigInvalid,
        exception.DriverError,
        exception.PciDeviceNotFoundById,
        exception.PciDeviceWrongAddressFormat,
    ) as error:
        sys.stderr.write(f"{error.faultstring}\n")
        return 1
    printed = json.dumps(document, indent=2) if as_json else render(document)
    (out or sys.stdout).write(f"{printed}\n")
    failed = any(driver["error"] for driver in document["drivers"])
    return 1 if failed or document["conflicts"] else 0


def explain(
    address: str, drivers: Sequence[discovery.Enabled]
) -> Iterator[str]:
    """Yield lines on what each driver makes of a PCI function.

    :raises PciDeviceWrongAddressFormat: that is no address
    :raises PciDeviceNotFoundById: this host has no such function
    :raises DriverError: the host cannot be looked through
    """
    address = pci.normalise_address(address.strip())
    functions = pci.read_functions(CONF.agent.filesystem_root)
    if address not in functions:
        raise exception.PciDeviceNotFoundById(id=address)
    function = functions[address]
    yield (
        f"{address} is {function.vendor}:{function.product}, class "
        f"{function.class_code}, of {function.driver or 'no driver'}"
    )
    answers = survey(drivers)["drivers"]
    for enabled, answer in zip(drivers, answers, strict=True):
        if answer["error"]:
            yield f"{enabled.name}: failed: {answer['error']}"
            continue
        said = list(_handed(answer, address))
        said += enabled.get().explain(address)
        for sentence in said or ["does not report it"]:
            yield f"{enabled.name}: {sentence}"


def _handed(answer: dict[str, Any], address: str) -> Iterator[str]:
    """Yield how a driver's report has a function."""
    for device in answer["devices"]:
        if device["where"] == address:
            yield f"reports it as {device['type']} {device['model']}"
        for deployable in device["deployables"]:
            if address not in [
                each["where"] for each in deployable["handles"]
            ]:
                continue
            for reason in deployable["withheld"]:
                yield "withheld: {text} ({rule})".format(**reason)
            if not deployable["withheld"]:
                classes = ", ".join(deployable["resource_classes"])
                yield f"offers it as {classes}"


def _log_elsewhere() -> None:
    """Keep standard output for the report: daemons may log there."""
    for handler in std_logging.getLogger().handlers:
        if (
            isinstance(handler, std_logging.StreamHandler)
            and handler.stream is sys.stdout
        ):
            handler.setStream(sys.stderr)


def survey(drivers: Sequence[discovery.Enabled]) -> dict[str, Any]:
    """Ask the drivers, and return what is printed as plain data.

    ::

        {"host": "cn1",
         "drivers": [{"name": "pci_driver", "error": null,
                      "warnings": [], "capabilities": ["stats"],
                      "devices": [...]}],
         "conflicts": [{"device": "0000:3b:00.0", "driver": "pci_driver",
                        "kind": "host-uses-it", "reason": "..."}]}
    """
    found = [_ask(driver) for driver in drivers]
    gate = discovery.gate_of(list(drivers), _reported(drivers), keep=False)
    judged = gate.judge(found)
    answers: list[dict[str, Any]] = [
        {
            "name": driver.name,
            "error": answer.error,
            "warnings": [] if answer.error else driver.get().warnings(),
            "capabilities": answer.capabilities,
            "devices": [_device(device) for device in answer.devices],
        }
        for driver, answer in zip(drivers, judged.found, strict=True)
    ]
    conflicts = list(_named_alike(answers))
    for offer, mark in judged.unexpected:
        conflicts.append(
            {
                "device": _where(report.cpid_info(offer.device)),
                "driver": offer.driver,
                "kind": mark.rule,
                "reason": mark.text,
            }
        )
    for answer in answers:
        for device in answer["devices"]:
            conflicts += [
                {
                    "device": device["where"],
                    "driver": answer["name"],
                    "kind": "invalid",
                    "reason": reason,
                }
                for reason in _problems(device)
            ]
    return {"host": CONF.host, "drivers": answers, "conflicts": conflicts}


def _reported(drivers: Sequence[discovery.Enabled]) -> list[dict[str, Any]]:
    """Return what an agent of this host reported, if that can be read."""
    path = pathlib.Path(CONF.state_path, "agent", "last_discovery.json")
    if not os.access(path, os.R_OK):
        return []
    cache = report.Cache(path)
    return [
        device
        for driver in drivers
        for device in cache.devices(driver.name) or []
    ]


def _ask(driver: discovery.Enabled) -> report.Found:
    error = None
    devices: list[dict[str, Any]] = []
    broken: dict[str, str] = {}
    try:
        devices = [report.plain(each) for each in driver.get().discover()]
        for device in devices:
            report.decoded_cpid(device)
        broken = dict(driver.get().broken())
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    return report.Found(
        name=driver.name,
        devices=devices,
        complete=error is None,
        error=error,
        capabilities=driver.capabilities(),
        broken=broken,
    )


def _device(device: dict[str, Any]) -> dict[str, Any]:
    info = report.cpid_info(device)
    return {
        "type": device["type"],
        "vendor": device["vendor"],
        "model": device["model"],
        "cpid_info": info,
        "where": _where(info),
        "stub": device["stub"],
        "deployables": [
            _deployable(deployable) for deployable in device["deployable_list"]
        ],
    }


def _deployable(deployable: dict[str, Any]) -> dict[str, Any]:
    attributes = deployable["attribute_list"] or []
    classes = [
        attribute["value"]
        for attribute in attributes
        if attribute["key"] == constants.ATTR_RESOURCE_CLASS
    ]
    traits = [
        attribute["value"]
        for attribute in attributes
        if attribute["key"].startswith(constants.ATTR_TRAIT_PREFIX)
    ]
    # The conductor puts this one on every provider.
    if constants.OWNER_TRAIT not in traits:
        traits.append(constants.OWNER_TRAIT)
    return {
        "name": deployable["name"],
        "resource_classes": classes,
        "total": deployable["num_accelerators"],
        "withheld": deployable["withheld"],
        "traits": traits,
        "handles": [
            {
                "type": handle["attach_type"],
                "where": _where(handle["attach_info"]),
                "attach_info": handle["attach_info"],
            }
            for handle in deployable["attach_handle_list"] or []
        ],
    }


def _where(info: str) -> str:
    """Return a PCI address, or what else says where something is."""
    try:
        fields = json.loads(info)
        return pci.format_address(fields)
    except exception.PciDeviceWrongAddressFormat:
        return " ".join(f"{key}={value}" for key, value in fields.items())
    except (AttributeError, TypeError, ValueError):
        return info


def _named_alike(answers: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield what has the name of something else on this host."""
    names: dict[str, str] = {}
    for answer in answers:
        for device in answer["devices"]:
            for deployable in device["deployables"]:
                other = names.setdefault(deployable["name"], device["where"])
                if other != device["where"]:
                    yield {
                        "device": device["where"],
                        "driver": answer["name"],
                        "kind": "same-name",
                        "reason": f"its deployable {deployable['name']} has "
                        f"the name of one of {other}",
                    }


def _problems(device: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the description of one device."""
    if len(device["cpid_info"]) > _MOST_TEXT:
        yield f"cpid_info is longer than {_MOST_TEXT} characters"
    for deployable in device["deployables"]:
        for reason in _invalid(deployable):
            yield f"{deployable['name']}: {reason}"


def _invalid(deployable: dict[str, Any]) -> Iterator[str]:
    """Yield what Placement or the database would refuse."""
    if len(deployable["name"]) > _MOST_NAME:
        yield f"the name is longer than {_MOST_NAME} characters"
    if len(deployable["resource_classes"]) != 1:
        yield f"has {len(deployable['resource_classes'])} resource classes"
    for symbol in [*deployable["resource_classes"], *deployable["traits"]]:
        if not _LEGAL.fullmatch(symbol):
            yield f"{symbol!r} is not A-Z, 0-9 and _, 255 at most"
    seen: set[str] = set()
    for handle in deployable["handles"]:
        info = handle["attach_info"]
        if info in seen:
            yield f"has the handle {info} twice"
        seen.add(info)
        if len(info) > _MOST_TEXT:
            yield f"a handle is longer than {_MOST_TEXT} characters: {info}"
        if not _is_flat(info):
            yield f"a handle is no JSON object of texts: {info}"


def _is_flat(info: str) -> bool:
    try:
        fields = json.loads(info)
    except ValueError:
        return False
    return isinstance(fields, dict) and all(
        isinstance(value, str) for value in fields.values()
    )


def render(document: dict[str, Any]) -> str:
    """Return the document as lines for people."""
    lines = [f"Host {document['host']}"]
    for driver in document["drivers"]:
        can = ", ".join(driver["capabilities"])
        lines += ["", driver["name"] + (f" ({can})" if can else "")]
        if driver["error"]:
            lines.append(f"  failed: {driver['error']}")
        elif not driver["devices"]:
            lines.append("  no devices")
        for device in driver["devices"]:
            lines += _render_device(device)
        lines += [f"  warning: {text}" for text in driver["warnings"]]
    lines.append("")
    if not document["conflicts"]:
        lines.append("No conflicts")
    for conflict in document["conflicts"]:
        lines.append(
            "CONFLICT {kind}: {device} of {driver}: {reason}".format(
                **conflict
            )
        )
    # Cards say what they like of themselves.
    return "\n".join(map(text.visible, lines))


def _render_device(device: dict[str, Any]) -> Iterator[str]:
    yield "  {type} {where}: {vendor} {model}".format(**device).rstrip()
    if device["stub"]:
        yield "    there, but keeps the records it has"
    for deployable in device["deployables"]:
        classes = ", ".join(deployable["resource_classes"]) or "no class"
        yield f"    {deployable['name']}: {deployable['total']} x {classes}"
        for reason in deployable["withheld"]:
            yield "      withheld: {text} ({rule})".format(**reason)
        yield f"      traits: {', '.join(deployable['traits'])}"
        for handle in deployable["handles"]:
            yield f"      {handle['type']} {handle['where']}"
