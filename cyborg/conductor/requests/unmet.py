"""Finds what device profiles ask for that no provider has ever had.

A profile of another release may name traits as drivers had them then: it is
stored, and every server that asks for it ends without a host.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from cyborg.clients import placement
from cyborg.common import constants
from cyborg.common import groups as profile_groups

Groups = Sequence[Mapping[str, str]]


def asked_for(groups: Groups) -> tuple[set[str], set[str]]:
    """Return the resource classes and the required traits of groups."""
    classes: set[str] = set()
    traits: set[str] = set()
    for group in groups:
        classes |= profile_groups.amounts(group).keys()
        traits |= {
            key.removeprefix(constants.GROUP_TRAIT).strip()
            for key, value in group.items()
            if key.startswith(constants.GROUP_TRAIT) and value == "required"
        }
    return classes, traits


def unmet(
    client: placement.Client, profiles: Iterable[tuple[str, Groups]]
) -> dict[str, list[str]]:
    """Return what each profile lacks, by its name; nothing for the others.

    Traits count as known if some provider has them now, custom resource
    classes if they exist. Standard classes always exist.

    :raises PlacementUnavailable: Placement does not answer
    :raises PlacementError: it does not take a name
    """
    asked = {name: asked_for(groups) for name, groups in profiles}
    classes = set[str]().union(*(each[0] for each in asked.values()))
    traits = set[str]().union(*(each[1] for each in asked.values()))
    unknown = classes - client.existing_classes(classes)
    unknown |= traits - client.used_traits(traits)
    return {
        name: sorted(unknown & (wanted[0] | wanted[1]))
        for name, wanted in asked.items()
        if unknown & (wanted[0] | wanted[1])
    }
