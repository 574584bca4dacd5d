"""Released versions answer as they always did, to the byte."""

from cyborg.tests.fixtures import recorded
from cyborg.tests.functional import gabbi_fixtures


def collect() -> str:
    """Return what the file of the answers has to say."""
    told = {}
    for version in recorded.VERSIONS:
        # Each version begins with the same records.
        fixture = gabbi_fixtures.APIWithPlacement()
        fixture.start_fixture()
        try:
            told[version] = recorded.tell(fixture.running, version)
        finally:
            fixture.stop_fixture()
    return recorded.write(told)


def test_answers_are_those_recorded() -> None:
    now = collect().split("\n== ")
    before = recorded.FILE.read_text().split("\n== ")
    for step, expected in zip(now, before, strict=True):
        assert step == expected
